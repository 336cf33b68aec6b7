#include "children.h"

#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for /proc/PID/stat up to its 8th field; the name before it has at most 64 bytes. */
enum { STAT_BYTES = 256 };

void children_add(struct children *children, pid_t pid, uint64_t connection)
{
    children->slots[children->count++] = (struct child){.pid = pid, .connection = connection};
}

struct child *children_find(struct children *children, pid_t pid)
{
    for (size_t i = 0; i < children->count; i++)
        if (children->slots[i].pid == pid)
            return &children->slots[i];
    return NULL;
}

void children_remove(struct children *children, struct child *child)
{
    *child = children->slots[--children->count];
}

/* Field 8, tpgid, of /proc/PID/stat (proc(5)): -1 or 0 without a terminal. The name in field 2 may
 * hold anything, a ')' too, so fields are counted from the last one. */
static pid_t parse_foreground_group(const char *stat)
{
    enum { FIELDS_AFTER_NAME = 6 };
    const char *at = strrchr(stat, ')');

    for (int i = 0; at != NULL && i < FIELDS_AFTER_NAME; i++)
        at = strchr(at + 1, ' ');
    return at != NULL ? (pid_t)strtol(at, NULL, 10) : 0;
}

/* tcgetpgrp(3) answers only to members of the terminal's own session, which pid 1 is not. */
static pid_t foreground_group(pid_t pid, int proc)
{
    char path[32];
    char stat[STAT_BYTES];

    snprintf(path, sizeof path, "%d/stat", (int)pid);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : io_read_full(fd, stat, sizeof stat - 1);
    io_close(&fd);
    if (got < 0)
        return 0;
    stat[got] = '\0';
    return parse_foreground_group(stat);
}

static int signal_group(pid_t pid, int signal)
{
    if (kill(-pid, signal) == 0)
        return 0;
    if (errno == ESRCH && kill(pid, signal) == 0)
        return 0;
    return errno;
}

int children_signal(pid_t pid, int signal, enum kill_target target, int proc)
{
    if (target == KILL_PROCESS)
        return kill(pid, signal) == 0 ? 0 : errno;
    if (target == KILL_FOREGROUND) {
        pid_t group = foreground_group(pid, proc);
        if (group > 1 && kill(-group, signal) == 0)
            return 0;
    }
    return signal_group(pid, signal);
}

void children_hang_up(pid_t pid)
{
    signal_group(pid, SIGHUP);
    signal_group(pid, SIGCONT);
}
