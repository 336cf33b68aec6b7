/* The replayer: does on a mounted drive once more what the host has done to its files, so that
 * inotify(7) tells those who watch there. The server answers from what is on the disk already.
 *
 * A batch (interop/drives/replay.py) is a message with a struct fuse_out_header of code
 * PUMP_HELPER_CODE, then: u32 number, u32 count, and `count` instructions, each
 *   u32 length of it all, u32 what (REPLAY_*), u32 S_IFMT of the file, u32 count of its strings,
 *   u64 inode of the directory, u64 inode of the other directory or 0, u64 inode of the file or 0,
 *   the directory's path from the root ("." is the root), a name in it, and with REPLAY_MOVED those
 *   of the target, each NUL-terminated.
 *
 * Before each instruction the server is told, in a struct fuse_in_header with that opcode whose pid
 * is this thread's, then: u32 number of the batch, u32 position in it, u32 0, u32 0. At the end
 * the position is `count`, and the first 0 is how many watches there were on the drive. */
#ifndef ISTHMUS_REPLAY_H
#define ISTHMUS_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What is to be done, of which the first three and REPLAY_CREATED may come together
 * (interop/drives/changes.py). */
enum {
    REPLAY_MODIFIED = 1 << 0,
    REPLAY_ATTRIBUTES = 1 << 1,
    REPLAY_WRITTEN = 1 << 2,
    REPLAY_CREATED = 1 << 5,
    REPLAY_REMOVED = 1 << 6,
    REPLAY_MOVED = 1 << 8,
};

/* Where it happens, and how the server is told. */
struct replay_host {
    dev_t device; /* of the drive's file system */
    void *context;
    int (*open_root)(void *context); /* a descriptor of the drive's root, to be closed; or -1 */
    bool (*send)(void *context, const void *message, size_t length); /* false: all is over */
};

/* Replay one batch. A message that is none is ignored; what the kernel refuses is left out. */
void replay_batch(const struct replay_host *host, const unsigned char *message, size_t length);

#endif
