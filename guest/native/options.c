#include "options.h"

#include "number.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

enum {
    DEFAULT_REQUEST_TIMEOUT_MS = 10 * 1000,
    /* Long: the program may lie on a drive that the host must wake first. */
    DEFAULT_EXEC_TIMEOUT_MS = 60 * 1000,
    HOSTNAME_BYTES = 64, /* __NEW_UTS_LEN, linux/utsname.h */
};

enum option_key {
    OPTION_ROOT = 'r',
    OPTION_HOSTNAME = 'h',
    OPTION_LISTEN = 'l',
    OPTION_READY = 'y',
    OPTION_CGROUP = 'c',
    OPTION_BIND = 'b',
    OPTION_REQUEST_TIMEOUT = 'q',
    OPTION_EXEC_TIMEOUT = 'x',
};

static const struct option LONG_OPTIONS[] = {
    {"root", required_argument, NULL, OPTION_ROOT},
    {"hostname", required_argument, NULL, OPTION_HOSTNAME},
    {"listen-fd", required_argument, NULL, OPTION_LISTEN},
    {"ready-fd", required_argument, NULL, OPTION_READY},
    {"cgroup", required_argument, NULL, OPTION_CGROUP},
    {"bind", required_argument, NULL, OPTION_BIND},
    {"request-timeout-ms", required_argument, NULL, OPTION_REQUEST_TIMEOUT},
    {"exec-timeout-ms", required_argument, NULL, OPTION_EXEC_TIMEOUT},
    {NULL, 0, NULL, 0},
};

/* Absolute, printable (it is repeated in a line of text), and, for a path that is made in the
 * distribution, free of parts that would leave the directory being walked. */
static bool is_absolute_path(const char *path)
{
    if (*path != '/')
        return false;
    for (const char *at = path; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20)
            return false;
    return strlen(path) < PATH_MAX;
}

static bool has_dot_part(const char *path)
{
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        if ((length == 1 && path[0] == '.') || (length == 2 && path[0] == '.' && path[1] == '.'))
            return true;
        path += length + (path[length] == '/');
    }
    return false;
}

static bool parse_bind(char *text, struct options *options)
{
    errno = E2BIG;
    if (options->bind_count == OPTIONS_MAX_BINDS)
        return false;
    errno = EINVAL;
    char *colon = strchr(text, ':');
    if (colon == NULL)
        return false;
    *colon = '\0';

    struct bind *bind = &options->binds[options->bind_count];
    bind->source = text;
    bind->target = colon + 1;
    char *mode = strchr(bind->target, ':');
    bind->read_only = mode != NULL;
    if (mode != NULL) {
        if (strcmp(mode, ":ro") != 0)
            return false;
        *mode = '\0';
    }
    if (!is_absolute_path(bind->source) || !is_absolute_path(bind->target) ||
        has_dot_part(bind->target) || bind->target[strspn(bind->target, "/")] == '\0')
        return false;
    options->bind_count++;
    return true;
}

static bool parse_one(int key, char *value, struct options *options)
{
    errno = EINVAL;
    switch (key) {
    case OPTION_ROOT:
        options->root = value;
        return is_absolute_path(value);
    case OPTION_HOSTNAME:
        options->hostname = value;
        return *value != '\0' && strlen(value) <= HOSTNAME_BYTES;
    case OPTION_CGROUP:
        options->cgroup = value;
        return is_absolute_path(value);
    case OPTION_LISTEN:
        return number_parse(value, STDERR_FILENO + 1, &options->listen_fd);
    case OPTION_READY:
        return number_parse(value, STDERR_FILENO + 1, &options->ready_fd);
    case OPTION_REQUEST_TIMEOUT:
        return number_parse(value, 1, &options->request_timeout_ms);
    case OPTION_EXEC_TIMEOUT:
        return number_parse(value, 1, &options->exec_timeout_ms);
    case OPTION_BIND:
        return parse_bind(value, options);
    default:
        return false;
    }
}

static const char *option_name(int key)
{
    for (const struct option *each = LONG_OPTIONS; each->name != NULL; each++)
        if (each->val == key)
            return each->name;
    return "unknown option, or one without its value";
}

bool options_parse(int argc, char **argv, struct options *options, struct failure *failure)
{
    bool good = true;
    int key;

    *options = (struct options){
        .listen_fd = -1,
        .ready_fd = -1,
        .request_timeout_ms = DEFAULT_REQUEST_TIMEOUT_MS,
        .exec_timeout_ms = DEFAULT_EXEC_TIMEOUT_MS,
    };
    /* The rest is read after a mistake too: --ready-fd, where it is to be reported, may follow. */
    opterr = 0;
    while ((key = getopt_long(argc, argv, "", LONG_OPTIONS, NULL)) != -1)
        if (!parse_one(key, optarg, options) && good)
            good = failure_set(failure, STAGE_OPTIONS, option_name(key));
    if (!good)
        return false;
    errno = EINVAL;
    if (optind != argc)
        return failure_set(failure, STAGE_OPTIONS, argv[optind]);
    if (options->root == NULL)
        return failure_set(failure, STAGE_OPTIONS, option_name(OPTION_ROOT));
    if (options->hostname == NULL)
        return failure_set(failure, STAGE_OPTIONS, option_name(OPTION_HOSTNAME));
    if (options->listen_fd < 0 || options->listen_fd == options->ready_fd)
        return failure_set(failure, STAGE_OPTIONS, option_name(OPTION_LISTEN));
    return true;
}
