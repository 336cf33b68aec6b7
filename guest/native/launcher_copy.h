/* Copying between the user's descriptors and the agent's pipes, a thread for each direction.
 *
 * The user's descriptors stay as they are: O_NONBLOCK belongs to the open file, which others share
 * (fcntl(2)). So each direction waits on its own, and a slow reader holds up nothing else. */
#ifndef ISTHMUS_LAUNCHER_COPY_H
#define ISTHMUS_LAUNCHER_COPY_H

#include <stdint.h>

/* One direction. Both ends are closed when it is over, but for the user's own. */
struct copy {
    int from;
    int to;
    int done; /* an eventfd that is told, or -1 */
};

/* Start a thread; `copy` must stay. Returns 0, or -1 with errno set. */
int copy_start(struct copy *copy);

/* Send `size` bytes of the file `from` to the pipe `to`, in this thread. Returns 0, or -1 with
 * errno set; EPIPE: nobody reads it any more. */
int copy_file(int from, int to, uint32_t size);

#endif
