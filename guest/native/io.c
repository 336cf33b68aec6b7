#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

ssize_t io_read_full(int fd, void *buffer, size_t length)
{
    unsigned char *to = buffer;
    size_t done = 0;

    while (done < length) {
        ssize_t got = read(fd, to + done, length - done);
        if (got == 0)
            break;
        if (got > 0)
            done += (size_t)got;
        else if (errno != EINTR)
            return -1;
    }
    return (ssize_t)done;
}

int io_write_full(int fd, const void *buffer, size_t length)
{
    const unsigned char *from = buffer;
    size_t done = 0;

    while (done < length) {
        ssize_t put = write(fd, from + done, length - done);
        if (put >= 0)
            done += (size_t)put;
        else if (errno != EINTR)
            return -1;
    }
    return 0;
}

int io_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int io_set_cloexec(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    return flags < 0 ? -1 : fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

int io_close_range(unsigned first, unsigned last)
{
    if (first > last)
        return 0;
    return (int)syscall(SYS_close_range, first, last, 0U);
}

void io_close(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

int64_t io_monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
