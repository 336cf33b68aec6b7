/* Answers that the server has sent before the kernel asks: small files' contents,
 * where directories' listings end, attributes. docs/drives.md, section 10, says what makes them true.
 *
 * A message of them is a notification with code AHEAD_CODE, then any number of entries, each
 *   u64 node, u64 offset, u32 opcode, u32 length, and `length` bytes, padded with 0 to a multiple
 *   of 8: for FUSE_READ, with offset 0, all that is in the file; for FUSE_READDIR nothing, since
 *   from `offset` on there is nothing to list.
 * The server is told how many files were read from them alone in a struct fuse_in_header with that
 * opcode, then: u32 count, u32 0. It comes before the next request that looks for such answers. */
#ifndef ISTHMUS_PUMP_AHEAD_H
#define ISTHMUS_PUMP_AHEAD_H

#include "pump_absence.h"
#include "pump_flight.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AHEAD_CODE = 0x1001,
    AHEAD_USED_BYTES = 48, /* of the message to the server */
    AHEAD_BUCKETS = 1024,
};

struct ahead_entry;

/* All zeroes: nothing is there. */
struct ahead {
    struct ahead_entry *buckets[AHEAD_BUCKETS]; /* by node */
    struct ahead_entry *oldest;
    struct ahead_entry *newest;
    size_t bytes;
    uint32_t used;         /* files that were read from here and the server was not told of */
    struct flight changes; /* requests under way that change something */
    struct absence absence;
};

/* Take a message of the server's. What it says is left out while a change is under way, which it
 * may not know of yet. Returns false if the message is none. */
bool ahead_take(struct ahead *ahead, const unsigned char *message, size_t length);

/* Answer a whole request of the kernel's, if what it asks for is there. */
bool ahead_answer(struct ahead *ahead, int device, const unsigned char *request, size_t length);

/* A whole request goes to the server. Returns false if there is no memory. */
bool ahead_note_request(struct ahead *ahead, const unsigned char *request, size_t length);

/* A message of the helper's (pump_helper.h) goes to the server, which answers its requests like
 * nobody else's from then on. */
void ahead_note_helper(struct ahead *ahead, const unsigned char *message);

/* Whether something is to be said to the server before this request, which `said` then is. */
bool ahead_say_used(struct ahead *ahead, const unsigned char *request,
                    unsigned char said[AHEAD_USED_BYTES]);

/* The server has answered a request. */
void ahead_note_reply(struct ahead *ahead, const unsigned char *message, size_t length);

/* A notification of the server's to the kernel: it makes untrue what is here of the nodes in it. */
void ahead_note_notification(struct ahead *ahead, const unsigned char *message, size_t length);

/* The server is gone, and with it what it knows. */
void ahead_clear(struct ahead *ahead);

#endif
