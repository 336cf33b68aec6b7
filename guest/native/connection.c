#include "connection.h"

#include "bytes.h"
#include "fdpass.h"
#include "io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Replies that may wait before requests are left unread; events come on top, one per child. */
enum { CHOKED_COUNT = 256 };

struct out_message {
    struct out_message *next;
    size_t length;
    size_t sent;
    int fd; /* still to go with the first byte, or -1 */
    unsigned char bytes[PROTOCOL_HEAD_BYTES + CONNECTION_MAX_SENT_BODY];
};

void connection_init(struct connection *connection, int fd, uint64_t id)
{
    *connection = (struct connection){.fd = fd, .id = id};
}

static enum connection_event malformed(const char **why, const char *reason)
{
    *why = reason;
    return CONNECTION_MALFORMED;
}

/* Descriptors belong to the message whose first byte they came with, and no receive here asks for
 * bytes of two messages (fdpass.h). */
static enum connection_event keep_descriptors(struct connection *connection, const int *fds,
                                              size_t count, const char **why)
{
    if (count > PROTOCOL_SPAWN_FDS || (count > 0 && connection->got > 0)) {
        for (size_t i = 0; i < count; i++)
            close(fds[i]);
        return malformed(why, "descriptors out of place");
    }
    memcpy(connection->fds, fds, count * sizeof *fds);
    if (count > 0)
        connection->fd_count = count;
    return CONNECTION_WAIT;
}

/* One receive of up to `length` bytes to `to`. */
static enum connection_event receive(struct connection *connection, void *to, size_t length,
                                     const char **why)
{
    int fds[FDPASS_MAX];
    size_t count;
    ssize_t got = fdpass_receive(connection->fd, to, length, fds, &count, MSG_DONTWAIT);

    if (got < 0 && errno == EAGAIN)
        return CONNECTION_WAIT;
    if (got < 0 && errno == EPROTO)
        return malformed(why, "too many descriptors");
    if (got <= 0)
        return got == 0 && connection->got > 0 ? malformed(why, "cut short") : CONNECTION_END;
    enum connection_event event = keep_descriptors(connection, fds, count, why);
    connection->got += (size_t)got;
    return event;
}

/* The head is complete: check it and make room for the body. */
static enum connection_event begin_body(struct connection *connection, const char **why)
{
    static const unsigned char zero[3];

    connection->body_length = bytes_get_u32(connection->head);
    if (connection->body_length > PROTOCOL_MAX_BODY_BYTES)
        return malformed(why, "body too long");
    if (memcmp(connection->head + 5, zero, sizeof zero) != 0)
        return malformed(why, "head not zero where it must be");
    connection->body = malloc(connection->body_length + 1);
    if (connection->body == NULL)
        return malformed(why, "no memory for the body");
    return CONNECTION_WAIT;
}

enum connection_event connection_read(struct connection *connection, int timeout_ms,
                                      const char **why)
{
    enum connection_event event = CONNECTION_WAIT;

    if (connection->got < PROTOCOL_HEAD_BYTES) {
        event = receive(connection, connection->head + connection->got,
                        PROTOCOL_HEAD_BYTES - connection->got, why);
        if (event == CONNECTION_WAIT && connection->got > 0 && connection->deadline == 0)
            connection->deadline = io_monotonic_ms() + timeout_ms;
        if (event != CONNECTION_WAIT || connection->got < PROTOCOL_HEAD_BYTES)
            return event;
        event = begin_body(connection, why);
    }
    size_t whole = PROTOCOL_HEAD_BYTES + connection->body_length;
    if (event == CONNECTION_WAIT && connection->got < whole)
        event = receive(connection, connection->body + (connection->got - PROTOCOL_HEAD_BYTES),
                        whole - connection->got, why);
    if (event == CONNECTION_WAIT && connection->got == whole)
        return CONNECTION_REQUEST;
    return event;
}

void connection_next(struct connection *connection)
{
    free(connection->body);
    connection->body = NULL;
    connection->body_length = 0;
    connection->got = 0;
    connection->deadline = 0;
    while (connection->fd_count > 0)
        close(connection->fds[--connection->fd_count]);
}

bool connection_is_choked(const struct connection *connection)
{
    return connection->out_count >= CHOKED_COUNT;
}

static void forget_first(struct connection *connection)
{
    struct out_message *message = connection->first_out;

    connection->first_out = message->next;
    if (connection->first_out == NULL)
        connection->last_out = NULL;
    connection->out_count--;
    io_close(&message->fd);
    free(message);
}

void connection_flush(struct connection *connection)
{
    while (connection->first_out != NULL && !connection->broken) {
        struct out_message *message = connection->first_out;
        ssize_t sent = fdpass_send(connection->fd, message->bytes + message->sent,
                                   message->length - message->sent, &message->fd,
                                   message->fd >= 0 ? 1 : 0, MSG_DONTWAIT);
        if (sent < 0) {
            connection->broken = errno != EAGAIN;
            return;
        }
        message->sent += (size_t)sent;
        io_close(&message->fd);
        if (message->sent == message->length)
            forget_first(connection);
    }
}

void connection_send(struct connection *connection, unsigned op, uint32_t token,
                     const unsigned char *body, size_t length, int fd)
{
    struct out_message *message = calloc(1, sizeof *message);

    if (message == NULL || length > CONNECTION_MAX_SENT_BODY) {
        free(message);
        io_close(&fd);
        connection->broken = true;
        return;
    }
    message->length = PROTOCOL_HEAD_BYTES + length;
    message->fd = fd;
    bytes_put_u32(message->bytes, (uint32_t)length);
    message->bytes[4] = (unsigned char)op;
    bytes_put_u32(message->bytes + 8, token);
    memcpy(message->bytes + PROTOCOL_HEAD_BYTES, body, length);
    if (connection->last_out != NULL)
        connection->last_out->next = message;
    else
        connection->first_out = message;
    connection->last_out = message;
    connection->out_count++;
    connection_flush(connection);
}

void connection_close(struct connection *connection)
{
    connection_next(connection);
    while (connection->first_out != NULL)
        forget_first(connection);
    io_close(&connection->fd);
}
