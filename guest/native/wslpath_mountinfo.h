/* Lines of /proc/self/mountinfo, and what they say of Windows paths (docs/paths.md §1). */
#ifndef ISTHMUS_WSLPATH_MOUNTINFO_H
#define ISTHMUS_WSLPATH_MOUNTINFO_H

#include "wslpath_arena.h"
#include "wslpath_mounts.h"

#include <stdbool.h>

/* Read `line`, which is changed and kept, into `mount`. False if it is no mount. */
bool mountinfo_parse_line(struct arena *arena, char *line, struct mount *mount);

#endif
