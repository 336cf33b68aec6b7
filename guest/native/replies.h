/* The messages pid 1 sends (docs/protocol-init.md §4), made and handed to a connection. With a
 * NULL connection (it has closed) they go nowhere. */
#ifndef ISTHMUS_REPLIES_H
#define ISTHMUS_REPLIES_H

#include "connection.h"

#include <sys/resource.h>
#include <sys/types.h>

/* A reply of errno alone and, unless `fd` is -1, a descriptor, which is closed in any case. */
void reply_with_fd(struct connection *connection, enum protocol_op op, uint32_t token, int error,
                   int fd);

void reply_spawn(struct connection *connection, uint32_t token, int error, enum spawn_stage stage,
                 pid_t pid, uint32_t directory);

void reply_exit_event(struct connection *connection, pid_t pid, int status,
                      const struct rusage *usage);

#endif
