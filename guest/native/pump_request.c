#include "pump_request.h"

#include "bytes.h"
#include "pump_port.h"
#include "report.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    HEAD_BYTES = sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in),
    SIZE_AT = sizeof(struct fuse_in_header) + offsetof(struct fuse_write_in, size),
    SLOT_AT = sizeof(struct fuse_in_header) + offsetof(struct fuse_write_in, padding),
};

_Static_assert(sizeof(struct fuse_read_in) == sizeof(struct fuse_write_in) &&
                   offsetof(struct fuse_read_in, size) == offsetof(struct fuse_write_in, size) &&
                   offsetof(struct fuse_read_in, padding) == offsetof(struct fuse_write_in, padding),
               "both kinds of requests have these in the same place");

static uint32_t opcode_of(const unsigned char *request)
{
    return bytes_get_u32(request + offsetof(struct fuse_in_header, opcode));
}

ssize_t request_read(int device, unsigned char *out, struct bulk *bulk, size_t *apart)
{
    *apart = 0;
    if (!bulk->is_open)
        return read(device, out, PORT_MESSAGE_BYTES);

    /* The kernel wants to be offered room for its largest request, which this is. */
    struct iovec room[] = {
        {.iov_base = out, .iov_len = HEAD_BYTES},
        {.iov_base = bulk->buffer, .iov_len = BULK_SLOT_BYTES},
    };
    ssize_t got = readv(device, room, 2);
    if (got <= HEAD_BYTES)
        return got;
    size_t rest = (size_t)got - HEAD_BYTES;
    if (opcode_of(out) == FUSE_WRITE && rest >= BULK_LEAST_BYTES)
        *apart = rest;
    else
        memcpy(out + HEAD_BYTES, bulk->buffer, rest);
    return got;
}

static bool is_large_read(const unsigned char *request, size_t length)
{
    if (length != HEAD_BYTES || opcode_of(request) != FUSE_READ)
        return false;
    uint32_t size = bytes_get_u32(request + SIZE_AT);
    return size >= BULK_LEAST_BYTES && size <= BULK_SLOT_BYTES;
}

size_t request_use_bulk(unsigned char *out, size_t length, size_t apart, struct bulk *bulk)
{
    uint64_t unique;

    if (apart == 0 && !is_large_read(out, length))
        return length;
    memcpy(&unique, out + offsetof(struct fuse_in_header, unique), sizeof unique);
    unsigned slot = bulk_take(bulk, unique);
    if (apart == 0) {
        bytes_put_u32(out + SLOT_AT, slot);
        return length;
    }
    if (slot != 0 && bulk_write(bulk, slot, apart)) {
        bytes_put_u32(out + SLOT_AT, slot);
        bytes_put_u32(out + offsetof(struct fuse_in_header, len), HEAD_BYTES);
        return HEAD_BYTES;
    }
    if (slot != 0) {
        report("the bulk disk is not used any more: %s", strerror(errno));
        (void)bulk_give_back(bulk, unique);
    }
    memcpy(out + HEAD_BYTES, bulk->buffer, apart);
    return length;
}
