/* Not shipped: runs cases for the tests, the same code as wslpath with answers from stdin.
 *
 * A case is a sequence of fields that each end with NUL: the command ("wslpath", "wslinfo"),
 * mountinfo, WSL_DISTRO_NAME ("" for none), the current directory, realpath's answer (an error is
 * "!" and its number; "" must not be asked for), the value of every fact, the number of arguments,
 * the arguments. The answer is four: stdout, stderr, the status, and how often realpath was
 * asked for. */
#include "table_cases.h"
#include "wslpath_arena.h"
#include "wslpath_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_case {
    char *mountinfo;
    const char *cwd;
    const char *realpath;
    const char *expected; /* the path that realpath may be asked for */
    const char *fact;
    int asked;
};

static char *answer(struct arena *arena, const char *text)
{
    if (*text == '!') {
        errno = atoi(text + 1);
        return NULL;
    }
    return arena_join(arena, text, NULL);
}

static char *get_cwd(void *context, struct arena *arena)
{
    return answer(arena, ((const struct test_case *)context)->cwd);
}

static char *real_path(void *context, struct arena *arena, const char *path)
{
    struct test_case *test = context;

    test->asked += strcmp(path, test->expected) == 0 ? 1 : 100;
    return answer(arena, test->realpath);
}

static char *mountinfo(void *context, struct arena *arena)
{
    return arena_join(arena, ((const struct test_case *)context)->mountinfo, NULL);
}

static const char *fact(void *context, struct arena *arena, const char *name)
{
    (void)name;
    return answer(arena, ((const struct test_case *)context)->fact);
}

static void run_case(char **at, const char *end)
{
    struct arena arena = {NULL};
    struct test_case test = {.asked = 0};
    const char *command = table_next_field(at, end);
    test.mountinfo = table_next_field(at, end);
    const char *distribution = table_next_field(at, end);
    test.cwd = table_next_field(at, end);
    test.realpath = table_next_field(at, end);
    test.fact = table_next_field(at, end);
    size_t count = (size_t)atoi(table_next_field(at, end));
    char **argv = arena_take(&arena, (count + 1) * sizeof *argv);
    for (size_t i = 0; i < count; i++)
        argv[i] = table_next_field(at, end);
    argv[count] = NULL;
    test.expected = count > 0 ? argv[count - 1] : "";

    const struct sources sources = {
        .world = {.get_cwd = get_cwd, .real_path = real_path, .context = &test},
        .mountinfo = mountinfo,
        .fact = fact,
        .distribution = distribution,
    };
    struct output output = strcmp(command, "wslinfo") == 0 ? run_wslinfo(&arena, argv, &sources)
                                                           : run_wslpath(&arena, argv, &sources);
    printf("%s%c%s%c%d%c%d%c", output.out, 0, output.error, 0, output.status, 0, test.asked, 0);
    arena_free(&arena);
}

int main(void)
{
    return table_run(run_case);
}
