/* Notifications, written to /dev/fuse by a thread of their own: while the kernel drops what one
 * names it may wait for a request whose reply stands behind it in the port (docs/drives.md). */
#ifndef ISTHMUS_PUMP_NOTIFY_H
#define ISTHMUS_PUMP_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>

/* Start the thread, which writes to `device`. Returns 0 or an errno value. Once per process. */
int notify_start(int device);

/* Have a copy of one message written, after those given before. Returns false while too many
 * wait, or where there is no memory: the caller tries again. */
bool notify_queue(const unsigned char *message, size_t length);

/* Have no more written. Returns whether none is being written now: until then this process cannot
 * end, and its device stays open, for the kernel may wait for an answer while it handles one. */
bool notify_stop(void);

#endif
