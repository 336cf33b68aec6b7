/* Not shipped: runs cases of WSLENV for the tests, with answers from stdin.
 *
 * A case is a sequence of fields that each end with NUL: mountinfo, the distribution's name, the
 * current directory, the number of variables, NAME=value each. The answer: "=NAME=value" for each
 * variable, "!path" for each path that could not be translated, and "" at its end. */
#include "io.h"
#include "wslenv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *get_cwd(void *context, struct arena *arena)
{
    return arena_join(arena, (const char *)context, NULL);
}

static char *real_path(void *context, struct arena *arena, const char *path)
{
    (void)context;
    (void)arena;
    (void)path;
    errno = ENOENT;
    return NULL;
}

static void print_variable(void *context, const char *name, const char *value)
{
    (void)context;
    printf("=%s=%s%c", name, value, 0);
}

static void print_path(void *context, const char *path)
{
    (void)context;
    printf("!%s%c", path, 0);
}

static char *next_field(char **at, const char *end)
{
    char *field = *at;

    if (field >= end)
        exit(EXIT_FAILURE);
    *at = field + strlen(field) + 1;
    return field;
}

static void run_case(char **at, const char *end)
{
    struct arena arena = {NULL};
    const struct wslenv_sink sink = {print_variable, print_path, NULL};
    char *mountinfo = next_field(at, end);
    const char *distribution = next_field(at, end);
    const struct world world = {get_cwd, real_path, next_field(at, end)};
    size_t count = (size_t)atoi(next_field(at, end));
    char **environment = arena_take(&arena, (count + 1) * sizeof *environment);
    for (size_t i = 0; i < count; i++)
        environment[i] = next_field(at, end);
    environment[count] = NULL;

    struct translator translator = {
        .arena = &arena,
        .mounts = mounts_parse(&arena, mountinfo),
        .distribution = distribution,
        .world = &world,
    };
    wslenv_to_windows(&translator, environment, &sink);
    putchar(0);
    arena_free(&arena);
}

int main(void)
{
    enum { LARGEST_BYTES = 1 << 24 };
    char *input = malloc(LARGEST_BYTES + 1);
    if (input == NULL)
        return EXIT_FAILURE;

    ssize_t length = io_read_full(STDIN_FILENO, input, LARGEST_BYTES);
    if (length < 0)
        return EXIT_FAILURE;
    input[length] = '\0';
    for (char *at = input; at < input + length;)
        run_case(&at, input + length);
    free(input);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
