#include "number.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

bool number_parse(const char *text, int least, int *value)
{
    char *end;

    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < least || number > INT_MAX) {
        errno = EINVAL;
        return false;
    }
    *value = (int)number;
    return true;
}
