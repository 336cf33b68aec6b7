#include "requests.h"

#include "bytes.h"
#include "init_decode.h"
#include "io.h"
#include "opener.h"
#include "pending.h"
#include "replies.h"
#include "spawn.h"

#include <errno.h>
#include <signal.h>

typedef const char *handler(struct server *server, struct connection *connection, uint32_t token);

static int begin_spawn(struct server *server, struct connection *connection,
                       const struct spawn_request *request, uint32_t token)
{
    struct pending pending = {
        .kind = PENDING_SPAWN,
        .token = token,
        .connection = connection->id,
        .deadline = io_monotonic_ms() + server->exec_timeout_ms,
    };

    if (!pending_has_room(server))
        return EAGAIN;
    int error =
        spawn_start(request, connection->fds, server->rootfs.proc, &pending.pid, &pending.fd);
    if (error == 0)
        pending_add(server, pending);
    return error;
}

static const char *handle_spawn(struct server *server, struct connection *connection,
                                uint32_t token)
{
    struct spawn_request request;
    int error = init_decode_spawn(connection->body, connection->body_length, &request);

    if (error == EPROTO)
        return "bad SPAWN body";
    if (error == 0) {
        error = begin_spawn(server, connection, &request, token);
        init_free_spawn(&request);
    }
    if (error != 0)
        reply_spawn(connection, token, error, SPAWN_STAGE_FORK, 0, 0);
    return NULL;
}

static const char *handle_kill(struct server *server, struct connection *connection, uint32_t token)
{
    struct kill_request request;
    int error = ESRCH;

    if (init_decode_kill(connection->body, connection->body_length, &request) != 0)
        return "bad KILL body";
    const struct child *child = children_find(&server->children, request.pid);
    if (child != NULL && child->connection == connection->id)
        error = children_signal(request.pid, request.signal, request.target, server->rootfs.proc);
    reply_with_fd(connection, OP_KILL, token, error, -1);
    return NULL;
}

static int begin_open(struct server *server, const struct connection *connection,
                      const struct open_request *request, uint32_t token)
{
    struct pending pending = {
        .kind = PENDING_OPEN,
        .token = token,
        .connection = connection->id,
        .deadline = io_monotonic_ms() + server->request_timeout_ms,
    };

    if (!pending_has_room(server))
        return EAGAIN;
    int error = opener_start(request, server->rootfs.root, &pending.pid, &pending.fd);
    if (error == 0)
        pending_add(server, pending);
    return error;
}

static const char *handle_open(struct server *server, struct connection *connection, uint32_t token)
{
    struct open_request request;
    int opened = -1;

    if (init_decode_open(connection->body, connection->body_length, &request) != 0)
        return "bad OPEN body";
    bool at_once = opener_wants_terminal(&request);
    int error = at_once ? opener_open_terminal(&request, &server->rootfs, &opened)
                        : begin_open(server, connection, &request, token);
    if (at_once || error != 0)
        reply_with_fd(connection, OP_OPEN, token, error, opened);
    return NULL;
}

static const char *handle_stop(struct server *server, struct connection *connection, uint32_t token)
{
    (void)server;
    if (connection->body_length != 0)
        return "bad STOP body";
    int error = kill(-1, SIGTERM) == 0 || errno == ESRCH ? 0 : errno;
    /* A stopped process would not see the first signal. */
    kill(-1, SIGCONT);
    reply_with_fd(connection, OP_STOP, token, error, -1);
    return NULL;
}

static const struct {
    handler *handle;
    size_t fd_count;
} HANDLERS[] = {
    [OP_SPAWN] = {handle_spawn, PROTOCOL_SPAWN_FDS},
    [OP_KILL] = {handle_kill, 0},
    [OP_OPEN] = {handle_open, 0},
    [OP_STOP] = {handle_stop, 0},
};

const char *request_handle(struct server *server, struct connection *connection)
{
    size_t op = connection->head[4];

    if (op >= sizeof HANDLERS / sizeof *HANDLERS || HANDLERS[op].handle == NULL)
        return "unknown op";
    if (connection->fd_count != HANDLERS[op].fd_count)
        return "wrong number of descriptors";
    return HANDLERS[op].handle(server, connection, bytes_get_u32(connection->head + 8));
}
