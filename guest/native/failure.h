/* Why a distribution did not start: one value that travels from the step that failed, through
 * pid 1's report pipe, to stderr and the ready descriptor (docs/protocol-init.md §2). */
#ifndef ISTHMUS_FAILURE_H
#define ISTHMUS_FAILURE_H

#include <stdbool.h>

/* The steps of the start in their order; failure_stage_name() gives the name on the wire. */
enum failure_stage {
    STAGE_OPTIONS,  /* the command line */
    STAGE_CGROUP,   /* joining --cgroup */
    STAGE_UNSHARE,  /* leaving the utility VM's namespaces */
    STAGE_FORK,     /* making pid 1 */
    STAGE_ROOT,     /* private propagation; --root as a mount point of its own */
    STAGE_MOUNT,    /* a kernel file system */
    STAGE_BIND,     /* a --bind */
    STAGE_PIVOT,    /* pivot_root, detaching the old root */
    STAGE_HOSTNAME, /* sethostname */
    STAGE_LISTEN,   /* descriptors that pid 1 serves from */
    STAGE_TIMEOUT,  /* pid 1 did not report in time */
    STAGE_COUNT
};

enum { FAILURE_SUBJECT_BYTES = 256 };

struct failure {
    enum failure_stage stage;
    int error;                           /* errno, never 0 */
    char subject[FAILURE_SUBJECT_BYTES]; /* the path or option concerned, "-" if none */
};

/* Fill `failure` with `stage`, the current errno (EIO should it be 0) and `subject` (NULL: none),
 * cut to fit, with '?' for control characters. Returns false, so that a step can end with `return
 * failure_set(…)`. */
bool failure_set(struct failure *failure, enum failure_stage stage, const char *subject);

const char *failure_stage_name(enum failure_stage stage);

#endif
