/* What a Windows program is to be started with, found out in the place where it was executed. */
#ifndef ISTHMUS_LAUNCHER_REQUEST_H
#define ISTHMUS_LAUNCHER_REQUEST_H

#include "helper.h"

/* A program that lies where Windows cannot open it, to be sent along; fd is -1 for one that does
 * not. */
struct staged {
    int fd;
    uint32_t size;
};

/* The size of the console that the program gets; rows is 0 for none. */
struct console_size {
    uint16_t rows;
    uint16_t columns;
};

/* Fill a LAUNCH request for the program `file` with `argv`, which ends with NULL. Paths of WSLENV
 * that have no Windows name are named on stderr. Returns 0, or -1 with errno set. */
int launcher_fill_request(struct helper_request *request, const char *file, char *const *argv,
                          char *const *environment, struct console_size console,
                          struct staged *staged);

#endif
