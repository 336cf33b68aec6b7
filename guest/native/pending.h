/* Requests whose answer comes from a forked process: SPAWN and OPEN. */
#ifndef ISTHMUS_PENDING_H
#define ISTHMUS_PENDING_H

#include "server.h"

/* True if another one fits, together with the child it may become. */
bool pending_has_room(const struct server *server);

/* Take note of a forked process. There must be room. */
void pending_add(struct server *server, struct pending pending);

/* Look for news of entry `index`; once it is settled the reply is sent and the last entry takes
 * its place. `ended`: its process is dead, so it will be settled now. */
void pending_settle(struct server *server, size_t index, bool ended);

/* The same for the entry of process `pid`, which has ended, if there is one. */
void pending_settle_pid(struct server *server, pid_t pid);

/* Kill what has not been settled by `now`, and say so. */
void pending_expire(struct server *server, int64_t now);

/* Hang up what a closed connection was waiting for; no reply is sent. */
void pending_drop(struct server *server, uint64_t connection);

#endif
