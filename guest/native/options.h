/* The command line of distro-init (docs/protocol-init.md §1). */
#ifndef ISTHMUS_OPTIONS_H
#define ISTHMUS_OPTIONS_H

#include "failure.h"

#include <stddef.h>

enum { OPTIONS_MAX_BINDS = 32 };

/* --bind SRC:DST[:ro] */
struct bind {
    const char *source; /* absolute path in the utility VM */
    char *target;       /* absolute path in the distribution, without "." or ".." parts */
    bool read_only;
};

struct options {
    const char *root;
    const char *hostname;
    const char *cgroup; /* NULL: stay in the caller's */
    int listen_fd;
    int ready_fd;           /* -1: none */
    int request_timeout_ms; /* for the rest of a request that has begun, and for OPEN */
    int exec_timeout_ms;    /* for SPAWN, from fork to execve */
    size_t bind_count;
    struct bind binds[OPTIONS_MAX_BINDS];
};

/* Parse `argv`, whose strings are kept and cut in place. Checks form only: nothing is opened.
 * On false `failure` names the option (stage OPTIONS, EINVAL or E2BIG) and `options->ready_fd` is
 * the --ready-fd if there is one. */
bool options_parse(int argc, char **argv, struct options *options, struct failure *failure);

#endif
