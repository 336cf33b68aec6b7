/* OPEN: a helper process opens the file, so that a FIFO or a hung file system holds up nobody. Only
 * the master of a new terminal is opened at once. */
#ifndef ISTHMUS_OPENER_H
#define ISTHMUS_OPENER_H

#include "init_decode.h"
#include "rootfs.h"

#include <sys/types.h>

/* True if `request` asks for /dev/ptmx with flags that a terminal knows. */
bool opener_wants_terminal(const struct open_request *request);

/* Open the master of a new terminal in the devpts of `rootfs`, whatever the distribution may have
 * put at /dev/ptmx since: that is a kernel device, and cannot block. Returns 0 with the descriptor
 * in `*opened`, or an errno. */
int opener_open_terminal(const struct open_request *request, const struct rootfs *rootfs,
                         int *opened);

/* Fork a helper that opens `request` below `root`. Returns 0, with `*pid` and in `*result_fd` a
 * non-blocking socket for opener_result(); otherwise the errno of socketpair(2) or fork(2). */
int opener_start(const struct open_request *request, int root, pid_t *pid, int *result_fd);

/* What the helper says. Returns 0 with the descriptor in `*opened`, or the errno of the open, or
 * EIO if the helper died; -1 if it has said nothing yet. */
int opener_result(int result_fd, int *opened);

#endif
