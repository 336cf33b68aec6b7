/* Who watches a file system: the inodes that inotify(7) and fanotify(7) watch, of every process. */
#ifndef ISTHMUS_REPLAY_WATCHERS_H
#define ISTHMUS_REPLAY_WATCHERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct watchers {
    uint64_t *inodes; /* sorted once found */
    size_t count;
    size_t room;
    bool all; /* the whole file system is watched, or more of it than is counted here */
};

/* Find the watches on the file system `device` in /proc, of every process that it shows. What cannot
 * be read is left out; where memory is short everything counts as watched. */
void watchers_find(struct watchers *watchers, dev_t device);

/* Whether somebody watches `inode`; nobody does 0. */
bool watchers_has(const struct watchers *watchers, uint64_t inode);

/* Take in one line of an inotify's or fanotify's /proc/PID/fdinfo (proc_pid_fdinfo(5)). */
void watchers_read_line(struct watchers *watchers, const char *line, dev_t device);

/* Give its memory back. */
void watchers_free(struct watchers *watchers);

#endif
