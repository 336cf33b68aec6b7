/* OPEN: a helper process opens the file, so that a FIFO or a hung file system holds up nobody. */
#ifndef ISTHMUS_OPENER_H
#define ISTHMUS_OPENER_H

#include "init_decode.h"

#include <sys/types.h>

/* Fork a helper that opens `request` below `root`. Returns 0, with `*pid` and in `*result_fd` a
 * non-blocking socket for opener_result(); otherwise the errno of socketpair(2) or fork(2). */
int opener_start(const struct open_request *request, int root, pid_t *pid, int *result_fd);

/* What the helper says. Returns 0 with the descriptor in `*opened`, or the errno of the open, or
 * EIO if the helper died; -1 if it has said nothing yet. */
int opener_result(int result_fd, int *opened);

#endif
