#include "wslpath_options.h"

#include <stddef.h>
#include <string.h>

static const char *find_flag(const char *const *flags, const char *argument)
{
    for (; *flags != NULL; flags++)
        if (strcmp(*flags, argument) == 0)
            return *flags;
    return NULL;
}

static enum argument_kind take_flag(struct arguments *arguments, const char *flag,
                                    const char **value)
{
    const char *found = find_flag(arguments->flags, flag);

    if (found == NULL)
        return ARGUMENT_BAD;
    *value = found;
    return ARGUMENT_FLAG;
}

/* `*value` is the argument that the letters are of. */
static enum argument_kind take_letter(struct arguments *arguments, const char **value)
{
    char flag[] = {'-', *arguments->letters++, '\0'};

    if (*arguments->letters == '\0')
        arguments->letters = NULL;
    return take_flag(arguments, flag, value);
}

enum argument_kind arguments_next(struct arguments *arguments, const char **value)
{
    if (arguments->letters != NULL) {
        *value = arguments->argv[-1];
        return take_letter(arguments, value);
    }
    if (!arguments->only_operands && *arguments->argv != NULL &&
        strcmp(*arguments->argv, "--") == 0) {
        arguments->only_operands = true;
        arguments->argv++;
    }
    const char *argument = *arguments->argv;
    if (argument == NULL)
        return ARGUMENT_END;
    arguments->argv++;
    *value = argument;
    if (arguments->only_operands || argument[0] != '-' || argument[1] == '\0')
        return arguments->operands-- > 0 ? ARGUMENT_OPERAND : ARGUMENT_BAD;
    if (argument[1] == '-')
        return take_flag(arguments, argument, value);
    arguments->letters = argument + 1;
    return take_letter(arguments, value);
}
