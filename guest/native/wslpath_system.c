#include "wslpath_system.h"

#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Facts about the machine that no process can find out for itself, one name=value a line. */
static const char FACTS[] = "/run/WSL/facts";
static const char MOUNTINFO[] = "/proc/self/mountinfo";
enum { FIRST_READ_BYTES = 16384 };

/* The file's text; NULL with errno set. Files of /proc do not tell their size. */
static char *read_file(struct arena *arena, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return NULL;

    size_t room = FIRST_READ_BYTES, length = 0;
    char *text = arena_take(arena, room + 1);
    for (;;) {
        ssize_t got = io_read_full(fd, text + length, room - length);
        if (got < 0) {
            io_close(&fd);
            return NULL;
        }
        length += (size_t)got;
        if (length < room)
            break;
        room *= 2;
        char *larger = arena_take(arena, room + 1);
        memcpy(larger, text, length);
        text = larger;
    }
    io_close(&fd);
    text[length] = '\0';
    return text;
}

char *system_cwd(void *context, struct arena *arena)
{
    char directory[PATH_MAX];

    (void)context;
    if (getcwd(directory, sizeof directory) == NULL)
        return NULL;
    return arena_copy(arena, directory, strlen(directory));
}

char *system_real_path(void *context, struct arena *arena, const char *path)
{
    char resolved[PATH_MAX];

    (void)context;
    if (realpath(path, resolved) == NULL)
        return NULL;
    return arena_copy(arena, resolved, strlen(resolved));
}

char *system_mountinfo(void *context, struct arena *arena)
{
    (void)context;
    return read_file(arena, MOUNTINFO);
}

const char *system_fact(void *context, struct arena *arena, const char *name)
{
    char *line = read_file(arena, FACTS);
    size_t length = strlen(name);

    (void)context;
    while (line != NULL) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end++ = '\0';
        if (strncmp(line, name, length) == 0 && line[length] == '=')
            return line + length + 1;
        line = end;
    }
    return NULL;
}
