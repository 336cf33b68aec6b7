/* Messages between the server and this program itself, which the kernel never sees, and the thread
 * that handles them. They are framed as the kernel's are: a notification with a code that
 * linux/fuse.h does not have from the server, a request with such an opcode to it. */
#ifndef ISTHMUS_PUMP_HELPER_H
#define ISTHMUS_PUMP_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
    /* Codes and opcodes from here on are not the kernel's. */
    PUMP_HELPER_CODE = 0x1000,
    /* The largest message from the server, and the largest to it. */
    PUMP_HELPER_IN_BYTES = 64 * 1024,
    PUMP_HELPER_OUT_BYTES = 1024,
};

struct pump_helper {
    int socket;   /* to the main thread: one message each way per datagram */
    pid_t init;   /* pid 1 of the distribution, in whose mount namespace the drive is */
    dev_t device; /* the drive's file system, as stat(2) numbers it */
    void (*handle)(struct pump_helper *helper, const unsigned char *message, size_t length);
};

/* Start the thread, which calls `helper->handle` for each message of the server's, one after the
 * other. Returns the main thread's end of its socket, or -1 with errno set. */
int pump_helper_start(struct pump_helper *helper);

/* On that thread: send the server a message of at most PUMP_HELPER_OUT_BYTES. It is in the port
 * before any request that the kernel makes from now on. Returns false if the pump is ending. */
bool pump_helper_send(struct pump_helper *helper, const void *message, size_t length);

/* On that thread: a descriptor of the drive's root that does not keep it from being unmounted, but
 * from ending, so it must be closed soon. Returns -1 with errno set; ENOENT: it is mounted nowhere
 * in the distribution's own mount namespace. */
int pump_helper_open_root(const struct pump_helper *helper);

#endif
