/* Finding and making mount points in a distribution's root, which is hostile input: whoever made
 * the disk may have put symbolic links, FIFOs or files where directories belong. */
#ifndef ISTHMUS_MOUNTPOINT_H
#define ISTHMUS_MOUNTPOINT_H

#include <stdbool.h>

/* Open `path` below the directory `root` as an O_PATH descriptor to mount on, making missing
 * directories (mode 0755) and, unless `directory`, a missing file (mode 0644) at its end.
 *
 * `path` is absolute, has no "." or ".." parts, and is cut at its slashes and restored. Each part
 * is opened from its parent's descriptor with openat2(2) and no symbolic link is ever followed, so
 * neither a link nor a race can lead out of `root`. Mounts made earlier are entered.
 *
 * Returns the descriptor, or -1 with errno: ELOOP a part is a symbolic link, ENOTDIR a part (or,
 * for a directory, the end) is something else, EISDIR a file was wanted and a directory is there,
 * EROFS a part is missing and cannot be made, and what mkdirat(2) and openat2(2) report. */
int mountpoint_open(int root, char *path, bool directory);

#endif
