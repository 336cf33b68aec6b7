/* Which device a virtio-serial port is. The tests' pump finds a socket that it was given instead. */
#ifndef ISTHMUS_PUMP_PORT_FIND_H
#define ISTHMUS_PUMP_PORT_FIND_H

/* Open the port called `name`, non-blocking. Returns -1 with errno set: ENOENT while there is none,
 * EBUSY while somebody else has it open. */
int port_find(const char *name);

#endif
