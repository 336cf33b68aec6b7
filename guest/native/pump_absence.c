#include "pump_absence.h"

#include "io.h"

#include <string.h>
#include <sys/uio.h>

/* The name that a LOOKUP is about, which follows its header; NULL if the request is none. */
static const unsigned char *name_of(const unsigned char *request, size_t length,
                                    struct fuse_in_header *header, size_t *name_length)
{
    memcpy(header, request, sizeof *header);
    *name_length = length - sizeof *header;
    if (header->opcode != FUSE_LOOKUP || *name_length == 0 || *name_length > ABSENCE_NAME_BYTES)
        return NULL;
    return request + sizeof *header;
}

void absence_forget(struct absence *absence)
{
    absence->asked = 0;
    absence->until_ms = 0;
}

bool absence_answer(struct absence *absence, int device, const unsigned char *request,
                    size_t length)
{
    struct fuse_in_header header;
    size_t name_length;
    const unsigned char *name = name_of(request, length, &header, &name_length);

    if (absence->until_ms == 0 || name == NULL || header.nodeid != absence->parent ||
        header.pid != absence->pid || name_length != absence->length ||
        memcmp(name, absence->name, name_length) != 0)
        return false;
    if (io_monotonic_ms() >= absence->until_ms) {
        absence_forget(absence);
        return false;
    }
    struct fuse_out_header answer = {
        .len = sizeof answer + sizeof absence->entry,
        .unique = header.unique,
    };
    const struct iovec parts[] = {
        {.iov_base = &answer, .iov_len = sizeof answer},
        {.iov_base = &absence->entry, .iov_len = sizeof absence->entry},
    };
    /* What fails was interrupted, and nobody waits for it. */
    (void)!writev(device, parts, 2);
    return true;
}

void absence_ask(struct absence *absence, const unsigned char *request, size_t length)
{
    struct fuse_in_header header;
    size_t name_length;
    const unsigned char *name = name_of(request, length, &header, &name_length);

    absence_forget(absence);
    if (name == NULL || header.pid == absence->helper)
        return;
    absence->asked = header.unique;
    absence->parent = header.nodeid;
    absence->pid = header.pid;
    absence->length = name_length;
    memcpy(absence->name, name, name_length);
}

void absence_note_reply(struct absence *absence, const unsigned char *message, size_t length)
{
    struct fuse_out_header header;

    memcpy(&header, message, sizeof header);
    if (absence->asked == 0 || header.unique != absence->asked)
        return;
    absence->asked = 0;
    if (header.error != 0 || length != sizeof header + sizeof absence->entry)
        return;
    memcpy(&absence->entry, message + sizeof header, sizeof absence->entry);
    /* A node number would mean that there is something. */
    if (absence->entry.nodeid == 0 && absence->entry.entry_valid > 0)
        absence->until_ms = io_monotonic_ms() + ABSENCE_MS;
}
