/* The first process of a distribution's pid namespace. */
#ifndef ISTHMUS_PID1_H
#define ISTHMUS_PID1_H

#include "options.h"

/* Runs in the child that unshare(CLONE_NEWPID) made pid 1. Builds the root, reports to
 * `report_fd` (a struct failure, error 0 when ready; closed afterwards) and serves
 * `options->listen_fd` until SIGKILL. */
_Noreturn void pid1_run(struct options *options, int report_fd);

#endif
