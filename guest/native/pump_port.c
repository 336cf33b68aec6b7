#include "pump_port.h"

#include "io.h"
#include "pump_port_find.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    RECEIVE_PIECE = 4096,
    SEND_PIECE = 32768,
    PIECES = 32,
    FIRST_WAIT_MS = 1,
    LONGEST_WAIT_MS = 50,
};

bool port_open(struct port *port, const char *name, int timeout_ms)
{
    int64_t deadline = io_monotonic_ms() + timeout_ms;
    long wait_ms = FIRST_WAIT_MS;

    *port = (struct port){
        .fd = -1,
        .in = malloc(PORT_IN_BYTES),
        .out = malloc(PORT_MESSAGE_BYTES + PORT_SPARE_BYTES),
    };
    if (port->in == NULL || port->out == NULL)
        return false;
    for (;;) {
        port->fd = port_find(name);
        if (port->fd >= 0 || io_monotonic_ms() >= deadline)
            return port->fd >= 0;
        struct timespec wait = {.tv_nsec = wait_ms * 1000000};
        nanosleep(&wait, NULL);
        wait_ms = wait_ms * 2 < LONGEST_WAIT_MS ? wait_ms * 2 : LONGEST_WAIT_MS;
    }
}

/* The first PIECES pieces of `piece` bytes of the `length` bytes at `at`. Returns how many. */
static int split(unsigned char *at, size_t length, size_t piece, struct iovec pieces[PIECES])
{
    int count = 0;

    for (; count < PIECES && length > 0; count++) {
        size_t size = length < piece ? length : piece;
        pieces[count] = (struct iovec){.iov_base = at, .iov_len = size};
        at += size;
        length -= size;
    }
    return count;
}

int port_receive(struct port *port)
{
    struct iovec pieces[PIECES];

    if (port->in_start == port->in_end) {
        port->in_start = port->in_end = 0;
    } else if (port->in_end > PORT_IN_BYTES / 2) {
        memmove(port->in, port->in + port->in_start, port->in_end - port->in_start);
        port->in_end -= port->in_start;
        port->in_start = 0;
    }
    int count =
        split(port->in + port->in_end, PORT_IN_BYTES - port->in_end, RECEIVE_PIECE, pieces);
    ssize_t got = readv(port->fd, pieces, count);
    if (got > 0) {
        port->in_end += (size_t)got;
        return 1;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

bool port_flush(struct port *port)
{
    struct iovec pieces[PIECES];

    while (port->out_sent < port->out_length) {
        int count =
            split(port->out + port->out_sent, port->out_length - port->out_sent, SEND_PIECE, pieces);
        ssize_t sent = writev(port->fd, pieces, count);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        if (sent <= 0)
            break; /* nobody to send it to: what was to be answered is answered otherwise */
        port->out_sent += (size_t)sent;
    }
    port->out_length = port->out_sent = 0;
    return true;
}
