#include "init_decode.h"

#include "bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A count of things that take at least `least_bytes` each, so that no count can ask for more
 * memory than the body's own size justifies. */
static size_t read_count(struct cursor *cursor, size_t most, size_t least_bytes)
{
    size_t count = cursor_u32(cursor);

    if (count > most || count > cursor->left / least_bytes) {
        cursor->bad = true;
        return 0;
    }
    return count;
}

static gid_t *read_groups(struct cursor *cursor, size_t *count)
{
    *count = read_count(cursor, PROTOCOL_MAX_GROUPS, sizeof(uint32_t));
    gid_t *groups = calloc(*count + 1, sizeof *groups);

    for (size_t i = 0; groups != NULL && i < *count; i++)
        groups[i] = cursor_u32(cursor);
    return groups;
}

/* A NULL-terminated vector with `spare` free slots before its start. */
static char **read_strings(struct cursor *cursor, size_t spare)
{
    size_t count = read_count(cursor, PROTOCOL_MAX_STRINGS, 1);
    char **slots = calloc(spare + count + 1, sizeof *slots);

    if (slots == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        slots[spare + i] = cursor_string(cursor);
    return slots + spare;
}

int init_decode_spawn(char *body, size_t length, struct spawn_request *request)
{
    struct cursor cursor = {.at = body, .left = length};

    memset(request, 0, sizeof *request);
    request->flags = cursor_u32(&cursor);
    request->uid = cursor_u32(&cursor);
    request->gid = cursor_u32(&cursor);
    request->groups = read_groups(&cursor, &request->group_count);
    request->mask = cursor_u32(&cursor);
    request->directory_count = read_count(&cursor, PROTOCOL_MAX_DIRECTORIES, 1);
    for (size_t i = 0; i < request->directory_count; i++)
        request->directories[i] = cursor_string(&cursor);
    request->argv = read_strings(&cursor, 1);
    request->env = read_strings(&cursor, 0);
    request->file = cursor_string(&cursor);

    int error = 0;
    if (request->groups == NULL || request->argv == NULL || request->env == NULL)
        error = ENOMEM;
    else if (!cursor_is_done(&cursor) || request->argv[0] == NULL ||
             (request->flags & ~(uint32_t)SPAWN_CONTROLLING_TERMINAL) != 0 ||
             (request->mask & ~(mode_t)0777) != 0)
        error = EPROTO;
    if (error != 0)
        init_free_spawn(request);
    return error;
}

void init_free_spawn(struct spawn_request *request)
{
    free(request->groups);
    if (request->argv != NULL)
        free(request->argv - 1);
    free(request->env);
    memset(request, 0, sizeof *request);
}

int init_decode_kill(char *body, size_t length, struct kill_request *request)
{
    struct cursor cursor = {.at = body, .left = length};

    request->pid = (pid_t)cursor_u32(&cursor);
    request->signal = (int)cursor_u32(&cursor);
    uint32_t target = cursor_u32(&cursor);
    if (!cursor_is_done(&cursor) || target > KILL_FOREGROUND)
        return EPROTO;
    request->target = (enum kill_target)target;
    return 0;
}

int init_decode_open(char *body, size_t length, struct open_request *request)
{
    struct cursor cursor = {.at = body, .left = length};

    request->flags = cursor_u32(&cursor);
    request->mode = cursor_u32(&cursor);
    request->path = cursor_string(&cursor);
    return cursor_is_done(&cursor) ? 0 : EPROTO;
}
