/* `wslpath` and `wslinfo` as functions (docs/paths.md §5): wire/wslpath.py, wire/wslinfo.py in C. */
#ifndef ISTHMUS_WSLPATH_COMMAND_H
#define ISTHMUS_WSLPATH_COMMAND_H

#include "wslpath_arena.h"
#include "wslpath_translate.h"

/* What a command writes, and its exit status. */
struct output {
    const char *out;
    const char *error;
    int status;
};

/* Where the commands learn what is not in their arguments. Each function returns NULL, with errno
 * set, where it does not know. */
struct sources {
    struct world world;
    /* The text of /proc/self/mountinfo, which the caller may change. */
    char *(*mountinfo)(void *context, struct arena *arena);
    /* A fact by its name: "distribution", "version", ... */
    const char *(*fact)(void *context, struct arena *arena, const char *name);
    const char *distribution; /* the value of WSL_DISTRO_NAME, NULL for none */
};

/* What `argv`, which ends with NULL, prints. argv[0] is the command's own name. */
struct output run_wslpath(struct arena *arena, char *const *argv, const struct sources *sources);
struct output run_wslinfo(struct arena *arena, char *const *argv, const struct sources *sources);

#endif
