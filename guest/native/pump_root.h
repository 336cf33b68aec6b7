/* Where a drive is mounted in its distribution, as of now. */
#ifndef ISTHMUS_PUMP_ROOT_H
#define ISTHMUS_PUMP_ROOT_H

#include <stdbool.h>
#include <sys/types.h>

/* Open the root of the file system `device` in the mount namespace of the process `pid`, as a mount of
 * its own that is attached nowhere. The calling thread must have its own fs_struct (unshare(2),
 * CLONE_FS). Returns a descriptor, or -1 with errno set; ENOENT if it is not mounted there. */
int root_open(pid_t pid, dev_t device);

/* The number of the file system that the descriptor `fd` is on, which is not asked. Returns false with
 * errno set. */
bool root_read_device(int fd, dev_t *device);

/* Whether `line` of a mountinfo shows the root of `device`; `*point`, in `line`, is then where, with
 * the kernel's escapes replaced. `line` is changed. */
bool root_parse_line(char *line, dev_t device, char **point);

#endif
