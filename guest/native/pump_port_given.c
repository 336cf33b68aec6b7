/* For tests: the port is a socket that the pump has inherited, and its name is the number. */
#include "pump_port_find.h"

#include "io.h"

#include <stdlib.h>

int port_find(const char *name)
{
    int given = (int)strtol(name, NULL, 10);

    return io_set_nonblocking(given) < 0 || io_set_cloexec(given) < 0 ? -1 : given;
}
