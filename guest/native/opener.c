#include "opener.h"

#include "fdpass.h"
#include "io.h"
#include "mount_api.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint32_t TERMINAL_FLAGS = O_ACCMODE | O_NOCTTY | O_NONBLOCK | O_CLOEXEC;

enum { HELPER_ROOT_FD = STDIN_FILENO, HELPER_RESULT_FD = STDOUT_FILENO };

bool opener_wants_terminal(const struct open_request *request)
{
    return strcmp(request->path, "/dev/ptmx") == 0 && request->mode == 0 &&
           (request->flags & ~TERMINAL_FLAGS) == 0;
}

int opener_open_terminal(const struct open_request *request, const struct rootfs *rootfs,
                         int *opened)
{
    char path[32];

    /* An O_PATH descriptor is opened for use through its link in procfs (open(2), O_PATH). */
    snprintf(path, sizeof path, "self/fd/%d", rootfs->ptmx);
    *opened = openat(rootfs->proc, path, (int)request->flags | O_CLOEXEC | O_NOCTTY);
    return *opened < 0 ? errno : 0;
}

static int open_in_root(const struct open_request *request, int root)
{
    struct open_how how = {
        .flags = request->flags | O_CLOEXEC,
        .mode = request->mode,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    /* openat2 refuses O_PATH with O_NOCTTY. */
    if ((request->flags & O_PATH) == 0)
        how.flags |= O_NOCTTY;
    return sys_openat2(root, request->path, &how);
}

_Noreturn static void run_helper(const struct open_request *request, int root, int result)
{
    /* Only these two: while the open hangs, nothing else of pid 1's may stay open here. */
    if (dup2(root, HELPER_ROOT_FD) < 0 || dup2(result, HELPER_RESULT_FD) < 0 ||
        io_close_range(STDERR_FILENO + 1, UINT_MAX) < 0)
        _exit(1);
    int opened = open_in_root(request, HELPER_ROOT_FD);
    int error = opened < 0 ? errno : 0;
    fdpass_send(HELPER_RESULT_FD, &error, sizeof error, &opened, opened < 0 ? 0 : 1, 0);
    _exit(0);
}

int opener_start(const struct open_request *request, int root, pid_t *pid, int *result_fd)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return errno;
    *pid = fork();
    if (*pid == 0)
        run_helper(request, root, pair[1]);
    int error = *pid < 0 ? errno : 0;
    io_close(&pair[1]);
    if (error != 0)
        io_close(&pair[0]);
    *result_fd = pair[0];
    return error;
}

int opener_result(int result_fd, int *opened)
{
    int fds[FDPASS_MAX];
    size_t count;
    int error;

    ssize_t got = fdpass_receive(result_fd, &error, sizeof error, fds, &count, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return -1;
    if (got != (ssize_t)sizeof error)
        return EIO;
    if (count > 0)
        *opened = fds[0];
    if (error == 0 && count == 0)
        return EIO;
    return error;
}
