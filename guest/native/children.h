/* The processes that run for a connection, and signals to them. */
#ifndef ISTHMUS_CHILDREN_H
#define ISTHMUS_CHILDREN_H

#include "init_protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    pid_t pid;
    uint64_t connection;
};

/* Only pids that are not reaped yet are in here, so none of them can have become another
 * process's. The order is of no meaning. */
struct children {
    size_t count;
    struct child slots[PROTOCOL_MAX_CHILDREN];
};

/* The caller sees to it that there is room. */
void children_add(struct children *children, pid_t pid, uint64_t connection);

/* NULL if there is none. Valid until the next add or remove. */
struct child *children_find(struct children *children, pid_t pid);

void children_remove(struct children *children, struct child *child);

/* Signal a process that is not reaped yet, or its groups. Until it has made its own session the
 * process itself stands for its group. `proc` is this namespace's procfs, for KILL_FOREGROUND.
 * Returns 0 or an errno. */
int children_signal(pid_t pid, int signal, enum kill_target target, int proc);

/* SIGHUP, and SIGCONT so that a stopped one notices, to the process's group. */
void children_hang_up(pid_t pid);

#endif
