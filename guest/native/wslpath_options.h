/* The option grammar of wslpath and wslinfo: wire/options.py in C. Flags only, no values: "--"
 * ends them, one-letter flags group (-aw), a lone "-" is an operand. */
#ifndef ISTHMUS_WSLPATH_OPTIONS_H
#define ISTHMUS_WSLPATH_OPTIONS_H

#include <stdbool.h>

/* Begin with .argv at the argument after the program's name, and .flags, which NULL ends. */
struct arguments {
    char *const *argv;
    const char *const *flags;
    int operands; /* how many may still come */
    bool only_operands;
    const char *letters; /* what is left of a group, or NULL */
};

enum argument_kind { ARGUMENT_END, ARGUMENT_FLAG, ARGUMENT_OPERAND, ARGUMENT_BAD };

/* The next argument. `*value` is the flag as it stands in .flags, the operand, or the argument
 * that there is no use for. */
enum argument_kind arguments_next(struct arguments *arguments, const char **value);

#endif
