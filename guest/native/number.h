/* Numbers on command lines. */
#ifndef ISTHMUS_NUMBER_H
#define ISTHMUS_NUMBER_H

#include <stdbool.h>

/* The decimal number that is all of `text`; false, with errno EINVAL, for anything else, and for
 * one below `least` or above INT_MAX. */
bool number_parse(const char *text, int least, int *value);

#endif
