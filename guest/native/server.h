/* The state of a serving pid 1, and its loop. */
#ifndef ISTHMUS_SERVER_H
#define ISTHMUS_SERVER_H

#include "children.h"
#include "connection.h"
#include "options.h"
#include "rootfs.h"

/* A forked process whose reply is still owed. Its pid is not reaped yet. */
struct pending {
    enum { PENDING_SPAWN, PENDING_OPEN } kind;
    pid_t pid;
    int fd; /* a record pipe (spawn.h) or a result socket (opener.h) */
    uint32_t token;
    uint32_t directory; /* of SPAWN: the one entered */
    uint64_t connection;
    int64_t deadline;
};

struct server {
    int listen_fd;
    int child_signal; /* a signalfd for SIGCHLD */
    struct rootfs rootfs;
    int request_timeout_ms;
    int exec_timeout_ms;
    uint64_t last_connection;
    int64_t accept_after; /* no accept before this time; 0: any time */
    bool more_to_reap;
    struct connection connections[PROTOCOL_MAX_CONNECTIONS];
    size_t pending_count;
    struct pending pending[PROTOCOL_MAX_PENDING];
    struct children children;
};

/* Serve until SIGKILL. */
_Noreturn void server_run(const struct options *options, const struct rootfs *rootfs,
                          int child_signal);

/* The connection with this id, or NULL if it has closed. */
struct connection *server_connection(struct server *server, uint64_t id);

#endif
