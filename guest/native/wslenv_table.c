/* Not shipped: runs cases of WSLENV for the tests, with answers from stdin.
 *
 * A case is a sequence of fields that each end with NUL: mountinfo, the distribution's name, the
 * current directory, the number of variables, NAME=value each. The answer: "=NAME=value" for each
 * variable, "!path" for each path that could not be translated, and "" at its end. */
#include "table_cases.h"
#include "wslenv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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

static void run_case(char **at, const char *end)
{
    struct arena arena = {NULL};
    const struct wslenv_sink sink = {print_variable, print_path, NULL};
    char *mountinfo = table_next_field(at, end);
    const char *distribution = table_next_field(at, end);
    const struct world world = {get_cwd, real_path, table_next_field(at, end)};
    size_t count = (size_t)atoi(table_next_field(at, end));
    char **environment = arena_take(&arena, (count + 1) * sizeof *environment);
    for (size_t i = 0; i < count; i++)
        environment[i] = table_next_field(at, end);
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
    return table_run(run_case);
}
