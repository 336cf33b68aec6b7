/* Little-endian integers and strings in messages, written and read with every bound checked. */
#ifndef ISTHMUS_BYTES_H
#define ISTHMUS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void bytes_put_u32(unsigned char *to, uint32_t value);
void bytes_put_i32(unsigned char *to, int32_t value);
void bytes_put_u64(unsigned char *to, uint64_t value);
uint32_t bytes_get_u32(const unsigned char *from);

/* What is left of a message to read. Once a read goes past the end, `bad` stays true and every
 * later read gives 0 or NULL, so a decoder checks once, at its end. */
struct cursor {
    char *at;
    size_t left;
    bool bad;
};

uint32_t cursor_u32(struct cursor *cursor);

/* A NUL-terminated string, left where it lies in the message. NULL if no NUL follows. */
char *cursor_string(struct cursor *cursor);

/* True if everything was read and nothing was missing. */
bool cursor_is_done(const struct cursor *cursor);

#endif
