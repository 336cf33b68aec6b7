/* What translations of paths ask of the system, answered by the system: functions for struct world
 * and struct sources. They need no context. */
#ifndef ISTHMUS_WSLPATH_SYSTEM_H
#define ISTHMUS_WSLPATH_SYSTEM_H

#include "wslpath_arena.h"

char *system_cwd(void *context, struct arena *arena);
char *system_real_path(void *context, struct arena *arena, const char *path);

/* The text of /proc/self/mountinfo; NULL with errno set. */
char *system_mountinfo(void *context, struct arena *arena);

/* A line of the facts that the agent writes for each distribution; NULL if it is not there. */
const char *system_fact(void *context, struct arena *arena, const char *name);

#endif
