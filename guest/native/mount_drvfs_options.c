#include "mount_drvfs_options.h"

#include "report.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char USAGE[] =
    "usage: mount -t drvfs DRIVE DIRECTORY [-o OPTIONS]\n"
    "  DRIVE      C:, C:\\Directory or \\\\server\\share (in quotes)\n"
    "  OPTIONS    metadata,uid=N,gid=N,umask=OCTAL,fmask=OCTAL,dmask=OCTAL,case=off|dir|force,ro\n";

static const struct option NONE[] = {{NULL, 0, NULL, 0}};

static bool add_option(struct mount_options *options, const char *text)
{
    size_t used = strlen(options->options);
    size_t length = strlen(text);

    if (used + length + 2 > sizeof options->options) {
        report("the options are too long");
        return false;
    }
    if (used > 0)
        options->options[used++] = ',';
    memcpy(options->options + used, text, length + 1);
    return true;
}

static bool take(int letter, struct mount_options *options)
{
    switch (letter) {
    case 'f':
        options->is_fake = true;
        return true;
    case 'o':
        return add_option(options, optarg);
    case 'r':
        return add_option(options, "ro");
    case 'v':
        options->is_verbose = true;
        return true;
    case 'w':
        return add_option(options, "rw");
    default:
        /* n, s: no mtab is written, and unknown options are refused. t: it is known. */
        return letter != '?';
    }
}

bool mount_options_parse(int argc, char **argv, struct mount_options *options)
{
    int letter;

    memset(options, 0, sizeof *options);
    /* getopt_long, because mount(8) puts the options last, and this one looks for them there. */
    while ((letter = getopt_long(argc, argv, "fno:rst:vw", NONE, NULL)) >= 0)
        if (!take(letter, options))
            return false;
    if (argc - optind != 2) {
        fputs(USAGE, stderr);
        return false;
    }
    options->source = argv[optind];
    options->directory = argv[optind + 1];
    return true;
}

bool mount_options_have(const struct mount_options *options, const char *name)
{
    size_t length = strlen(name);

    for (const char *at = options->options; *at != '\0';) {
        size_t found = strcspn(at, ",");
        if (found == length && memcmp(at, name, length) == 0)
            return true;
        at += found;
        at += strspn(at, ",");
    }
    return false;
}
