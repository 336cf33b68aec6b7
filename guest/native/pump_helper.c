#include "pump_helper.h"

#include "io.h"
#include "pump_root.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>

_Noreturn static void *run(void *argument)
{
    struct pump_helper *helper = argument;
    unsigned char *message = malloc(PUMP_HELPER_IN_BYTES);

    /* Its own working directory and root, which changing the mount namespace takes (setns(2)). */
    if (message != NULL && unshare(CLONE_FS) == 0)
        for (ssize_t got; (got = recv(helper->socket, message, PUMP_HELPER_IN_BYTES, 0)) > 0;)
            helper->handle(helper, message, (size_t)got);
    free(message);
    io_close(&helper->socket);
    pthread_exit(NULL);
}

int pump_helper_start(struct pump_helper *helper)
{
    int ends[2];
    pthread_t thread;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    helper->socket = ends[1];
    int error = pthread_create(&thread, NULL, run, helper);
    if (error != 0) {
        io_close(&ends[0]);
        io_close(&ends[1]);
        errno = error;
        return -1;
    }
    pthread_detach(thread);
    return ends[0];
}

bool pump_helper_send(struct pump_helper *helper, const void *message, size_t length)
{
    return length <= PUMP_HELPER_OUT_BYTES &&
           send(helper->socket, message, length, MSG_NOSIGNAL) == (ssize_t)length;
}

int pump_helper_open_root(const struct pump_helper *helper)
{
    return root_open(helper->init, helper->device);
}
