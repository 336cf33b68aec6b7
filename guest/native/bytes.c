#include "bytes.h"

#include <string.h>

void bytes_put_u32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

void bytes_put_i32(unsigned char *to, int32_t value)
{
    bytes_put_u32(to, (uint32_t)value);
}

void bytes_put_u64(unsigned char *to, uint64_t value)
{
    bytes_put_u32(to, (uint32_t)value);
    bytes_put_u32(to + 4, (uint32_t)(value >> 32));
}

uint32_t bytes_get_u32(const unsigned char *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static char *take(struct cursor *cursor, size_t length)
{
    if (cursor->bad || cursor->left < length) {
        cursor->bad = true;
        return NULL;
    }
    char *here = cursor->at;
    cursor->at += length;
    cursor->left -= length;
    return here;
}

uint32_t cursor_u32(struct cursor *cursor)
{
    char *here = take(cursor, 4);
    return here == NULL ? 0 : bytes_get_u32((const unsigned char *)here);
}

char *cursor_string(struct cursor *cursor)
{
    if (cursor->bad || cursor->left == 0) {
        cursor->bad = true;
        return NULL;
    }
    const char *end = memchr(cursor->at, '\0', cursor->left);
    if (end == NULL) {
        cursor->bad = true;
        return NULL;
    }
    return take(cursor, (size_t)(end - cursor->at) + 1);
}

bool cursor_is_done(const struct cursor *cursor)
{
    return !cursor->bad && cursor->left == 0;
}
