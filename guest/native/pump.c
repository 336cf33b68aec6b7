#include "pump.h"

#include "bytes.h"
#include "io.h"
#include "pump_ahead.h"
#include "pump_bulk.h"
#include "pump_control.h"
#include "pump_helper.h"
#include "pump_notify.h"
#include "pump_request.h"
#include "report.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 10000,      /* how long the kernel's requests wait for a new server */
    NOTIFY_PATIENCE_MS = 10000, /* how long the kernel may take to drop anything at all */
    CLOSED_PORT_POLL_MS = 100,
    WIND_UP_POLL_MS = 10,
    EXIT_UNMOUNTED = 0,
    EXIT_MALFORMED = 3,
    EXIT_NO_MEMORY = 4,
    EXIT_ABANDONED = 5,
    STILL_RUNNING = -1,
};

static const char MAGIC[] = "\0isthmus-sync\0\xff\n";
static const char ECHO_MARK[] = "\0isthmus-here\0\xff\n";
_Static_assert(sizeof MAGIC - 1 == PUMP_MARK_BYTES, "as long as wire/preamble.py has it");
_Static_assert(sizeof ECHO_MARK == sizeof MAGIC, "both are as long");

static void refuse(struct pump *pump, uint64_t unique, int error)
{
    struct fuse_out_header header = {
        .len = sizeof header,
        .error = -error,
        .unique = unique,
    };
    /* ENOENT: it was interrupted meanwhile, and nobody waits for it. */
    (void)!write(pump->device, &header, sizeof header);
}

static uint64_t init_unique(const struct pump *pump)
{
    struct fuse_in_header header;

    memcpy(&header, pump->init, sizeof header);
    return header.unique;
}

void pump_lose_server(struct pump *pump)
{
    uint64_t unique;

    if (pump->state == PUMP_SERVED)
        pump->patience_ends_ms = io_monotonic_ms() + PATIENCE_MS;
    pump->state = PUMP_ALONE;
    while ((unique = flight_take(&pump->flight)) != 0)
        /* INIT comes once in the life of a file system: the next server will answer it. */
        if (pump->is_init_answered || unique != init_unique(pump))
            refuse(pump, unique, EIO);
    ahead_clear(&pump->ahead);
    bulk_close(&pump->bulk);
    pump->port.in_start = pump->port.in_end = 0;
    pump->port.out_length = pump->port.out_sent = 0;
}

void pump_announce(struct pump *pump, const unsigned char nonce[PUMP_NONCE_BYTES])
{
    pump_lose_server(pump);
    memcpy(pump->marker, MAGIC, PUMP_MARK_BYTES);
    memcpy(pump->marker + PUMP_MARK_BYTES, nonce, PUMP_NONCE_BYTES);
    pump->state = PUMP_GREETING;
}

static bool is_answered(uint32_t opcode)
{
    return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT &&
           opcode != FUSE_NOTIFY_REPLY;
}

/* Note that the request in `out` is under way, and keep a copy of INIT. */
static int note_request(struct pump *pump)
{
    struct fuse_in_header header;

    memcpy(&header, pump->port.out, sizeof header);
    if (header.opcode == FUSE_INIT) {
        if (pump->port.out_length > sizeof pump->init)
            return EXIT_MALFORMED;
        memcpy(pump->init, pump->port.out, pump->port.out_length);
        pump->init_length = pump->port.out_length;
    }
    if (is_answered(header.opcode) && !flight_add(&pump->flight, header.unique))
        return EXIT_NO_MEMORY;
    bool noted = ahead_note_request(&pump->ahead, pump->port.out, pump->port.out_length);
    return noted ? STILL_RUNNING : EXIT_NO_MEMORY;
}

/* What is to be in the stream before the request in `out`. */
static void put_first(struct port *port, size_t at, const unsigned char *message, size_t length)
{
    memmove(port->out + at + length, port->out + at, port->out_length - at);
    memcpy(port->out + at, message, length);
    port->out_length += length;
}

static void put_helper_first(struct pump *pump)
{
    unsigned char message[PUMP_HELPER_OUT_BYTES];
    struct port *port = &pump->port;
    size_t at = 0;

    if (ahead_say_used(&pump->ahead, port->out, message)) {
        put_first(port, 0, message, AHEAD_USED_BYTES);
        at += AHEAD_USED_BYTES;
    }

    for (ssize_t got; at + sizeof message <= PORT_SPARE_BYTES &&
                      (got = recv(pump->helper, message, sizeof message, MSG_DONTWAIT)) > 0;) {
        ahead_note_helper(&pump->ahead, message);
        put_first(port, at, message, (size_t)got);
        at += (size_t)got;
    }
}

/* One request of the kernel's: to the server, or refused where there is none. */
static int take_request(struct pump *pump)
{
    struct port *port = &pump->port;
    size_t apart = 0; /* bytes of data that are in the bulk disk's buffer */
    ssize_t got = request_read(pump->device, port->out, &pump->bulk, &apart);

    if (got < 0) {
        if (errno == EAGAIN || errno == EINTR || errno == ENOENT) /* ENOENT: interrupted */
            return STILL_RUNNING;
        return errno == ENODEV ? EXIT_UNMOUNTED : EXIT_ABANDONED;
    }
    if ((size_t)got < sizeof(struct fuse_in_header))
        return EXIT_MALFORMED;
    if (pump->state != PUMP_SERVED) {
        struct fuse_in_header header;
        memcpy(&header, port->out, sizeof header);
        if (is_answered(header.opcode))
            refuse(pump, header.unique, EIO);
        return STILL_RUNNING;
    }
    if (ahead_answer(&pump->ahead, pump->device, port->out, (size_t)got))
        return STILL_RUNNING;
    port->out_length = request_use_bulk(port->out, (size_t)got, apart, &pump->bulk);
    int status = note_request(pump);
    /* What the helper has sent before it made this very request has to be before it. */
    if (status == STILL_RUNNING && pump->helper >= 0)
        put_helper_first(pump);
    if (status == STILL_RUNNING)
        (void)port_flush(port);
    return status;
}

/* An answer to a READ whose data is in a slot. Returns what writing it to the kernel did. */
static ssize_t pass_slot(struct pump *pump, struct fuse_out_header header, unsigned slot,
                         size_t length)
{
    struct iovec parts[] = {
        {.iov_base = &header, .iov_len = sizeof header},
        {.iov_base = pump->bulk.buffer, .iov_len = length},
    };

    if (!bulk_read(&pump->bulk, slot, length))
        return -1;
    header.error = 0;
    header.len = (uint32_t)(sizeof header + length);
    return writev(pump->device, parts, 2);
}

static int take_reply(struct pump *pump, const unsigned char *message, size_t length,
                      uint64_t unique)
{
    unsigned slot = bulk_give_back(&pump->bulk, unique);
    struct fuse_out_header header;
    size_t in_slot = 0;
    bool is_init = pump->init_length > 0 && unique == init_unique(pump);

    if (is_init && pump->is_init_answered)
        return STILL_RUNNING;
    memcpy(&header, message, sizeof header);
    if (header.error == BULK_IN_SLOT) {
        if (slot == 0 || length != sizeof header + sizeof(uint32_t))
            return EXIT_MALFORMED;
        in_slot = bytes_get_u32(message + sizeof header);
        if (in_slot > BULK_SLOT_BYTES)
            return EXIT_MALFORMED;
    }
    ahead_note_reply(&pump->ahead, message, length);
    if (!flight_remove(&pump->flight, unique))
        return STILL_RUNNING; /* the kernel never asked, or no longer waits */
    if (is_init)
        pump->is_init_answered = true;
    ssize_t passed = header.error == BULK_IN_SLOT ? pass_slot(pump, header, slot, in_slot)
                                                  : write(pump->device, message, length);
    if (passed < 0) {
        if (errno == ENODEV)
            return EXIT_UNMOUNTED;
        /* What the kernel takes for no answer must not leave somebody waiting. */
        if (errno != ENOENT) {
            report("the kernel does not take an answer: %s", strerror(errno));
            refuse(pump, unique, EIO);
        }
    }
    return STILL_RUNNING;
}

static int take_notification(const unsigned char *message, size_t length)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    int64_t deadline = io_monotonic_ms() + NOTIFY_PATIENCE_MS;

    while (!notify_queue(message, length)) {
        if (io_monotonic_ms() >= deadline)
            return EXIT_ABANDONED;
        nanosleep(&pause, NULL);
    }
    return STILL_RUNNING;
}

static int take_message(struct pump *pump, const unsigned char *message, size_t length)
{
    struct fuse_out_header header;

    memcpy(&header, message, sizeof header);
    if (header.unique != 0)
        return take_reply(pump, message, length, header.unique);
    if (header.error == AHEAD_CODE)
        return ahead_take(&pump->ahead, message, length) ? STILL_RUNNING : EXIT_MALFORMED;
    if (header.error < PUMP_HELPER_CODE) {
        ahead_note_notification(&pump->ahead, message, length);
        return take_notification(message, length);
    }
    /* A helper that has no room is one that the server does not wait for, as it ought to. */
    bool taken = send(pump->helper, message, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
    return taken ? STILL_RUNNING : EXIT_MALFORMED;
}

static int take_messages(struct pump *pump)
{
    struct port *port = &pump->port;
    int status = STILL_RUNNING;

    while (status == STILL_RUNNING &&
           port->in_end - port->in_start >= sizeof(struct fuse_out_header)) {
        const unsigned char *message = port->in + port->in_start;
        size_t length = bytes_get_u32(message);
        if (length < sizeof(struct fuse_out_header) || length > PORT_MESSAGE_BYTES)
            return EXIT_MALFORMED;
        if (port->in_end - port->in_start < length)
            break;
        port->in_start += length;
        status = take_message(pump, message, length);
    }
    return status;
}

/* Look for the preamble of the server that was announced, and answer it. */
static void greet(struct pump *pump)
{
    struct port *port = &pump->port;
    unsigned char *from = port->in + port->in_start;
    size_t length = port->in_end - port->in_start;
    unsigned char *found = memmem(from, length, pump->marker, PUMP_MARKER_BYTES);

    if (found == NULL) {
        if (length >= PUMP_MARKER_BYTES)
            port->in_start = port->in_end - (PUMP_MARKER_BYTES - 1);
        return;
    }
    port->in_start = (size_t)(found - port->in) + PUMP_MARKER_BYTES;
    memcpy(port->out, ECHO_MARK, PUMP_MARK_BYTES);
    memcpy(port->out + PUMP_MARK_BYTES, pump->marker + PUMP_MARK_BYTES, PUMP_NONCE_BYTES);
    memcpy(port->out + PUMP_MARKER_BYTES, pump->init, pump->init_length);
    port->out_length = PUMP_MARKER_BYTES + pump->init_length;
    if (pump->init_length > 0 && !pump->is_init_answered)
        (void)flight_add(&pump->flight, init_unique(pump)); /* it has had room for it before */
    pump->state = PUMP_SERVED;
    (void)port_flush(port);
}

static int on_port(struct pump *pump, short events)
{
    if (events & POLLOUT)
        (void)port_flush(&pump->port);
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return STILL_RUNNING;
    int got = port_receive(&pump->port);
    if (got < 0) {
        pump->is_port_closed = true;
        pump_lose_server(pump);
        return STILL_RUNNING;
    }
    pump->is_port_closed = false;
    if (pump->state == PUMP_GREETING)
        greet(pump);
    return pump->state == PUMP_SERVED ? take_messages(pump) : STILL_RUNNING;
}

static void take_from_helper(struct pump *pump)
{
    ssize_t got = recv(pump->helper, pump->port.out, PORT_MESSAGE_BYTES, MSG_DONTWAIT);

    if (got > 0 && pump->state == PUMP_SERVED) {
        pump->port.out_length = (size_t)got;
        (void)port_flush(&pump->port);
    }
}

enum { DEVICE, CONTROL, PORT, HELPER, POLLED };

/* What to wait for now. Returns the time-out of poll(2). */
static int prepare(const struct pump *pump, struct pollfd polled[POLLED])
{
    bool is_served = pump->state == PUMP_SERVED;
    bool is_free = pump->port.out_length == 0;
    int64_t left_ms = pump->patience_ends_ms - io_monotonic_ms();
    bool takes_requests = is_served ? is_free : left_ms <= 0;

    polled[DEVICE] = (struct pollfd){.fd = pump->device, .events = takes_requests ? POLLIN : 0};
    polled[CONTROL] = (struct pollfd){.fd = pump->control, .events = POLLIN};
    polled[PORT] = (struct pollfd){
        .fd = pump->state == PUMP_ALONE || pump->is_port_closed ? -1 : pump->port.fd,
        .events = (short)(POLLIN | (is_free ? 0 : POLLOUT)),
    };
    polled[HELPER] = (struct pollfd){.fd = is_free ? pump->helper : -1, .events = POLLIN};
    if (pump->is_port_closed)
        return CLOSED_PORT_POLL_MS;
    return is_served || left_ms <= 0 ? -1 : (int)left_ms;
}

/* Nobody may be left waiting by this process's end, nor keep it from ending: see notify_stop(). */
static void wind_up(struct pump *pump)
{
    struct pollfd device = {.fd = pump->device, .events = POLLIN};
    int status = STILL_RUNNING;

    pump_lose_server(pump);
    while (!notify_stop() && status == STILL_RUNNING)
        if (poll(&device, 1, WIND_UP_POLL_MS) > 0)
            status = take_request(pump); /* there is no server: it is refused */
}

static int serve(struct pump *pump)
{
    struct pollfd polled[POLLED];
    int status = STILL_RUNNING;

    pump->patience_ends_ms = io_monotonic_ms() + PATIENCE_MS;
    while (status == STILL_RUNNING) {
        int ready = poll(polled, POLLED, prepare(pump, polled));
        if (ready < 0 && errno != EINTR)
            return EXIT_ABANDONED;
        if (ready <= 0) {
            pump->is_port_closed = false; /* look whether it still is */
            continue;
        }
        if (polled[CONTROL].revents && !control_read(pump))
            return EXIT_ABANDONED;
        if (polled[PORT].revents)
            status = on_port(pump, polled[PORT].revents);
        if (polled[HELPER].revents && pump->port.out_length == 0)
            take_from_helper(pump);
        /* The device is in error once nothing is mounted from it any more. */
        if (status == STILL_RUNNING && polled[DEVICE].revents && pump->port.out_length == 0)
            status = take_request(pump);
    }
    return status;
}

int pump_run(struct pump *pump)
{
    int status = serve(pump);

    if (status != EXIT_UNMOUNTED)
        wind_up(pump);
    return status;
}
