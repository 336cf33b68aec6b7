/* The disk by which large contents pass, beside the port, which carries 4 KiB at a time.
 *
 * It is the same bytes as a file that the server has mapped, in slots. This program chooses one for
 * a large READ or WRITE and writes its number, counted from 1, into the last field of its
 * struct fuse_read_in or fuse_write_in, which the kernel has no use for ("padding"). A WRITE goes
 * through the port without its data, which is in the slot. A READ may be answered by a header whose
 * error is BULK_IN_SLOT and a u32, the number of bytes that are there. docs/drives.md, section 12. */
#ifndef ISTHMUS_PUMP_BULK_H
#define ISTHMUS_PUMP_BULK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    BULK_SLOT_BYTES = 1 << 20, /* interop/drives/bulk.py */
    BULK_LEAST_BYTES = 64 * 1024,
    BULK_MOST_SLOTS = 16,
    BULK_BLOCK_BYTES = 4096, /* what transfers and buffers are aligned to (open(2), O_DIRECT) */
    BULK_IN_SLOT = 1,
};

struct bulk {
    bool is_open;
    bool has_failed; /* no request is given a slot any more */
    int fd;
    unsigned slots;
    uint64_t users[BULK_MOST_SLOTS]; /* the request that has the slot, 0: none */
    unsigned char *buffer;           /* one slot's bytes */
};

/* Use the disk `device` from now on, unless one is used already. Whoever cannot goes on without:
 * false with errno set. */
bool bulk_open(struct bulk *bulk, const char *device);

/* Have the kernel read files of the file system `number` ahead by as much as a slot pays for. Where
 * it cannot be told, by 128 KiB as ever. */
void bulk_read_further_ahead(dev_t number);

/* Use none any more. */
void bulk_close(struct bulk *bulk);

/* A slot for the request `unique`, counted from 1; 0 if there is none. */
unsigned bulk_take(struct bulk *bulk, uint64_t unique);

/* The slot that a request has had until now, counted from 1; 0 if it had none. */
unsigned bulk_give_back(struct bulk *bulk, uint64_t unique);

/* Copy the first `length` bytes of a slot to the buffer. Returns false with errno set; no slots are
 * taken from then on. */
bool bulk_read(struct bulk *bulk, unsigned slot, size_t length);

/* Copy the first `length` bytes of the buffer to a slot; else as bulk_read(). */
bool bulk_write(struct bulk *bulk, unsigned slot, size_t length);

#endif
