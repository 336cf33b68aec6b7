#include "rootfs.h"

#include "io.h"
#include "mount_api.h"
#include "mountpoint.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_PARAMETERS = 3 };

/* A kernel file system: its type (also shown as its source), mount point, attributes of
 * fsmount(2) and parameters of fsconfig(2). */
struct file_system {
    const char *type;
    const char *target;
    unsigned attributes;
    bool optional; /* not an error if this kernel lacks it */
    struct {
        const char *key;
        const char *value;
    } parameters[MAX_PARAMETERS];
};

#define NO_PROGRAMS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

/* In mounting order. gid 5 is "tty" in every distribution; mode 620 and ptmxmode as devpts(5)
 * and Documentation/filesystems/devpts.rst have it. */
static const struct file_system FILE_SYSTEMS[] = {
    {"proc", "/proc", NO_PROGRAMS, false, {{"hidepid", "0"}}},
    {"sysfs", "/sys", NO_PROGRAMS, false, {{NULL, NULL}}},
    {"cgroup2", "/sys/fs/cgroup", NO_PROGRAMS, false, {{NULL, NULL}}},
    {"devtmpfs", "/dev", MOUNT_ATTR_NOSUID, false, {{NULL, NULL}}},
    {"devpts",
     "/dev/pts",
     MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
     false,
     {{"gid", "5"}, {"mode", "620"}, {"ptmxmode", "666"}}},
    {"tmpfs", "/dev/shm", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, false, {{"mode", "1777"}}},
    {"mqueue", "/dev/mqueue", NO_PROGRAMS, false, {{NULL, NULL}}},
    {"tmpfs", "/run", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, false, {{"mode", "755"}}},
    {"binfmt_misc", "/proc/sys/fs/binfmt_misc", NO_PROGRAMS, true, {{NULL, NULL}}},
};

static const struct {
    const char *name;
    const char *target;
} DEVICE_LINKS[] = {
    {"fd", "/proc/self/fd"},
    {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"},
};

/* A mount of the file system that is attached nowhere yet, or -1. */
static int make_mount(const struct file_system *fs)
{
    int mounted = -1;
    int context = sys_fsopen(fs->type, FSOPEN_CLOEXEC);

    if (context < 0)
        return -1;
    int failed = sys_fsconfig(context, FSCONFIG_SET_STRING, "source", fs->type, 0);
    for (size_t i = 0; i < MAX_PARAMETERS && fs->parameters[i].key != NULL; i++)
        failed |= sys_fsconfig(context, FSCONFIG_SET_STRING, fs->parameters[i].key,
                               fs->parameters[i].value, 0);
    if (!failed && sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        mounted = sys_fsmount(context, FSMOUNT_CLOEXEC, fs->attributes);
    io_close(&context);
    return mounted;
}

static int attach(int mounted, int target)
{
    return sys_move_mount(mounted, "", target, "",
                          MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static int mount_file_system(int root, const struct file_system *fs)
{
    char path[64];
    int mounted = make_mount(fs);

    if (mounted < 0)
        return -1;
    snprintf(path, sizeof path, "%s", fs->target);
    int target = mountpoint_open(root, path, true);
    if (target < 0 || attach(mounted, target) < 0)
        io_close(&mounted);
    io_close(&target);
    return mounted;
}

static bool mount_all(struct rootfs *rootfs, struct failure *failure)
{
    for (size_t i = 0; i < sizeof FILE_SYSTEMS / sizeof *FILE_SYSTEMS; i++) {
        const struct file_system *fs = &FILE_SYSTEMS[i];
        int mounted = mount_file_system(rootfs->root, fs);
        bool absent = mounted < 0 && (errno == ENODEV || errno == ENOENT);
        if (mounted < 0 && !(fs->optional && absent))
            return failure_set(failure, STAGE_MOUNT, fs->target);
        if (i == 0)
            rootfs->proc = mounted;
        else
            io_close(&mounted);
    }
    return true;
}

/* devtmpfs is one file system for the whole kernel, so its ptmx node cannot be replaced by a link
 * for one distribution. The node of our devpts is mounted over it, in this namespace only. */
static bool bind_ptmx(struct rootfs *rootfs, struct failure *failure)
{
    char source_path[] = "/dev/pts/ptmx";
    char target_path[] = "/dev/ptmx";
    int tree = -1;
    int target = mountpoint_open(rootfs->root, target_path, false);

    rootfs->ptmx = mountpoint_open(rootfs->root, source_path, false);
    if (target >= 0 && rootfs->ptmx >= 0)
        tree = sys_open_tree(rootfs->ptmx, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    bool done = tree >= 0 && attach(tree, target) == 0;
    io_close(&target);
    io_close(&tree);
    return done || failure_set(failure, STAGE_MOUNT, target_path);
}

static bool link_devices(int root, struct failure *failure)
{
    char path[] = "/dev";
    int dev = mountpoint_open(root, path, true);
    bool done = dev >= 0;

    for (size_t i = 0; done && i < sizeof DEVICE_LINKS / sizeof *DEVICE_LINKS; i++)
        done = symlinkat(DEVICE_LINKS[i].target, dev, DEVICE_LINKS[i].name) == 0 || errno == EEXIST;
    io_close(&dev);
    return done || failure_set(failure, STAGE_MOUNT, path);
}

/* Copies of the binds' sources, made while the utility VM's tree is still in sight. */
static bool open_binds(const struct options *options, int trees[], struct failure *failure)
{
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};

    for (size_t i = 0; i < options->bind_count; i++) {
        const struct bind *bind = &options->binds[i];
        trees[i] = sys_open_tree(AT_FDCWD, bind->source,
                                 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
        if (trees[i] < 0)
            return failure_set(failure, STAGE_BIND, bind->source);
        if (bind->read_only &&
            sys_mount_setattr(trees[i], "", AT_EMPTY_PATH | AT_RECURSIVE, &read_only) < 0)
            return failure_set(failure, STAGE_BIND, bind->source);
    }
    return true;
}

static bool attach_binds(int root, const struct options *options, int trees[],
                         struct failure *failure)
{
    for (size_t i = 0; i < options->bind_count; i++) {
        const struct bind *bind = &options->binds[i];
        struct stat source;
        bool done = fstat(trees[i], &source) == 0;
        int target = done ? mountpoint_open(root, bind->target, S_ISDIR(source.st_mode)) : -1;

        done = target >= 0 && attach(trees[i], target) == 0;
        io_close(&target);
        io_close(&trees[i]);
        if (!done)
            return failure_set(failure, STAGE_BIND, bind->target);
    }
    return true;
}

/* Detach everything from the utility VM's mounts, and mount the root directory on itself:
 * pivot_root(2) wants a mount point. */
static bool make_root(const char *path, int *root, struct failure *failure)
{
    struct mount_attr private = {.propagation = MS_PRIVATE};

    if (sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &private) < 0)
        return failure_set(failure, STAGE_ROOT, "/");
    *root = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (*root < 0 || sys_move_mount(*root, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return failure_set(failure, STAGE_ROOT, path);
    return true;
}

/* pivot_root(".", ".") stacks the old root on the new one, from where it is detached without a
 * directory for it in the distribution (pivot_root(2), NOTES). */
static bool pivot(int root, const char *path, struct failure *failure)
{
    if (fchdir(root) < 0 || sys_pivot_root(".", ".") < 0 || sys_umount2(".", UMOUNT_DETACH) < 0 ||
        chdir("/") < 0)
        return failure_set(failure, STAGE_PIVOT, path);
    return true;
}

bool rootfs_enter(struct options *options, struct rootfs *rootfs, struct failure *failure)
{
    int trees[OPTIONS_MAX_BINDS];

    return make_root(options->root, &rootfs->root, failure) &&
           open_binds(options, trees, failure) && mount_all(rootfs, failure) &&
           bind_ptmx(rootfs, failure) && link_devices(rootfs->root, failure) &&
           attach_binds(rootfs->root, options, trees, failure) &&
           pivot(rootfs->root, options->root, failure);
}
