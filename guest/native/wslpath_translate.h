/* Translation of paths between Linux and Windows (docs/paths.md §2): wire/paths.py in C. */
#ifndef ISTHMUS_WSLPATH_TRANSLATE_H
#define ISTHMUS_WSLPATH_TRANSLATE_H

#include "wslpath_arena.h"
#include "wslpath_mounts.h"

#include <stdbool.h>

/* What a translation asks of the system. Each function returns text, or NULL with errno set;
 * `context` is passed on to it. */
struct world {
    char *(*get_cwd)(void *context, struct arena *arena);
    char *(*real_path)(void *context, struct arena *arena, const char *path);
    void *context;
};

struct translator {
    struct arena *arena;
    struct mounts mounts;
    const char *distribution; /* its name, "" if that is not known */
    const struct world *world;
};

/* The Linux path of the Windows path `path`, which may be relative, and stays so unless `absolute`
 * is set or it leads out of the current directory. NULL with errno set if there is none. */
char *translate_to_linux(struct translator *translator, const char *path, bool absolute);

/* The Windows path of the Linux path `path`, likewise; links in a path that exists are followed,
 * and then the result is absolute. */
char *translate_to_windows(struct translator *translator, const char *path, bool absolute);

/* The Windows path of the absolute Linux path `path` by its names, NULL where it lies on no drive:
 * for what a Windows process has to open itself. */
char *translate_drive_path(struct translator *translator, const char *path);

#endif
