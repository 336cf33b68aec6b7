#include "server.h"

#include "io.h"
#include "pending.h"
#include "replies.h"
#include "report.h"
#include "requests.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    POLL_LISTEN,
    POLL_CHILD_SIGNAL,
    POLL_CONNECTIONS,
    POLL_PENDING = POLL_CONNECTIONS + PROTOCOL_MAX_CONNECTIONS,
    POLL_COUNT = POLL_PENDING + PROTOCOL_MAX_PENDING,

    /* Zombies reaped before requests get their turn: a fork bomb of orphans never ends. */
    REAP_AT_ONCE = 128,
    /* How long accept rests when it fails for lack of descriptors or memory. */
    ACCEPT_PAUSE_MS = 100,
};

/* Too big for the stack of a process that should touch few pages. */
static struct server the_server;
static struct pollfd polls[POLL_COUNT];

struct connection *server_connection(struct server *server, uint64_t id)
{
    for (size_t i = 0; i < PROTOCOL_MAX_CONNECTIONS; i++)
        if (server->connections[i].fd >= 0 && server->connections[i].id == id)
            return &server->connections[i];
    return NULL;
}

static void drop_connection(struct server *server, struct connection *connection)
{
    struct children *children = &server->children;

    pending_drop(server, connection->id);
    for (size_t i = children->count; i-- > 0;)
        if (children->slots[i].connection == connection->id) {
            children_hang_up(children->slots[i].pid);
            children_remove(children, &children->slots[i]);
        }
    connection_close(connection);
}

static void refuse(struct server *server, struct connection *connection, const char *why)
{
    report("connection %llu closed: %s", (unsigned long long)connection->id, why);
    drop_connection(server, connection);
}

static void read_connection(struct server *server, struct connection *connection)
{
    const char *why = NULL;

    switch (connection_read(connection, server->request_timeout_ms, &why)) {
    case CONNECTION_WAIT:
        return;
    case CONNECTION_REQUEST:
        why = request_handle(server, connection);
        if (why != NULL)
            refuse(server, connection, why);
        else
            connection_next(connection);
        return;
    case CONNECTION_MALFORMED:
        refuse(server, connection, why);
        return;
    case CONNECTION_END:
        drop_connection(server, connection);
        return;
    }
}

/* The agent is outside this pid namespace, where its pid reads 0 (unix(7), SO_PEERCRED); nothing
 * that runs in the distribution may start processes as anyone through us. */
static bool is_agent(int fd)
{
    struct ucred peer;
    socklen_t length = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid == 0 &&
           peer.uid == 0;
}

static void accept_connection(struct server *server)
{
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            report("accept: %s", strerror(errno));
            server->accept_after = io_monotonic_ms() + ACCEPT_PAUSE_MS;
        }
        return;
    }
    uint64_t id = ++server->last_connection;
    if (!is_agent(fd)) {
        report("connection %llu refused: the peer is not the agent", (unsigned long long)id);
        io_close(&fd);
        return;
    }
    for (size_t i = 0; i < PROTOCOL_MAX_CONNECTIONS; i++)
        if (server->connections[i].fd < 0) {
            connection_init(&server->connections[i], fd, id);
            return;
        }
    report("connection %llu refused: there are %d already", (unsigned long long)id,
           PROTOCOL_MAX_CONNECTIONS);
    io_close(&fd);
}

/* As wait(2) stores it, which waitid(2) takes apart. */
static int wait_status(const siginfo_t *end)
{
    const int dumped_core = 0x80;

    if (end->si_code == CLD_EXITED)
        return (end->si_status & 0xff) << 8;
    return end->si_status | (end->si_code == CLD_DUMPED ? dumped_core : 0);
}

/* One that has ended is left unreaped; its pid, 0 if there is none. waitid(2): the kernel's own
 * call takes a rusage too, the C library's does not. */
static pid_t find_ended(siginfo_t *end, struct rusage *usage)
{
    end->si_pid = 0;
    long failed = syscall(SYS_waitid, P_ALL, 0, end, WEXITED | WNOHANG | WNOWAIT | __WALL, usage);
    return failed < 0 ? 0 : end->si_pid;
}

static void reap(struct server *server)
{
    struct signalfd_siginfo ignored;
    int left = REAP_AT_ONCE;

    /* One read empties it: SIGCHLD is not queued twice. EAGAIN when more_to_reap brought us here.
     */
    ssize_t unread = read(server->child_signal, &ignored, sizeof ignored);
    (void)unread;
    while (left-- > 0) {
        struct rusage usage;
        siginfo_t end;
        pid_t pid = find_ended(&end, &usage);
        if (pid == 0)
            break;
        /* First the reply to SPAWN, should execve and the end have come together. */
        pending_settle_pid(server, pid);
        struct child *child = children_find(&server->children, pid);
        if (child != NULL) {
            reply_exit_event(server_connection(server, child->connection), pid, wait_status(&end),
                             &usage);
            children_remove(&server->children, child);
        }
        /* Only now: once no process is left the agent kills us, and what was not said is lost. */
        wait4(pid, NULL, __WALL, NULL);
    }
    server->more_to_reap = left < 0;
}

static int64_t earliest_deadline(const struct server *server)
{
    int64_t earliest = server->accept_after != 0 ? server->accept_after : INT64_MAX;

    for (size_t i = 0; i < PROTOCOL_MAX_CONNECTIONS; i++)
        if (server->connections[i].fd >= 0 && server->connections[i].deadline != 0 &&
            server->connections[i].deadline < earliest)
            earliest = server->connections[i].deadline;
    for (size_t i = 0; i < server->pending_count; i++)
        if (server->pending[i].deadline < earliest)
            earliest = server->pending[i].deadline;
    return earliest;
}

static void expire(struct server *server)
{
    int64_t now = io_monotonic_ms();

    if (server->accept_after <= now)
        server->accept_after = 0;
    pending_expire(server, now);
    for (size_t i = 0; i < PROTOCOL_MAX_CONNECTIONS; i++) {
        struct connection *connection = &server->connections[i];
        if (connection->fd >= 0 && connection->deadline != 0 && connection->deadline <= now)
            refuse(server, connection, "request not complete in time");
    }
}

static short wanted_events(const struct connection *connection)
{
    short events = connection->first_out != NULL ? POLLOUT : 0;

    /* A request that has begun is read to its end, as its deadline runs. */
    if (connection->got > 0 || !connection_is_choked(connection))
        events |= POLLIN;
    return events;
}

static int poll_timeout_ms(const struct server *server)
{
    int64_t deadline = earliest_deadline(server);

    if (server->more_to_reap)
        return 0;
    if (deadline == INT64_MAX)
        return -1;
    int64_t left = deadline - io_monotonic_ms();
    if (left <= 0)
        return 0;
    return left > INT_MAX ? INT_MAX : (int)left;
}

static void wait_for_events(struct server *server)
{
    polls[POLL_LISTEN].fd = server->accept_after == 0 ? server->listen_fd : -1;
    polls[POLL_LISTEN].events = POLLIN;
    polls[POLL_CHILD_SIGNAL].fd = server->child_signal;
    polls[POLL_CHILD_SIGNAL].events = POLLIN;
    for (size_t i = 0; i < PROTOCOL_MAX_CONNECTIONS; i++) {
        polls[POLL_CONNECTIONS + i].fd = server->connections[i].fd;
        polls[POLL_CONNECTIONS + i].events = wanted_events(&server->connections[i]);
    }
    for (size_t i = 0; i < server->pending_count; i++) {
        polls[POLL_PENDING + i].fd = server->pending[i].fd;
        polls[POLL_PENDING + i].events = POLLIN;
    }
    if (poll(polls, POLL_PENDING + server->pending_count, poll_timeout_ms(server)) < 0) {
        /* Nothing is known to be ready; ENOMEM passes. */
        for (size_t i = 0; i < POLL_COUNT; i++)
            polls[i].revents = 0;
    }
}

static void serve_connection(struct server *server, struct connection *connection, short revents)
{
    if (connection->fd >= 0 && (revents & POLLOUT))
        connection_flush(connection);
    if (connection->fd >= 0 && (revents & (POLLIN | POLLHUP | POLLERR)))
        read_connection(server, connection);
}

_Noreturn void server_run(const struct options *options, const struct rootfs *rootfs,
                          int child_signal)
{
    struct server *server = &the_server;

    /* Field by field: the tables are zero already, and pages not written need no memory. */
    server->listen_fd = options->listen_fd;
    server->child_signal = child_signal;
    server->rootfs = *rootfs;
    server->request_timeout_ms = options->request_timeout_ms;
    server->exec_timeout_ms = options->exec_timeout_ms;
    for (size_t i = 0; i < PROTOCOL_MAX_CONNECTIONS; i++)
        server->connections[i].fd = -1;
    for (;;) {
        wait_for_events(server);
        /* From the last: settling one moves the last into its place. */
        for (size_t i = server->pending_count; i-- > 0;)
            if (polls[POLL_PENDING + i].revents != 0)
                pending_settle(server, i, false);
        if (polls[POLL_CHILD_SIGNAL].revents != 0 || server->more_to_reap)
            reap(server);
        for (size_t i = 0; i < PROTOCOL_MAX_CONNECTIONS; i++)
            serve_connection(server, &server->connections[i], polls[POLL_CONNECTIONS + i].revents);
        expire(server);
        for (size_t i = 0; i < PROTOCOL_MAX_CONNECTIONS; i++)
            if (server->connections[i].fd >= 0 && server->connections[i].broken)
                drop_connection(server, &server->connections[i]);
        if (polls[POLL_LISTEN].revents != 0)
            accept_connection(server);
    }
}
