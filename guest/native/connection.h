/* One client of pid 1: its requests are put together, its replies queued. Never blocks. */
#ifndef ISTHMUS_CONNECTION_H
#define ISTHMUS_CONNECTION_H

#include "init_protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest body this side sends: EXIT. */
enum { CONNECTION_MAX_SENT_BODY = 32 };

struct out_message; /* private: a queued message */

struct connection {
    int fd;           /* -1: this slot is free */
    uint64_t id;      /* never used again for another connection */
    bool broken;      /* nothing more can be sent; the owner closes it */
    int64_t deadline; /* of io_monotonic_ms(), for the rest of the request; 0: none has begun */

    /* The request being read. */
    unsigned char head[PROTOCOL_HEAD_BYTES];
    size_t got; /* bytes of head and body so far */
    char *body;
    size_t body_length;
    int fds[PROTOCOL_SPAWN_FDS];
    size_t fd_count;

    struct out_message *first_out;
    struct out_message *last_out;
    size_t out_count;
};

enum connection_event {
    CONNECTION_WAIT,      /* nothing whole yet */
    CONNECTION_REQUEST,   /* head, body and fds are a request; connection_next() when it is done */
    CONNECTION_END,       /* the peer closed between two requests, or the socket failed */
    CONNECTION_MALFORMED, /* *why says how the protocol was broken */
};

void connection_init(struct connection *connection, int fd, uint64_t id);

/* Read what has come, up to one whole request. `timeout_ms` sets the deadline when one begins. */
enum connection_event connection_read(struct connection *connection, int timeout_ms,
                                      const char **why);

/* Forget the request that was read; its body is freed, its descriptors closed. */
void connection_next(struct connection *connection);

/* True while so many replies wait for the peer to read them that no request should be read. */
bool connection_is_choked(const struct connection *connection);

/* Send or queue a message with `length` bytes of body and, unless `fd` is -1, a descriptor, which
 * is closed in any case. Sets `broken` when that is impossible. */
void connection_send(struct connection *connection, unsigned op, uint32_t token,
                     const unsigned char *body, size_t length, int fd);

/* Send what is queued, as far as the socket takes it. */
void connection_flush(struct connection *connection);

/* Close it and free everything it holds; the slot is free again. */
void connection_close(struct connection *connection);

#endif
