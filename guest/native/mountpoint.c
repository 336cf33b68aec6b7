#include "mountpoint.h"

#include "io.h"
#include "mount_api.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* RESOLVE_BENEATH with a single part and no links allowed cannot leave `parent`; without O_NOFOLLOW
 * a link at the end is ELOOP rather than opened as a link (openat2(2), RESOLVE_NO_SYMLINKS). */
static int open_part(int parent, const char *name, bool directory)
{
    const struct open_how how = {
        .flags = O_PATH | O_CLOEXEC | (directory ? O_DIRECTORY : 0),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return sys_openat2(parent, name, &how);
}

static int make_part(int parent, const char *name, bool directory)
{
    if (directory)
        return mkdirat(parent, name, 0755);
    /* O_EXCL does not follow a link either: a dangling one is EEXIST. */
    int made = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (made < 0)
        return -1;
    io_close(&made);
    return 0;
}

static int open_or_make_part(int parent, const char *name, bool directory)
{
    int part = open_part(parent, name, directory);

    if (part >= 0 || errno != ENOENT)
        return part;
    if (make_part(parent, name, directory) < 0 && errno != EEXIST)
        return -1;
    return open_part(parent, name, directory);
}

static int require_no_directory(int fd)
{
    struct stat status;

    if (fstat(fd, &status) == 0) {
        if (!S_ISDIR(status.st_mode))
            return fd;
        errno = EISDIR;
    }
    io_close(&fd);
    return -1;
}

int mountpoint_open(int root, char *path, bool directory)
{
    char *part = path + strspn(path, "/");
    int parent = open_part(root, ".", true);

    while (parent >= 0 && *part != '\0') {
        size_t length = strcspn(part, "/");
        char *next = part + length + strspn(part + length, "/");
        bool last = *next == '\0';
        char ended = part[length];

        part[length] = '\0';
        int child = open_or_make_part(parent, part, directory || !last);
        part[length] = ended;
        io_close(&parent);
        parent = child;
        part = next;
    }
    if (parent >= 0 && !directory)
        return require_no_directory(parent);
    return parent;
}
