/* The outer process: from the agent's fork to a pid 1 that serves. */
#ifndef ISTHMUS_LAUNCH_H
#define ISTHMUS_LAUNCH_H

#include "failure.h"
#include "options.h"

#include <sys/types.h>

/* Make the descriptors and signals of this process known: 0 is /dev/null, 1 and 2 stderr, then
 * only `options->listen_fd` and `options->ready_fd`, close-on-exec; every signal that an exec left
 * ignored is default again, none is blocked. */
bool launch_clean_up(struct options *options, struct failure *failure);

/* Join the cgroup, leave the namespaces, fork pid 1 and wait for its report, at most 30 seconds.
 * On true `*pid` is pid 1 as this process's pid namespace sees it. On false no pid 1 is left. */
bool launch_pid1(struct options *options, pid_t *pid, struct failure *failure);

#endif
