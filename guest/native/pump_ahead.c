#include "pump_ahead.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

/* What may wait to be asked for: beyond it the oldest goes. */
enum { MOST_BYTES = 4 << 20 };

struct ahead_entry {
    struct ahead_entry *next; /* in its bucket */
    struct ahead_entry *newer;
    struct ahead_entry *older;
    uint64_t node;
    uint64_t offset;
    uint32_t opcode;
    uint32_t length;
    unsigned char data[];
};

struct entry_header {
    uint64_t node;
    uint64_t offset;
    uint32_t opcode;
    uint32_t length;
};

static struct ahead_entry **bucket_of(struct ahead *ahead, uint64_t node)
{
    return &ahead->buckets[node % AHEAD_BUCKETS];
}

static void drop(struct ahead *ahead, struct ahead_entry *entry)
{
    struct ahead_entry **link = bucket_of(ahead, entry->node);

    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    *(entry->newer == NULL ? &ahead->newest : &entry->newer->older) = entry->older;
    *(entry->older == NULL ? &ahead->oldest : &entry->older->newer) = entry->newer;
    ahead->bytes -= sizeof *entry + entry->length;
    free(entry);
}

/* What answers requests with `opcode`; for 0, anything of the node. */
static struct ahead_entry *find(struct ahead *ahead, uint64_t node, uint32_t opcode)
{
    struct ahead_entry *entry = *bucket_of(ahead, node);

    while (entry != NULL && (entry->node != node || (opcode != 0 && entry->opcode != opcode)))
        entry = entry->next;
    return entry;
}

static void drop_node(struct ahead *ahead, uint64_t node, uint32_t opcode)
{
    for (struct ahead_entry *entry; (entry = find(ahead, node, opcode)) != NULL;)
        drop(ahead, entry);
}

static void drop_all(struct ahead *ahead)
{
    while (ahead->oldest != NULL)
        drop(ahead, ahead->oldest);
}

static void put(struct ahead *ahead, const struct entry_header *header, const unsigned char *data)
{
    struct ahead_entry *entry = malloc(sizeof *entry + header->length);

    drop_node(ahead, header->node, header->opcode); /* what is newer is truer */
    if (entry == NULL)
        return; /* the kernel will ask the server */
    *entry = (struct ahead_entry){
        .next = *bucket_of(ahead, header->node),
        .older = ahead->newest,
        .node = header->node,
        .offset = header->offset,
        .opcode = header->opcode,
        .length = header->length,
    };
    memcpy(entry->data, data, header->length);
    *bucket_of(ahead, header->node) = entry;
    *(ahead->newest == NULL ? &ahead->oldest : &ahead->newest->newer) = entry;
    ahead->newest = entry;
    ahead->bytes += sizeof *entry + header->length;
    while (ahead->bytes > MOST_BYTES && ahead->oldest != entry)
        drop(ahead, ahead->oldest);
}

static bool is_ahead(uint32_t opcode)
{
    return opcode == FUSE_READ || opcode == FUSE_READDIR || opcode == FUSE_GETATTR;
}

bool ahead_take(struct ahead *ahead, const unsigned char *message, size_t length)
{
    struct entry_header header;

    for (size_t at = sizeof(struct fuse_out_header); at < length;) {
        if (length - at < sizeof header)
            return false;
        memcpy(&header, message + at, sizeof header);
        at += sizeof header;
        size_t padded = ((size_t)header.length + 7) & ~(size_t)7;
        if (length - at < padded || !is_ahead(header.opcode))
            return false;
        if (ahead->changes.count == 0)
            put(ahead, &header, message + at);
        at += padded;
    }
    return true;
}

static bool is_listing(uint32_t opcode)
{
    return opcode == FUSE_READDIR || opcode == FUSE_READDIRPLUS;
}

/* The part of a file that is asked for. */
static bool cut(struct ahead_entry *entry, const struct fuse_read_in *asked,
                struct iovec *part)
{
    size_t from = asked->offset < entry->length ? (size_t)asked->offset : entry->length;
    size_t size = asked->size < entry->length - from ? asked->size : entry->length - from;

    /* open(2), O_DIRECT: whoever says so wants the host's file itself. */
    if (asked->flags & O_DIRECT)
        return false;
    part->iov_base = entry->data + from;
    part->iov_len = size;
    return true;
}

bool ahead_answer(struct ahead *ahead, int device, const unsigned char *request, size_t length)
{
    struct fuse_in_header header;
    struct fuse_read_in asked = {.offset = 0};
    struct iovec parts[2];

    if (absence_answer(&ahead->absence, device, request, length))
        return true;
    memcpy(&header, request, sizeof header);
    struct ahead_entry *entry =
        find(ahead, header.nodeid, is_listing(header.opcode) ? FUSE_READDIR : header.opcode);
    if (entry == NULL)
        return false;
    parts[1] = (struct iovec){.iov_base = entry->data, .iov_len = entry->length};
    if (header.opcode != FUSE_GETATTR) {
        if (length < sizeof header + sizeof asked)
            return false;
        memcpy(&asked, request + sizeof header, sizeof asked);
    }
    if (header.opcode == FUSE_READ && !cut(entry, &asked, &parts[1]))
        return false;
    if (is_listing(header.opcode) && asked.offset != entry->offset)
        return false;
    struct fuse_out_header answer = {
        .len = (uint32_t)(sizeof answer + parts[1].iov_len),
        .unique = header.unique,
    };
    parts[0] = (struct iovec){.iov_base = &answer, .iov_len = sizeof answer};
    /* What fails was interrupted, and nobody waits for it. */
    (void)!writev(device, parts, parts[1].iov_len > 0 ? 2 : 1);
    /* From now on the kernel remembers it, up to the end. */
    if (header.opcode != FUSE_READ || asked.offset + parts[1].iov_len >= entry->length) {
        ahead->used += header.opcode == FUSE_READ;
        drop(ahead, entry);
    }
    return true;
}

static bool changes_nothing(uint32_t opcode)
{
    static const unsigned char SUCH[] = {
        FUSE_LOOKUP, FUSE_FORGET,    FUSE_GETATTR,   FUSE_READLINK,     FUSE_OPEN,
        FUSE_READ,   FUSE_STATFS,    FUSE_RELEASE,   FUSE_FSYNC,        FUSE_GETXATTR,
        FUSE_FLUSH,  FUSE_LISTXATTR, FUSE_OPENDIR,   FUSE_READDIR,      FUSE_RELEASEDIR,
        FUSE_ACCESS, FUSE_FSYNCDIR,  FUSE_INTERRUPT, FUSE_BATCH_FORGET, FUSE_READDIRPLUS,
        FUSE_LSEEK,
    };

    return opcode <= FUSE_LSEEK && memchr(SUCH, (int)opcode, sizeof SUCH) != NULL;
}

bool ahead_note_request(struct ahead *ahead, const unsigned char *request, size_t length)
{
    struct fuse_in_header header;

    memcpy(&header, request, sizeof header);
    if (header.opcode == FUSE_LOOKUP)
        absence_ask(&ahead->absence, request, length);
    if (changes_nothing(header.opcode))
        return true;
    absence_forget(&ahead->absence);
    drop_all(ahead);
    return flight_add(&ahead->changes, header.unique);
}

bool ahead_say_used(struct ahead *ahead, const unsigned char *request,
                    unsigned char said[AHEAD_USED_BYTES])
{
    struct fuse_in_header header;

    memcpy(&header, request, sizeof header);
    if (ahead->used == 0 || (header.opcode != FUSE_READ && !is_listing(header.opcode)))
        return false;
    header = (struct fuse_in_header){.len = AHEAD_USED_BYTES, .opcode = AHEAD_CODE};
    memset(said, 0, AHEAD_USED_BYTES);
    memcpy(said, &header, sizeof header);
    memcpy(said + sizeof header, &ahead->used, sizeof ahead->used);
    ahead->used = 0;
    return true;
}

void ahead_note_helper(struct ahead *ahead, const unsigned char *message)
{
    struct fuse_in_header header;

    memcpy(&header, message, sizeof header);
    ahead->absence.helper = header.pid;
    absence_forget(&ahead->absence);
}

void ahead_note_reply(struct ahead *ahead, const unsigned char *message, size_t length)
{
    struct fuse_out_header header;

    memcpy(&header, message, sizeof header);
    (void)flight_remove(&ahead->changes, header.unique);
    absence_note_reply(&ahead->absence, message, length);
}

void ahead_note_notification(struct ahead *ahead, const unsigned char *message, size_t length)
{
    uint64_t nodes[2];

    absence_forget(&ahead->absence);
    for (size_t i = 0; i < 2; i++) {
        size_t at = sizeof(struct fuse_out_header) + i * sizeof nodes[i];
        if (length < at + sizeof nodes[i])
            return;
        memcpy(&nodes[i], message + at, sizeof nodes[i]);
        drop_node(ahead, nodes[i], 0);
    }
}

void ahead_clear(struct ahead *ahead)
{
    drop_all(ahead);
    absence_forget(&ahead->absence);
    while (flight_take(&ahead->changes) != 0)
        ;
    ahead->used = 0;
}
