/* Descriptors over AF_UNIX stream sockets (SCM_RIGHTS, unix(7)).
 *
 * Linux never lets one receive run across a message that carries descriptors: the receive ends
 * with that message's bytes. A reader that asks for exactly one header at a time therefore knows
 * which header the descriptors belong to. */
#ifndef ISTHMUS_FDPASS_H
#define ISTHMUS_FDPASS_H

#include <stddef.h>
#include <sys/types.h>

/* The most descriptors one call can carry here; the kernel's own limit (SCM_MAX_FD) is 253. */
enum { FDPASS_MAX = 8 };

/* Send up to `length` bytes, and `count` (0..FDPASS_MAX) descriptors with the first of them.
 * MSG_NOSIGNAL is added to `flags`. Returns the bytes sent (the descriptors then have gone), or
 * -1 with errno set and nothing sent. */
ssize_t fdpass_send(int socket, const void *data, size_t length, const int *fds, size_t count,
                    int flags);

/* Receive up to `length` bytes and the descriptors that come with them, close-on-exec, into
 * `fds` (room for FDPASS_MAX), their number into `*count`. Returns the bytes received, 0 at the
 * end of the stream, or -1 with errno set; EPROTO: more than FDPASS_MAX came, all are closed. */
ssize_t fdpass_receive(int socket, void *data, size_t length, int fds[FDPASS_MAX], size_t *count,
                       int flags);

#endif
