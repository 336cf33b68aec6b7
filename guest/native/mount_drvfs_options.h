/* The command line that mount(8) gives a helper of its (mount(8), EXTERNAL HELPERS). */
#ifndef ISTHMUS_MOUNT_DRVFS_OPTIONS_H
#define ISTHMUS_MOUNT_DRVFS_OPTIONS_H

#include <stdbool.h>

enum { MOUNT_MAX_OPTIONS_BYTES = 4096 };

struct mount_options {
    const char *source;                    /* a Windows path */
    const char *directory;                 /* where to mount it */
    char options[MOUNT_MAX_OPTIONS_BYTES]; /* of all -o, -r and -w, separated by commas */
    bool is_fake;                          /* do everything but mount */
    bool is_verbose;
};

/* Read the command line. Returns false, having said so on stderr, where it is not as it has to be. */
bool mount_options_parse(int argc, char **argv, struct mount_options *options);

/* Whether `name` is among the options. */
bool mount_options_have(const struct mount_options *options, const char *name);

#endif
