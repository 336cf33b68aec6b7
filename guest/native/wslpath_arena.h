/* Memory that is given back all at once: a translation makes a few short strings and ends. */
#ifndef ISTHMUS_WSLPATH_ARENA_H
#define ISTHMUS_WSLPATH_ARENA_H

#include <stddef.h>

struct arena_block;

/* Begin with {NULL}. */
struct arena {
    struct arena_block *blocks;
};

/* `length` bytes, aligned for any type and not initialised. Where there is no memory the program
 * ends with a message: nothing that it could do instead would need less. */
void *arena_take(struct arena *arena, size_t length) __attribute__((returns_nonnull));

/* A copy of the `length` bytes at `text`, with a NUL behind them. */
char *arena_copy(struct arena *arena, const char *text, size_t length)
    __attribute__((returns_nonnull));

/* The strings one after the other; the last argument is NULL. */
char *arena_join(struct arena *arena, ...) __attribute__((returns_nonnull, sentinel));

/* Give everything back. */
void arena_free(struct arena *arena);

#endif
