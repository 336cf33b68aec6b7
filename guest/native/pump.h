/* One drive's pump: FUSE messages between the kernel and the server at the port's other end.
 *
 * The server may be replaced while the file system is in use. Each one is greeted: it sends MAGIC
 * and a nonce that the agent has told this pump, which drops all that came before, answers ECHO
 * and the nonce, and repeats the INIT by which the kernel and the first server agreed. Meanwhile
 * what was under way is answered with EIO, and what is new waits, but not for ever. */
#ifndef ISTHMUS_PUMP_H
#define ISTHMUS_PUMP_H

#include "pump_ahead.h"
#include "pump_bulk.h"
#include "pump_flight.h"
#include "pump_port.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PUMP_NONCE_BYTES = 16,
    PUMP_MARK_BYTES = 16, /* wire/preamble.py, MAGIC and ECHO */
    PUMP_MARKER_BYTES = PUMP_MARK_BYTES + PUMP_NONCE_BYTES,
    PUMP_INIT_BYTES = 256,

};

enum pump_state {
    PUMP_ALONE,    /* no server: none was announced yet, or it is known to be gone */
    PUMP_GREETING, /* a server was announced, and its preamble is looked for */
    PUMP_SERVED,   /* messages pass */
};

struct pump {
    enum pump_state state;
    int device;  /* /dev/fuse */
    int control; /* where the agent speaks (pump_control.h) */
    dev_t number; /* the file system's, as stat(2) has it */
    int helper;  /* where messages that are not the kernel's go and come from (pump_helper.h) */
    struct port port;
    struct flight flight;
    struct ahead ahead;
    struct bulk bulk;
    unsigned char marker[PUMP_MARKER_BYTES]; /* the preamble of the server that was announced */
    unsigned char init[PUMP_INIT_BYTES];     /* the kernel's INIT request */
    size_t init_length;                      /* 0 until it has come */
    bool is_init_answered;                   /* so the answer to a repeated one is not for it */
    int64_t patience_ends_ms;                /* when new requests are refused instead of held */
    bool is_port_closed;                     /* the host's end: looked at again from time to time */
};

/* Serve until the file system is unmounted, which returns 0, or until this drive cannot go on,
 * which returns a status for exit(3) and, once the process is gone, makes the kernel fail whatever
 * is asked of the file system. */
int pump_run(struct pump *pump);

/* The server that `nonce` belongs to is about to begin; any earlier one is gone. */
void pump_announce(struct pump *pump, const unsigned char nonce[PUMP_NONCE_BYTES]);

/* The server is gone: answer all that it has not. */
void pump_lose_server(struct pump *pump);

#endif
