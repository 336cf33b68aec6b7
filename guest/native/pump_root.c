#include "pump_root.h"

#include "io.h"
#include "mount_api.h"

#include <errno.h>
#include <linux/stat.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

/* Of linux/fcntl.h, which clashes with the C library's. */
#ifndef AT_STATX_DONT_SYNC
#define AT_STATX_DONT_SYNC 0x4000
#endif

enum { OCTAL_DIGITS = 3 };

static char octal_value(const char *digits)
{
    int value = 0;

    for (int i = 0; i < OCTAL_DIGITS; i++)
        value = value << 3 | (digits[i] - '0');
    return (char)value;
}

/* The kernel writes blanks and the like as \ooo (proc_pid_mountinfo(5)). */
static void unescape(char *text)
{
    char *to = text;

    for (char *at = text; *at != '\0'; to++) {
        bool is_octal = at[0] == '\\';
        for (int i = 1; i <= OCTAL_DIGITS && is_octal; i++)
            is_octal = at[i] >= '0' && at[i] <= '7';
        *to = is_octal ? octal_value(at + 1) : *at;
        at += is_octal ? OCTAL_DIGITS + 1 : 1;
    }
    *to = '\0';
}

bool root_parse_line(char *line, dev_t device, char **point)
{
    char *rest = line;
    char number[32];
    char *fields[5];

    for (int i = 0; i < 5; i++)
        if ((fields[i] = strsep(&rest, " ")) == NULL)
            return false;
    snprintf(number, sizeof number, "%u:%u", major(device), minor(device));
    if (strcmp(fields[2], number) != 0 || strcmp(fields[3], "/") != 0 || fields[4][0] != '/')
        return false;
    unescape(fields[4]);
    *point = fields[4];
    return true;
}

bool root_read_device(int fd, dev_t *device)
{
    struct statx status;

    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0U, &status) < 0)
        return false;
    *device = makedev(status.stx_dev_major, status.stx_dev_minor);
    return true;
}

static char *find_point(pid_t pid, dev_t device)
{
    char path[64];
    char *line = NULL;
    size_t room = 0;
    char *found = NULL;

    snprintf(path, sizeof path, "/proc/%d/mountinfo", (int)pid);
    FILE *mounts = fopen(path, "re");
    if (mounts == NULL)
        return NULL;
    errno = ENOENT;
    for (char *point; found == NULL && getline(&line, &room, mounts) > 0;)
        if (root_parse_line(line, device, &point))
            found = strdup(point);
    int error = errno;
    free(line);
    fclose(mounts);
    errno = error;
    return found;
}

/* In the namespace of `pid`, then back. Something else may have been mounted over it meanwhile, or
 * the number of the process may be another's: the device tells. */
static int clone_there(int there, int here, const char *point, dev_t device)
{
    dev_t found;

    if (setns(there, CLONE_NEWNS) < 0)
        return -1;
    int tree = sys_open_tree(AT_FDCWD, point, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree >= 0 && (!root_read_device(tree, &found) || found != device)) {
        errno = ENOENT;
        io_close(&tree);
    }
    int error = errno;
    if (setns(here, CLONE_NEWNS) < 0)
        abort(); /* in a distribution's namespace this process has no business */
    errno = error;
    return tree;
}

int root_open(pid_t pid, dev_t device)
{
    char path[64];
    int tree = -1;
    char *point = find_point(pid, device);

    if (point == NULL)
        return -1;
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    int here = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (there >= 0 && here >= 0)
        tree = clone_there(there, here, point, device);
    io_close(&here);
    io_close(&there);
    int error = errno;
    free(point);
    errno = error;
    return tree;
}
