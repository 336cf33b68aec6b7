#include "replay_watchers.h"

#include "io.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
    MOST_WATCHED = 1 << 16, /* beyond it, asking for each costs more than it spares */
    FIRST_ROOM = 64,
    KERNEL_MINOR_BITS = 20, /* MINORBITS of linux/kdev_t.h: fdinfo has numbers as the kernel does */
};

static void add(struct watchers *watchers, uint64_t inode)
{
    if (watchers->count == watchers->room) {
        size_t room = watchers->room == 0 ? FIRST_ROOM : watchers->room * 2;
        uint64_t *grown = room > MOST_WATCHED
                              ? NULL
                              : realloc(watchers->inodes, room * sizeof *watchers->inodes);
        if (grown == NULL) {
            watchers->all = true;
            return;
        }
        watchers->inodes = grown;
        watchers->room = room;
    }
    watchers->inodes[watchers->count++] = inode;
}

/* The hexadecimal number behind `key` in `line`. */
static bool find_number(const char *line, const char *key, uint64_t *number)
{
    const char *found = strstr(line, key);
    char *end;

    if (found == NULL)
        return false;
    found += strlen(key);
    *number = strtoull(found, &end, 16);
    return end != found;
}

void watchers_read_line(struct watchers *watchers, const char *line, dev_t device)
{
    uint64_t inode, number;
    bool is_inotify = strncmp(line, "inotify ", strlen("inotify ")) == 0;
    bool is_fanotify = strncmp(line, "fanotify ", strlen("fanotify ")) == 0;

    if (!is_inotify && !is_fanotify)
        return;
    /* A mount that is watched names no file system: it may be this one. */
    if (strncmp(line, "fanotify mnt_id:", strlen("fanotify mnt_id:")) == 0) {
        watchers->all = true;
        return;
    }
    if (!find_number(line, " sdev:", &number) ||
        number != ((uint64_t)major(device) << KERNEL_MINOR_BITS | minor(device)))
        return;
    if (find_number(line, " ino:", &inode))
        add(watchers, inode);
    else
        watchers->all = true;
}

static void read_info(struct watchers *watchers, int process, const char *fd, dev_t device)
{
    char path[sizeof "fdinfo/" + 255];
    char *line = NULL;
    size_t room = 0;

    snprintf(path, sizeof path, "fdinfo/%s", fd);
    int info = openat(process, path, O_RDONLY | O_CLOEXEC);
    FILE *lines = info < 0 ? NULL : fdopen(info, "r");
    if (lines == NULL) {
        io_close(&info);
        return;
    }
    while (getline(&line, &room, lines) > 0)
        watchers_read_line(watchers, line, device);
    free(line);
    fclose(lines);
}

static bool is_watching(int fds, const char *fd)
{
    char target[32];
    ssize_t length = readlinkat(fds, fd, target, sizeof target - 1);

    if (length < 0)
        return false;
    target[length] = '\0';
    return strcmp(target, "anon_inode:inotify") == 0 ||
           strcmp(target, "anon_inode:[fanotify]") == 0;
}

static void read_process(struct watchers *watchers, int process, dev_t device)
{
    int fds = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fds < 0 ? NULL : fdopendir(fds);

    if (entries == NULL) {
        io_close(&fds);
        return;
    }
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;)
        if (isdigit((unsigned char)entry->d_name[0]) && is_watching(fds, entry->d_name))
            read_info(watchers, process, entry->d_name, device);
    closedir(entries);
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return a < b ? -1 : a > b;
}

void watchers_find(struct watchers *watchers, dev_t device)
{
    DIR *processes = opendir("/proc");

    *watchers = (struct watchers){.all = processes == NULL};
    if (processes == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(processes)) != NULL;) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        int process = openat(dirfd(processes), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (process < 0)
            continue;
        read_process(watchers, process, device);
        io_close(&process);
    }
    closedir(processes);
    if (watchers->count > 0)
        qsort(watchers->inodes, watchers->count, sizeof *watchers->inodes, compare);
}

bool watchers_has(const struct watchers *watchers, uint64_t inode)
{
    if (watchers->all)
        return true;
    return inode != 0 && watchers->count > 0 &&
           bsearch(&inode, watchers->inodes, watchers->count, sizeof inode, compare) != NULL;
}

void watchers_free(struct watchers *watchers)
{
    free(watchers->inodes);
    *watchers = (struct watchers){.all = false};
}
