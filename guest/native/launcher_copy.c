#include "launcher_copy.h"

#include "io.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK_BYTES = 64 * 1024, BACKGROUND_POLL_NS = 100 * 1000 * 1000 };

static void wait_for(int fd, short events)
{
    struct pollfd ready = {.fd = fd, .events = events};

    (void)poll(&ready, 1, -1);
}

/* A read by a process in the background, whose SIGTTIN is blocked, is EIO (termios(3)): wait until
 * the shell puts us into the foreground. False if that is not the reason. */
static bool wait_for_foreground(int fd)
{
    if (!isatty(fd) || tcgetpgrp(fd) == getpgrp())
        return false;
    nanosleep(&(struct timespec){.tv_nsec = BACKGROUND_POLL_NS}, NULL);
    return true;
}

/* Read what there is; 0 at the end. */
static ssize_t read_some(int fd, char *buffer)
{
    for (;;) {
        ssize_t got = read(fd, buffer, CHUNK_BYTES);
        if (got >= 0)
            return got;
        if (errno == EAGAIN)
            wait_for(fd, POLLIN);
        else if (errno != EINTR && !(errno == EIO && wait_for_foreground(fd)))
            return 0;
    }
}

static bool write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t put = write(fd, bytes, length);
        if (put >= 0) {
            bytes += put;
            length -= (size_t)put;
        } else if (errno == EAGAIN) {
            wait_for(fd, POLLOUT);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Not by splice(2) or sendfile(2): they wait for one end with the pipe at the other locked
 * (splice_file_to_pipe and iter_file_splice_write in fs/splice.c), and who reads or writes that pipe
 * waits for the lock, whatever O_NONBLOCK says. It would be the agent, and all of the machine with it. */
static void copy_bytes(const struct copy *copy)
{
    char *buffer = malloc(CHUNK_BYTES);

    if (buffer == NULL)
        return;
    for (ssize_t got; (got = read_some(copy->from, buffer)) > 0;)
        if (!write_all(copy->to, buffer, (size_t)got))
            break;
    free(buffer);
}

static void *run(void *argument)
{
    struct copy *copy = argument;
    const uint64_t one = 1;

    copy_bytes(copy);
    /* Both: the agent must see that we write no more, and that we read no more. */
    if (copy->from > STDERR_FILENO)
        io_close(&copy->from);
    if (copy->to > STDERR_FILENO)
        io_close(&copy->to);
    if (copy->done >= 0)
        (void)!write(copy->done, &one, sizeof one);
    return NULL;
}

int copy_start(struct copy *copy)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, copy);

    if (error != 0) {
        errno = error;
        return -1;
    }
    pthread_detach(thread);
    return 0;
}

int copy_file(int from, int to, uint32_t size)
{
    static char buffer[CHUNK_BYTES];

    while (size > 0) {
        ssize_t got = read(from, buffer, size < CHUNK_BYTES ? size : CHUNK_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0) /* it has been cut short */
            errno = ENOEXEC;
        if (got <= 0 || !write_all(to, buffer, (size_t)got))
            return -1;
        size -= (uint32_t)got;
    }
    return 0;
}
