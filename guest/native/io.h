/* Whole reads and writes, descriptors and the clock: what every program here needs of the kernel.
 */
#ifndef ISTHMUS_IO_H
#define ISTHMUS_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Read `length` bytes from a blocking descriptor. Returns how many came: fewer only at the end of
 * the file. Returns -1 with errno set on an error, whatever had been read before it. */
ssize_t io_read_full(int fd, void *buffer, size_t length);

/* Write all of `length` bytes to a blocking descriptor. Returns 0, or -1 with errno set. */
int io_write_full(int fd, const void *buffer, size_t length);

/* Set O_NONBLOCK. Returns 0, or -1 with errno set. */
int io_set_nonblocking(int fd);

/* Set FD_CLOEXEC. Returns 0, or -1 with errno set (EBADF: the descriptor is not open). */
int io_set_cloexec(int fd);

/* Close every descriptor from `first` to `last`, both included (close_range(2), Linux 5.9).
 * Returns 0, or -1 with errno set. An empty range is not an error. */
int io_close_range(unsigned first, unsigned last);

/* Close `*fd` if it is open and set it to -1. errno is kept. */
void io_close(int *fd);

/* Milliseconds of CLOCK_MONOTONIC, for deadlines. */
int64_t io_monotonic_ms(void);

#endif
