#include "helper.h"

#include "io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char SOCKET_VARIABLE[] = "WSL_INTEROP";
static const char SOCKET_PATH[] = "/run/WSL/1_interop";

enum { CONNECT_TIMEOUT_MS = 5000, RETRY_NS = 50 * 1000 * 1000, SEND_TIMEOUT_S = 10 };

void helper_begin(struct helper_request *request, uint8_t op)
{
    memset(request->bytes, 0, HELPER_HEAD_BYTES);
    request->bytes[4] = op;
    request->length = HELPER_HEAD_BYTES;
    request->is_full = false;
}

/* Room for `length` more bytes, or NULL. */
static unsigned char *take(struct helper_request *request, size_t length)
{
    if (request->is_full || length > sizeof request->bytes - request->length) {
        request->is_full = true;
        return NULL;
    }
    unsigned char *room = request->bytes + request->length;
    request->length += length;
    return room;
}

void helper_put_u32(struct helper_request *request, uint32_t value)
{
    unsigned char *room = take(request, 4);

    if (room != NULL)
        bytes_put_u32(room, value);
}

void helper_put_string(struct helper_request *request, const char *text)
{
    size_t length = strlen(text) + 1;
    unsigned char *room = take(request, length);

    if (room != NULL)
        memcpy(room, text, length);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval timeout = {.tv_sec = SEND_TIMEOUT_S};

    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0)
        return -1;
    /* For connect(2) too, which waits for room among those that are not accepted yet. */
    if (setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) < 0 ||
        connect(connection, (const struct sockaddr *)&address, sizeof address) < 0)
        io_close(&connection);
    return connection;
}

int helper_connect(void)
{
    const char *named = getenv(SOCKET_VARIABLE);
    int64_t deadline = io_monotonic_ms() + CONNECT_TIMEOUT_MS;

    for (;;) {
        int connection = named != NULL && *named == '/' ? connect_to(named) : -1;
        /* The variable may be another distribution's, or left from an earlier start. */
        if (connection < 0)
            connection = connect_to(SOCKET_PATH);
        if (connection >= 0 || errno != ECONNREFUSED || io_monotonic_ms() > deadline)
            return connection;
        nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
    }
}

int helper_send(int socket, struct helper_request *request)
{
    if (request->is_full) {
        errno = E2BIG;
        return -1;
    }
    bytes_put_u32(request->bytes, (uint32_t)(request->length - HELPER_HEAD_BYTES));
    for (size_t sent = 0; sent < request->length;) {
        ssize_t count = fdpass_send(socket, request->bytes + sent, request->length - sent, NULL, 0, 0);
        if (count < 0)
            return -1;
        sent += (size_t)count;
    }
    return 0;
}

static int protocol_error(void)
{
    errno = EPROTO;
    return -1;
}

int helper_receive(int socket, struct helper_message *message)
{
    unsigned char head[HELPER_HEAD_BYTES];

    ssize_t got = fdpass_receive(socket, head, sizeof head, message->fds, &message->fd_count, 0);
    if (got <= 0)
        return (int)got;
    ssize_t rest = io_read_full(socket, head + got, sizeof head - (size_t)got);
    if (rest < 0)
        return -1;
    uint32_t length = bytes_get_u32(head);
    if (got + rest < (ssize_t)sizeof head || length > sizeof message->bytes)
        return protocol_error();
    ssize_t body = io_read_full(socket, message->bytes, length);
    if (body < 0)
        return -1;
    if (body < (ssize_t)length)
        return protocol_error();
    message->op = head[4];
    message->body = (struct cursor){.at = message->bytes, .left = length};
    return 1;
}

bool helper_read_refusal(struct helper_message *message, struct helper_refusal *refusal)
{
    if (message->op != HELPER_REFUSED)
        return false;
    refusal->number = (int)cursor_u32(&message->body);
    refusal->text = cursor_string(&message->body);
    refusal->hint = cursor_string(&message->body);
    return cursor_is_done(&message->body);
}
