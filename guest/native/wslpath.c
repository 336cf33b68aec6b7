/* wslpath and wslinfo, told apart by the name they are called by.
 *
 * Facts about the machine that no process can find out for itself stand in FACTS, one
 * `name=value` a line, which the agent writes for each distribution. */
#include "io.h"
#include "wslpath_arena.h"
#include "wslpath_command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static char *get_cwd(void *context, struct arena *arena)
{
    char directory[PATH_MAX];

    (void)context;
    if (getcwd(directory, sizeof directory) == NULL)
        return NULL;
    return arena_copy(arena, directory, strlen(directory));
}

static char *real_path(void *context, struct arena *arena, const char *path)
{
    char resolved[PATH_MAX];

    (void)context;
    if (realpath(path, resolved) == NULL)
        return NULL;
    return arena_copy(arena, resolved, strlen(resolved));
}

static char *mountinfo(void *context, struct arena *arena)
{
    (void)context;
    return read_file(arena, MOUNTINFO);
}

static const char *fact(void *context, struct arena *arena, const char *name)
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

int main(int argc, char **argv)
{
    static char name[] = "wslpath";
    static char *no_arguments[] = {name, NULL};
    struct arena arena = {NULL};
    const struct sources sources = {
        .world = {.get_cwd = get_cwd, .real_path = real_path},
        .mountinfo = mountinfo,
        .fact = fact,
        .distribution = getenv("WSL_DISTRO_NAME"),
    };

    if (argc < 1) /* execve(2) allows it */
        argv = no_arguments;
    const char *slash = strrchr(argv[0], '/');
    const char *command = slash != NULL ? slash + 1 : argv[0];
    struct output output = strcmp(command, "wslinfo") == 0 ? run_wslinfo(&arena, argv, &sources)
                                                           : run_wslpath(&arena, argv, &sources);
    int written = io_write_full(STDOUT_FILENO, output.out, strlen(output.out));
    (void)io_write_full(STDERR_FILENO, output.error, strlen(output.error));
    if (written != 0)
        perror(argv[0]);
    arena_free(&arena);
    return written != 0 ? EXIT_FAILURE : output.status;
}
