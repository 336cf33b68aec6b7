/* What pid 1 does for each request of docs/protocol-init.md §4. */
#ifndef ISTHMUS_REQUESTS_H
#define ISTHMUS_REQUESTS_H

#include "server.h"

/* Carry out the request that `connection` has read: answer it, or leave it pending. Returns NULL,
 * or how it breaks the protocol: then nothing was done. */
const char *request_handle(struct server *server, struct connection *connection);

#endif
