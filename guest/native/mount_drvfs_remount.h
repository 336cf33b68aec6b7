/* `mount -o remount`: other flags for a drive that is mounted. */
#ifndef ISTHMUS_MOUNT_DRVFS_REMOUNT_H
#define ISTHMUS_MOUNT_DRVFS_REMOUNT_H

/* Give the mount at `directory` the flags among `options`, separated by commas; others are ignored,
 * as options of the drive itself hold as long as it is mounted. Returns 0, or -1 with errno set. */
int remount(const char *directory, const char *options);

#endif
