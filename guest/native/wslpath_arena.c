#include "wslpath_arena.h"

#include "io.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct arena_block {
    struct arena_block *next;
    alignas(max_align_t) char bytes[];
};

void *arena_take(struct arena *arena, size_t length)
{
    static const char MESSAGE[] = "wslpath: Cannot allocate memory\n";
    struct arena_block *block = NULL;

    if (length < (size_t)-1 - sizeof *block)
        block = malloc(sizeof *block + length);
    if (block == NULL) {
        (void)io_write_full(STDERR_FILENO, MESSAGE, sizeof MESSAGE - 1);
        _exit(EXIT_FAILURE);
    }
    block->next = arena->blocks;
    arena->blocks = block;
    return block->bytes;
}

char *arena_copy(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_take(arena, length + 1);

    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *arena_join(struct arena *arena, ...)
{
    va_list texts;
    size_t length = 0;

    va_start(texts, arena);
    for (const char *text; (text = va_arg(texts, const char *)) != NULL;)
        length += strlen(text);
    va_end(texts);

    char *joined = arena_take(arena, length + 1);
    char *end = joined;
    va_start(texts, arena);
    for (const char *text; (text = va_arg(texts, const char *)) != NULL;)
        end = stpcpy(end, text);
    va_end(texts);
    *end = '\0';
    return joined;
}

void arena_free(struct arena *arena)
{
    while (arena->blocks != NULL) {
        struct arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}
