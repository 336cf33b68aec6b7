/* The name that was last looked up and was not there.
 *
 * open(2) with O_CREAT and O_EXCL, mkdir(2) and their like have the kernel look a name up once more
 * that it knows to be absent (fuse_dentry_revalidate). Who unpacks an archive looks first whether
 * there is something in the way, so for each file the server would be asked twice within moments.
 * The second answer is the first one again: for the same process, for as long as the kernel itself
 * might go by it but for a second at most, and until something passes that could have changed it. */
#ifndef ISTHMUS_PUMP_ABSENCE_H
#define ISTHMUS_PUMP_ABSENCE_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ABSENCE_NAME_BYTES = 256, /* NAME_MAX, and the NUL */
    ABSENCE_MS = 1000,        /* for which an answer holds, if the kernel may keep it at all */
};

/* All zeroes: nothing is known. */
struct absence {
    uint64_t asked;   /* number of the LOOKUP that is under way; 0: none, or of no use any more */
    int64_t until_ms; /* up to when its answer holds; 0: there is none */
    uint64_t parent;
    uint32_t pid;
    uint32_t helper; /* whose requests are answered like nobody else's; 0: nobody's */
    size_t length;   /* of the name, with its NUL */
    unsigned char name[ABSENCE_NAME_BYTES];
    struct fuse_entry_out entry;
};

/* Whether a whole request of the kernel's asks for the name again. If so the kernel is answered. */
bool absence_answer(struct absence *absence, int device, const unsigned char *request,
                    size_t length);

/* A LOOKUP goes to the server: from now on it is about this name. */
void absence_ask(struct absence *absence, const unsigned char *request, size_t length);

/* The server has answered a request. */
void absence_note_reply(struct absence *absence, const unsigned char *message, size_t length);

/* Something passes that may make it untrue. */
void absence_forget(struct absence *absence);

#endif
