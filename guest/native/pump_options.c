#include "pump_options.h"

#include "io.h"
#include "number.h"
#include "report.h"

#include <getopt.h>

enum {
    OPTION_PORT = 1,
    OPTION_SOURCE,
    OPTION_ATTRIBUTES,
    OPTION_READ_ONLY,
    OPTION_INIT,
    OPTION_NAMESPACE,
    OPTION_TARGET,
    OPTION_CONTROL,
    OPTION_READY,
};

static const struct option OPTIONS[] = {
    {"port", required_argument, NULL, OPTION_PORT},
    {"source", required_argument, NULL, OPTION_SOURCE},
    {"attributes", required_argument, NULL, OPTION_ATTRIBUTES},
    {"read-only", no_argument, NULL, OPTION_READ_ONLY},
    {"init", required_argument, NULL, OPTION_INIT},
    {"namespace", required_argument, NULL, OPTION_NAMESPACE},
    {"target", required_argument, NULL, OPTION_TARGET},
    {"control", required_argument, NULL, OPTION_CONTROL},
    {"ready", required_argument, NULL, OPTION_READY},
    {NULL, 0, NULL, 0},
};

/* Inherited descriptors go no further: the pump starts no program, but forks. */
static bool parse_descriptor(const char *text, int *descriptor)
{
    return number_parse(text, 0, descriptor) && io_set_cloexec(*descriptor) == 0;
}

static bool take(int option, char *value, struct pump_options *options)
{
    int number;

    switch (option) {
    case OPTION_PORT:
        options->port = value;
        return true;
    case OPTION_SOURCE:
        options->source = value;
        return true;
    case OPTION_ATTRIBUTES:
        if (!number_parse(value, 0, &number))
            return false;
        options->attributes = (unsigned)number;
        return true;
    case OPTION_READ_ONLY:
        options->read_only = true;
        return true;
    case OPTION_INIT:
        return number_parse(value, 0, &options->init);
    case OPTION_NAMESPACE:
        return parse_descriptor(value, &options->mount_namespace);
    case OPTION_TARGET:
        options->target = value;
        return value[0] == '/';
    case OPTION_CONTROL:
        return parse_descriptor(value, &options->control);
    case OPTION_READY:
        return parse_descriptor(value, &options->ready);
    default:
        return false;
    }
}

bool pump_options_parse(int argc, char **argv, struct pump_options *options)
{
    int option;

    *options = (struct pump_options){
        .mount_namespace = -1,
        .control = -1,
        .ready = -1,
    };
    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) >= 0)
        if (!take(option, optarg, options)) {
            report("argument %d is not understood", optind - 1);
            return false;
        }
    bool complete = options->port != NULL && options->source != NULL &&
                    options->init > 0 &&
                    options->control >= 0 && options->ready >= 0 &&
                    (options->mount_namespace >= 0) == (options->target != NULL);
    if (!complete || optind != argc)
        report("an argument is missing, or there is one too many");
    return complete && optind == argc;
}
