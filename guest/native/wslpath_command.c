#include "wslpath_command.h"

#include "errors.h"
#include "wslpath_options.h"
#include "wslpath_text.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char WSLPATH_USAGE[] =
    "Usage: wslpath [-a] [-u | -w | -m] PATH\n"
    "Translate a path between Windows and Linux.\n"
    "\n"
    "  -u      from Windows to Linux (the default)\n"
    "  -w      from Linux to Windows\n"
    "  -m      from Linux to Windows, with / for separators\n"
    "  -a      make the result absolute\n"
    "  --help  show this text\n"
    "\n"
    "For example: wslpath 'C:\\Users'\n";

static const char WSLINFO_USAGE[] =
    "Usage: wslinfo [-n] OPTION\n"
    "Print one fact about the machine that this distribution runs in.\n"
    "\n"
    "  --networking-mode   nat, bridged, mirrored, consomme or none\n"
    "  --msal-proxy-path   the Windows program that signs in to Microsoft accounts, as a Linux path\n"
    "  --version           Isthmus' version (also --wsl-version)\n"
    "  --vm-id             the virtual machine's identity\n"
    "  -n                  print no line end\n"
    "  --help              show this text\n";

static const char *const WSLPATH_FLAGS[] = {"-u", "-w", "-m", "-a", "--help", NULL};
static const char *const WSLINFO_FLAGS[] = {
    "--networking-mode", "--msal-proxy-path", "--version", "--wsl-version",
    "--vm-id",           "-n",                "--help",    NULL};

static struct output failed(const char *out, const char *error)
{
    return (struct output){.out = out, .error = error, .status = EXIT_FAILURE};
}

static struct output bad_argument(struct arena *arena, const char *program, const char *argument)
{
    return failed("", arena_join(arena, "Invalid command line argument: ", argument,
                                 "\nPlease use '", program, " --help' to see those it takes.\n",
                                 NULL));
}

static struct output translate(struct arena *arena, const char *program,
                               const struct sources *sources, char mode, const char *path,
                               bool absolute)
{
    void *context = sources->world.context;
    const char *distribution = sources->distribution;
    if (distribution == NULL || *distribution == '\0')
        distribution = sources->fact(context, arena, "distribution");

    char *result = NULL;
    char *mountinfo = sources->mountinfo(context, arena);
    if (mountinfo != NULL) {
        struct translator translator = {
            .arena = arena,
            .mounts = mounts_parse(arena, mountinfo),
            /* Paths on drives can be translated without it. */
            .distribution = distribution != NULL ? distribution : "",
            .world = &sources->world,
        };
        result = mode == 'u' ? translate_to_linux(&translator, path, absolute)
                             : translate_to_windows(&translator, path, absolute);
    }
    if (result == NULL)
        return failed("",
                      arena_join(arena, program, ": ", path, ": ", errors_text(errno), "\n", NULL));
    if (mode == 'm')
        text_replace(result, '\\', '/');
    return (struct output){.out = arena_join(arena, result, "\n", NULL), .error = ""};
}

struct output run_wslpath(struct arena *arena, char *const *argv, const struct sources *sources)
{
    struct arguments arguments = {.argv = argv + 1, .flags = WSLPATH_FLAGS, .operands = 1};
    enum argument_kind kind;
    const char *value = "";
    const char *path = NULL;
    char mode = '\0';
    bool absolute = false;

    while ((kind = arguments_next(&arguments, &value)) != ARGUMENT_END) {
        if (kind == ARGUMENT_BAD)
            return bad_argument(arena, argv[0], value);
        if (kind == ARGUMENT_OPERAND)
            path = value;
        else if (strcmp(value, "-a") == 0)
            absolute = true;
        else if (mode != '\0')
            return failed("", WSLPATH_USAGE);
        else
            mode = value[1];
    }
    if (path == NULL || mode == '-')
        return failed(WSLPATH_USAGE, arena_join(arena, argv[0], ": Invalid argument\n", NULL));
    return translate(arena, argv[0], sources, mode == '\0' ? 'u' : mode, path, absolute);
}

struct output run_wslinfo(struct arena *arena, char *const *argv, const struct sources *sources)
{
    struct arguments arguments = {.argv = argv + 1, .flags = WSLINFO_FLAGS, .operands = 0};
    enum argument_kind kind;
    const char *value = "";
    const char *subject = NULL;
    const char *newline = "\n";

    while ((kind = arguments_next(&arguments, &value)) != ARGUMENT_END) {
        if (kind != ARGUMENT_FLAG)
            return bad_argument(arena, argv[0], value);
        if (strcmp(value, "-n") == 0) {
            newline = "";
        } else if (strcmp(value, "--help") != 0) {
            if (subject != NULL)
                return failed("", WSLINFO_USAGE);
            subject = strcmp(value, "--wsl-version") == 0 ? "version" : value + strlen("--");
        }
    }
    if (subject == NULL)
        return failed("", WSLINFO_USAGE);
    const char *fact = sources->fact(sources->world.context, arena, subject);
    if (fact == NULL || *fact == '\0')
        return failed("", arena_join(arena, argv[0], ": no value is known for ", subject, "\n",
                                     NULL));
    return (struct output){.out = arena_join(arena, fact, newline, NULL), .error = ""};
}
