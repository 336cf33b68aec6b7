#include "pending.h"

#include "io.h"
#include "opener.h"
#include "replies.h"
#include "spawn.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

bool pending_has_room(const struct server *server)
{
    return server->pending_count < PROTOCOL_MAX_PENDING &&
           server->pending_count + server->children.count < PROTOCOL_MAX_CHILDREN;
}

void pending_add(struct server *server, struct pending pending)
{
    server->pending[server->pending_count++] = pending;
}

static void remove_entry(struct server *server, size_t index)
{
    io_close(&server->pending[index].fd);
    server->pending[index] = server->pending[--server->pending_count];
}

static void answer_spawn(struct server *server, const struct pending *pending,
                         enum spawn_stage stage, int error)
{
    struct connection *connection = server_connection(server, pending->connection);

    if (stage == SPAWN_STAGE_NONE)
        children_add(&server->children, pending->pid, pending->connection);
    reply_spawn(connection, pending->token, error, stage, error == 0 ? pending->pid : 0,
                pending->directory);
}

/* The end of the record pipe is the moment of execve, or of the child's death before it: then
 * EXIT, which follows, tells. */
static bool settle_spawn(struct server *server, struct pending *pending, bool ended)
{
    struct spawn_record record;

    for (;;) {
        ssize_t got = read(pending->fd, &record, sizeof record);
        if (got == (ssize_t)sizeof record && record.stage == SPAWN_STAGE_NONE) {
            pending->directory = record.directory;
            continue;
        }
        if (got < 0 && errno == EAGAIN && !ended)
            return false;
        if (got == (ssize_t)sizeof record)
            answer_spawn(server, pending, (enum spawn_stage)record.stage, record.error);
        else if (got == 0)
            answer_spawn(server, pending, SPAWN_STAGE_NONE, 0);
        else
            answer_spawn(server, pending, SPAWN_STAGE_FORK, EIO);
        return true;
    }
}

static bool settle_open(struct server *server, const struct pending *pending, bool ended)
{
    int opened = -1;
    int error = opener_result(pending->fd, &opened);

    if (error < 0 && !ended)
        return false;
    if (error < 0)
        error = EIO;
    reply_with_fd(server_connection(server, pending->connection), OP_OPEN, pending->token, error,
                  opened);
    return true;
}

void pending_settle(struct server *server, size_t index, bool ended)
{
    struct pending *pending = &server->pending[index];
    bool settled = pending->kind == PENDING_SPAWN ? settle_spawn(server, pending, ended)
                                                  : settle_open(server, pending, ended);
    if (settled)
        remove_entry(server, index);
}

void pending_settle_pid(struct server *server, pid_t pid)
{
    for (size_t i = 0; i < server->pending_count; i++)
        if (server->pending[i].pid == pid) {
            pending_settle(server, i, true);
            return;
        }
}

void pending_expire(struct server *server, int64_t now)
{
    for (size_t i = server->pending_count; i-- > 0;) {
        struct pending *pending = &server->pending[i];
        if (pending->deadline > now)
            continue;
        kill(pending->pid, SIGKILL);
        if (pending->kind == PENDING_SPAWN)
            answer_spawn(server, pending, SPAWN_STAGE_EXEC, ETIMEDOUT);
        else
            reply_with_fd(server_connection(server, pending->connection), OP_OPEN, pending->token,
                          ETIMEDOUT, -1);
        remove_entry(server, i);
    }
}

void pending_drop(struct server *server, uint64_t connection)
{
    for (size_t i = server->pending_count; i-- > 0;) {
        struct pending *pending = &server->pending[i];
        if (pending->connection != connection)
            continue;
        if (pending->kind == PENDING_SPAWN)
            children_hang_up(pending->pid);
        else
            kill(pending->pid, SIGKILL);
        remove_entry(server, i);
    }
}
