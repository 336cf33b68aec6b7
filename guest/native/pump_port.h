/* The virtio-serial port to a drive's server: a byte stream both ways, never blocking.
 *
 * The driver (drivers/char/virtio_console.c) hands out at most one 4 KiB receive buffer and takes
 * at most 32 KiB per buffer it is given, so both directions pass vectors of such pieces. */
#ifndef ISTHMUS_PUMP_PORT_H
#define ISTHMUS_PUMP_PORT_H

#include <stdbool.h>
#include <stddef.h>

enum {
    /* A request or reply: 1 MiB of data (interop/drives/server.py, MAX_WRITE) and its headers. */
    PORT_MESSAGE_BYTES = (1 << 20) + 8192,
    PORT_IN_BYTES = 2 * PORT_MESSAGE_BYTES,
    PORT_SPARE_BYTES = 4096, /* room in `out` for what goes before a message */
};

struct port {
    int fd;
    unsigned char *in; /* received and not used yet: from in_start to in_end */
    size_t in_start;
    size_t in_end;
    unsigned char *out; /* room for a message and PORT_SPARE_BYTES; from out_sent on it is to be sent */
    size_t out_length;
    size_t out_sent;
};

/* Open the port called `name`, once it is plugged in and nobody else has it; waits for at most
 * `timeout_ms`. Returns false with errno set. */
bool port_open(struct port *port, const char *name, int timeout_ms);

/* Receive what is there. Returns 1 if something came, 0 if nothing is there now, -1 if the host's
 * end is closed. There must be room: fewer than PORT_MESSAGE_BYTES wait to be used. */
int port_receive(struct port *port);

/* Send more of `out`. Returns whether all of it is sent, or the host's end is closed. */
bool port_flush(struct port *port);

#endif
