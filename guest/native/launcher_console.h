/* The user's terminal, while a Windows program has it for its console. */
#ifndef ISTHMUS_LAUNCHER_CONSOLE_H
#define ISTHMUS_LAUNCHER_CONSOLE_H

#include "launcher_request.h"

#include <stdbool.h>

/* The size of the terminal that descriptors 0, 1 and 2 are, if we are in its foreground and it has
 * a size; else rows is 0: then the program gets pipes. */
struct console_size console_find(void);

/* Its size now; rows is 0 where it has none any more. */
struct console_size console_size(void);

/* Pass keys and output through as they are, until console_leave(), which may be called at any
 * time and any number of times. Returns 0, or -1 with errno set. */
int console_enter(void);
void console_leave(void);

#endif
