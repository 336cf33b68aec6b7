/* A distribution's mount tree: from the mounted disk to the root directory its processes see. */
#ifndef ISTHMUS_ROOTFS_H
#define ISTHMUS_ROOTFS_H

#include "failure.h"
#include "options.h"

/* Descriptors that pid 1 keeps. None can be led astray by a mount or a link that the
 * distribution makes later. */
struct rootfs {
    int root; /* O_PATH, the root directory */
    int proc; /* the root directory of this pid namespace's procfs */
    int ptmx; /* O_PATH, /dev/pts/ptmx of the distribution's devpts */
};

/* In a mount namespace of one's own that still shows the utility VM: build the tree at
 * `options->root` and make it the root and working directory. Nothing of the utility VM is
 * reachable afterwards but the sources of the binds. On false `failure` says what went wrong and
 * the process can only exit: the namespace is half made. */
bool rootfs_enter(struct options *options, struct rootfs *rootfs, struct failure *failure);

#endif
