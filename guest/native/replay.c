#include "replay.h"

#include "bytes.h"
#include "io.h"
#include "pump_helper.h"
#include "replay_watchers.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    BATCH_BYTES = 8,
    INSTRUCTION_BYTES = 40,
    NAMES = 2, /* strings of an instruction: a directory and a name in it */
    MOST_STRINGS = 2 * NAMES,
};

struct instruction {
    uint32_t what;
    mode_t kind;
    uint64_t directory;
    uint64_t target_directory;
    uint64_t file;
    const char *strings[MOST_STRINGS];
};

struct batch {
    const struct replay_host *host;
    uint32_t number;
    uint32_t count;
    struct watchers watchers;
    int root; /* -1 until it is needed */
    bool is_over;
};

static uint64_t get_u64(const unsigned char *from)
{
    return bytes_get_u32(from) | (uint64_t)bytes_get_u32(from + 4) << 32;
}

/* Read the instruction at `from`. Returns its length, or 0 if it is none. */
static size_t decode(const unsigned char *from, size_t left, struct instruction *instruction)
{
    if (left < INSTRUCTION_BYTES)
        return 0;
    size_t length = bytes_get_u32(from);
    uint32_t strings = bytes_get_u32(from + 12);
    if (length < INSTRUCTION_BYTES || length > left)
        return 0;
    *instruction = (struct instruction){
        .what = bytes_get_u32(from + 4),
        .kind = bytes_get_u32(from + 8) & S_IFMT,
        .directory = get_u64(from + 16),
        .target_directory = get_u64(from + 24),
        .file = get_u64(from + 32),
    };
    if (strings != (instruction->what & REPLAY_MOVED ? MOST_STRINGS : NAMES))
        return 0;
    const char *at = (const char *)from + INSTRUCTION_BYTES;
    const char *end = (const char *)from + length;
    for (uint32_t i = 0; i < strings; i++) {
        const char *nul = memchr(at, '\0', (size_t)(end - at));
        if (nul == NULL)
            return 0;
        instruction->strings[i] = at;
        at = nul + 1;
    }
    return at == end ? length : 0;
}

static void say(struct batch *batch, uint32_t position, uint32_t watchers)
{
    unsigned char message[sizeof(struct fuse_in_header) + 16] = {0};
    struct fuse_in_header header = {
        .len = sizeof message,
        .opcode = PUMP_HELPER_CODE,
        .pid = (uint32_t)syscall(SYS_gettid),
    };

    memcpy(message, &header, sizeof header);
    bytes_put_u32(message + sizeof header, batch->number);
    bytes_put_u32(message + sizeof header + 4, position);
    bytes_put_u32(message + sizeof header + 8, watchers);
    if (!batch->host->send(batch->host->context, message, sizeof message))
        batch->is_over = true;
}

/* A directory of the drive. No link and no mount leads out of it. */
static int open_directory(int root, const char *path)
{
    struct open_how how = {
        .flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
    };

    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static void create(int directory, const char *name, mode_t kind)
{
    if (kind == S_IFDIR)
        (void)mkdirat(directory, name, S_IRWXU);
    else if (kind == S_IFLNK)
        (void)!symlinkat(".", directory, name);
    else
        (void)mknodat(directory, name, kind | S_IRUSR | S_IWUSR, 0);
}

static void touch(int directory, const char *name, long atime)
{
    const struct timespec times[2] = {{.tv_nsec = atime}, {.tv_nsec = UTIME_NOW}};

    (void)utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW);
}

static void change(const struct instruction *instruction, int directory)
{
    const char *name = instruction->strings[1];

    if (instruction->what & REPLAY_CREATED)
        create(directory, name, instruction->kind);
    if (instruction->what & REPLAY_REMOVED)
        (void)unlinkat(directory, name, instruction->kind == S_IFDIR ? AT_REMOVEDIR : 0);
    /* notify_change() makes IN_MODIFY of a new time of modification alone, IN_ATTRIB of both. */
    if (instruction->what & REPLAY_MODIFIED)
        touch(directory, name, UTIME_OMIT);
    if (instruction->what & REPLAY_ATTRIBUTES)
        touch(directory, name, UTIME_NOW);
    if (instruction->what & REPLAY_WRITTEN && instruction->kind == S_IFREG) {
        int fd = openat(directory, name,
                        O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        io_close(&fd);
    }
}

static void perform(struct batch *batch, const struct instruction *instruction)
{
    if (batch->root < 0)
        batch->root = batch->host->open_root(batch->host->context);
    if (batch->root < 0)
        return;
    int directory = open_directory(batch->root, instruction->strings[0]);
    if (directory < 0)
        return;
    if (instruction->what & REPLAY_MOVED) {
        int target = open_directory(batch->root, instruction->strings[NAMES]);
        if (target >= 0)
            (void)renameat(directory, instruction->strings[1], target,
                           instruction->strings[NAMES + 1]);
        io_close(&target);
    } else {
        change(instruction, directory);
    }
    io_close(&directory);
}

static bool is_wanted(const struct batch *batch, const struct instruction *instruction)
{
    return watchers_has(&batch->watchers, instruction->directory) ||
           watchers_has(&batch->watchers, instruction->target_directory) ||
           watchers_has(&batch->watchers, instruction->file);
}

void replay_batch(const struct replay_host *host, const unsigned char *message, size_t length)
{
    const size_t start = sizeof(struct fuse_out_header) + BATCH_BYTES;
    struct batch batch = {.host = host, .root = -1};
    struct instruction instruction;

    if (length < start)
        return;
    batch.number = bytes_get_u32(message + start - BATCH_BYTES);
    batch.count = bytes_get_u32(message + start - BATCH_BYTES + 4);
    watchers_find(&batch.watchers, host->device);
    size_t at = start;
    for (uint32_t position = 0; position < batch.count && !batch.is_over; position++) {
        size_t taken = decode(message + at, length - at, &instruction);
        if (taken == 0)
            break;
        at += taken;
        if (is_wanted(&batch, &instruction)) {
            say(&batch, position, 0);
            perform(&batch, &instruction);
        }
    }
    io_close(&batch.root);
    uint32_t watchers = batch.watchers.all ? UINT32_MAX : (uint32_t)batch.watchers.count;
    watchers_free(&batch.watchers);
    if (!batch.is_over)
        say(&batch, batch.count, watchers);
}
