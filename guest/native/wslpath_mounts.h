/* Which Windows path a Linux path shows, from a mount table (docs/paths.md §1): wire/mounts.py in
 * C. */
#ifndef ISTHMUS_WSLPATH_MOUNTS_H
#define ISTHMUS_WSLPATH_MOUNTS_H

#include "wslpath_arena.h"

#include <stdbool.h>
#include <stddef.h>

/* One line of /proc/self/mountinfo (proc_pid_mountinfo(5)), unescaped. `windows` is the Windows
 * path that stands for its root, without a separator at its end; NULL for what is no drive. */
struct mount {
    const char *identity;
    const char *parent;
    const char *point;
    const char *windows;
    bool is_orphan; /* the mount it is mounted on is not listed */
    bool is_crossed;
};

struct mounts {
    struct mount *all;
    size_t count;
};

/* The mounts in `mountinfo`, which is changed and kept. Lines that are not mounts are left out. */
struct mounts mounts_parse(struct arena *arena, char *mountinfo);

/* The mount on which the absolute Linux path `path` lies, going from the root down as path
 * resolution in the kernel does, so one that another hides is never found. Links are not
 * followed. NULL for none. */
const struct mount *mounts_holding(struct mounts *mounts, const char *path);

/* The mount that shows the canonical Windows path `path`: of those that are not hidden the one
 * with the longest path, and among equals the newest. NULL for none. */
const struct mount *mounts_showing(struct mounts *mounts, const char *path);

#endif
