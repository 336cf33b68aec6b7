#include "pump_mount.h"

#include "io.h"
#include "mount_api.h"
#include "mountpoint.h"
#include "pump_root.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>

static int set_string(int context, const char *key, const char *value)
{
    return sys_fsconfig(context, FSCONFIG_SET_STRING, key, value, 0);
}

static int set_flag(int context, const char *key)
{
    return sys_fsconfig(context, FSCONFIG_SET_FLAG, key, NULL, 0);
}

/* fuse(4): every user of the distribution may enter (allow_other), and the kernel checks modes and
 * owners as the server shows them (default_permissions). */
static int configure(int context, int device, const struct pump_options *options)
{
    char number[16];

    snprintf(number, sizeof number, "%d", device);
    if (set_string(context, "source", options->source) < 0 ||
        set_string(context, "subtype", "drvfs") < 0 || set_string(context, "fd", number) < 0 ||
        set_string(context, "rootmode", "40000") < 0 || set_string(context, "user_id", "0") < 0 ||
        set_string(context, "group_id", "0") < 0 || set_flag(context, "allow_other") < 0 ||
        set_flag(context, "default_permissions") < 0)
        return -1;
    if (options->read_only && set_flag(context, "ro") < 0)
        return -1;
    return sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

static int attach(int mounted, struct pump_options *options)
{
    if (setns(options->mount_namespace, CLONE_NEWNS) < 0)
        return errno;
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int target = root < 0 ? -1 : mountpoint_open(root, options->target, true);
    if (target < 0 || sys_move_mount(mounted, "", target, "",
                                     MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        return errno;
    return 0;
}

/* A process of its own goes there: the pump stays in the utility VM, whose /sys and /dev it needs,
 * and holds nothing of the distribution's open. */
static int attach_apart(int mounted, struct pump_options *options)
{
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(attach(mounted, options));
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return -1;
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
    return errno == 0 ? 0 : -1;
}

int pump_mount(struct pump_options *options, int *mounted, dev_t *number, const char **stage)
{
    int device = -1;

    *mounted = -1;
    /* First, because where FUSE is a module this loads it, and only then is there a device. */
    *stage = "FUSE";
    int context = sys_fsopen("fuse", FSOPEN_CLOEXEC);
    if (context >= 0)
        device = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device >= 0) {
        *stage = "the file system";
        if (configure(context, device, options) == 0)
            *mounted = sys_fsmount(context, FSMOUNT_CLOEXEC, options->attributes);
    }
    io_close(&context);
    if (*mounted >= 0 && !root_read_device(*mounted, number))
        io_close(mounted);
    if (*mounted >= 0 && options->target != NULL) {
        *stage = options->target;
        if (attach_apart(*mounted, options) < 0)
            io_close(&device);
        io_close(mounted);
    } else if (*mounted < 0) {
        io_close(&device);
    }
    io_close(&options->mount_namespace);
    return device;
}
