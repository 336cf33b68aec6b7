/* A drive's file system: made over /dev/fuse, and attached in a distribution. */
#ifndef ISTHMUS_PUMP_MOUNT_H
#define ISTHMUS_PUMP_MOUNT_H

#include "pump_options.h"

#include <sys/types.h>

/* Make the file system that `options` describe and attach it where they say, if they do. Returns the
 * open /dev/fuse, non-blocking, or -1 with errno set and `*stage` saying what failed. The file system
 * ends when its last mount is gone, or when this descriptor is closed. `*mounted` is a descriptor of
 * the mount if it is attached nowhere, else -1; `*number` is the file system's (stat(2)). No thread may run yet. */
int pump_mount(struct pump_options *options, int *mounted, dev_t *number, const char **stage);

#endif
