/* Asking the agent for something: the program's end of the helper socket (docs/protocol-helper.md).
 *
 * A program builds a request with the helper_put functions, connects, sends it, and receives. */
#ifndef ISTHMUS_HELPER_H
#define ISTHMUS_HELPER_H

#include "bytes.h"
#include "fdpass.h"
#include "helper_protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A request in the making. Begin with helper_begin(); once something does not fit, `is_full` stays
 * true, and helper_send() fails with E2BIG. */
struct helper_request {
    unsigned char bytes[HELPER_HEAD_BYTES + HELPER_MAX_BODY_BYTES];
    size_t length;
    bool is_full;
};

void helper_begin(struct helper_request *request, uint8_t op);
void helper_put_u32(struct helper_request *request, uint32_t value);
void helper_put_string(struct helper_request *request, const char *text);

/* Connect to the socket at $WSL_INTEROP, or where it is if that leads nowhere. An agent that is
 * just starting is waited for, a few seconds at most. Returns the socket, close-on-exec, or -1
 * with errno set. */
int helper_connect(void);

/* Send all of a request. Returns 0, or -1 with errno set. */
int helper_send(int socket, struct helper_request *request);

/* A message from the agent; `body` reads it, and lies in `bytes`. */
struct helper_message {
    uint8_t op;
    struct cursor body;
    int fds[FDPASS_MAX];
    size_t fd_count;
    char bytes[8192];
};

/* Wait for the next message, as long as it takes. Returns 1; 0 where the agent has closed the
 * connection; -1 with errno set, EPROTO for what it must not send. */
int helper_receive(int socket, struct helper_message *message);

/* What a HELPER_REFUSED says: an errno, and texts, which stay in the message. */
struct helper_refusal {
    int number;
    const char *text;
    const char *hint;
};

/* False if the message is none that says so. */
bool helper_read_refusal(struct helper_message *message, struct helper_refusal *refusal);

#endif
