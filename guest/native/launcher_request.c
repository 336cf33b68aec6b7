#include "launcher_request.h"

#include "io.h"
#include "wslenv.h"
#include "wslpath_arena.h"
#include "wslpath_system.h"
#include "wslpath_translate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Variables wait until their number is known. */
struct variables {
    struct arena *arena;
    struct variable {
        struct variable *next;
        const char *text;
    } *first, **last;
    uint32_t count;
};

static void take_variable(void *context, const char *name, const char *value)
{
    struct variables *variables = context;
    struct variable *variable = arena_take(variables->arena, sizeof *variable);

    *variable = (struct variable){.text = arena_join(variables->arena, name, "=", value, NULL)};
    *variables->last = variable;
    variables->last = &variable->next;
    variables->count++;
}

static void warn(void *context, const char *path)
{
    (void)context;
    fprintf(stderr, "isthmus: Failed to translate '%s'\n", path);
}

/* WSLENV goes by names: "it is not there" is the answer that makes translate_to_windows do so. */
static char *no_links(void *context, struct arena *arena, const char *path)
{
    (void)context;
    (void)arena;
    (void)path;
    errno = ENOENT;
    return NULL;
}

/* Open a program that Windows cannot reach. */
static int stage(const char *path, struct staged *staged)
{
    struct stat status;

    staged->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (staged->fd < 0)
        return -1;
    if (fstat(staged->fd, &status) < 0)
        return -1;
    if (!S_ISREG(status.st_mode) || status.st_size <= 0)
        errno = ENOEXEC;
    else if (status.st_size > LAUNCH_MAX_PROGRAM_BYTES)
        errno = EFBIG;
    else {
        staged->size = (uint32_t)status.st_size;
        return 0;
    }
    return -1;
}

static struct translator make_translator(struct arena *arena, const struct world *world)
{
    const char *distribution = getenv("WSL_DISTRO_NAME");
    if (distribution == NULL || *distribution == '\0')
        distribution = system_fact(NULL, arena, "distribution");
    /* Without /proc, as in a chroot, nothing is known of drives, and Windows can open nothing. */
    char *mountinfo = system_mountinfo(NULL, arena);
    if (mountinfo == NULL)
        mountinfo = arena_join(arena, NULL);
    return (struct translator){
        .arena = arena,
        .mounts = mounts_parse(arena, mountinfo),
        .distribution = distribution != NULL ? distribution : "",
        .world = world,
    };
}

static void put_argv(struct helper_request *request, char *const *argv)
{
    uint32_t count = 0;

    while (argv[count] != NULL)
        count++;
    helper_put_u32(request, count);
    for (; *argv != NULL; argv++)
        helper_put_string(request, *argv);
}

static void put_environment(struct helper_request *request, struct translator *translator,
                            char *const *environment)
{
    struct variables variables = {.arena = translator->arena};
    const struct wslenv_sink sink = {take_variable, warn, &variables};

    variables.last = &variables.first;
    wslenv_to_windows(translator, environment, &sink);
    helper_put_u32(request, variables.count);
    for (const struct variable *at = variables.first; at != NULL; at = at->next)
        helper_put_string(request, at->text);
}

static int fill(struct helper_request *request, struct arena *arena, const char *file,
                char *const *argv, char *const *environment, struct console_size console,
                struct staged *staged)
{
    const struct world world = {.get_cwd = system_cwd, .real_path = no_links};
    const char *resolved = system_real_path(NULL, arena, file);
    if (resolved == NULL)
        return -1;

    struct translator translator = make_translator(arena, &world);
    const char *program = translate_drive_path(&translator, resolved);
    if (program == NULL && stage(resolved, staged) < 0)
        return -1;
    const char *cwd = system_cwd(NULL, arena);
    const char *directory = cwd != NULL ? translate_drive_path(&translator, cwd) : NULL;

    helper_begin(request, HELPER_OP_LAUNCH);
    helper_put_u32(request, console.rows > 0 ? LAUNCH_CONSOLE : 0);
    helper_put_u32(request, console.rows);
    helper_put_u32(request, console.columns);
    helper_put_u32(request, staged->size);
    helper_put_string(request, file);
    helper_put_string(request, program != NULL ? program : "");
    helper_put_string(request, directory != NULL ? directory : "");
    put_argv(request, argv);
    put_environment(request, &translator, environment);
    return 0;
}

int launcher_fill_request(struct helper_request *request, const char *file, char *const *argv,
                          char *const *environment, struct console_size console,
                          struct staged *staged)
{
    struct arena arena = {NULL};
    int filled = fill(request, &arena, file, argv, environment, console, staged);
    int error = errno;

    arena_free(&arena);
    errno = error;
    return filled;
}
