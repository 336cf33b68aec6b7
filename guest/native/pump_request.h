/* One request from the kernel, read so that much data to be written lands in the bulk disk's
 * buffer, and made ready for the port. */
#ifndef ISTHMUS_PUMP_REQUEST_H
#define ISTHMUS_PUMP_REQUEST_H

#include "pump_bulk.h"

#include <stddef.h>
#include <sys/types.h>

/* Read the next request from `device` to `out`, PORT_MESSAGE_BYTES. `*apart` is how many bytes at
 * its end, which are a large WRITE's data, are in the bulk buffer instead. Returns the request's
 * length with them, or -1 with errno set. */
ssize_t request_read(int device, unsigned char *out, struct bulk *bulk, size_t *apart);

/* Give the request that request_read() has read a slot if it is a large one and there is any, and
 * put data that is apart there, or else to where it belongs. Returns the length of what is to go
 * through the port. */
size_t request_use_bulk(unsigned char *out, size_t length, size_t apart, struct bulk *bulk);

#endif
