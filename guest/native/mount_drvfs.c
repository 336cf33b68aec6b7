/* mount.drvfs: what mount(8) runs for `mount -t drvfs C: /mnt/c`. The agent makes the mount
 * (docs/protocol-helper.md, section 5); it is attached here, as the caller sees the files. */
#include "helper.h"
#include "io.h"
#include "mount_api.h"
#include "mount_drvfs_options.h"
#include "mount_drvfs_remount.h"
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* As mount(8) has them. */
enum { EXIT_OK = 0, EXIT_USAGE = 1, EXIT_MOUNT = 32 };

static void complain(const char *what)
{
    report("%s: %s", what, strerror(errno));
}

/* The mount that the agent makes, or -1, having said why. */
static int ask(const struct mount_options *options)
{
    static struct helper_request request;
    static struct helper_message message;
    struct helper_refusal refusal;

    helper_begin(&request, HELPER_OP_MOUNT);
    helper_put_string(&request, options->source);
    helper_put_string(&request, options->directory);
    helper_put_string(&request, options->options);
    int connection = helper_connect();
    if (connection < 0 || helper_send(connection, &request) < 0 ||
        helper_receive(connection, &message) <= 0) {
        report("%s: the agent of the virtual machine does not answer", options->source);
        return -1;
    }
    if (helper_read_refusal(&message, &refusal)) {
        report("%s", refusal.text);
        if (refusal.hint[0] != '\0')
            report("%s", refusal.hint);
        return -1;
    }
    if (message.op != (HELPER_OP_MOUNT | HELPER_REPLY_BIT) || message.fd_count != 1) {
        report("%s: the agent of the virtual machine answers something else", options->source);
        return -1;
    }
    return message.fds[0];
}

int main(int argc, char **argv)
{
    struct mount_options options;

    report_set_program("mount.drvfs");
    if (!mount_options_parse(argc, argv, &options))
        return EXIT_USAGE;
    if (mount_options_have(&options, "remount")) {
        if (!options.is_fake && remount(options.directory, options.options) < 0) {
            complain(options.directory);
            return EXIT_MOUNT;
        }
        return EXIT_OK;
    }
    int directory = open(options.directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        complain(options.directory);
        return EXIT_MOUNT;
    }
    if (options.is_fake)
        return EXIT_OK;
    int mounted = ask(&options);
    if (mounted < 0)
        return EXIT_MOUNT;
    if (sys_move_mount(mounted, "", directory, "",
                       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
        complain(options.directory);
        return EXIT_MOUNT;
    }
    if (options.is_verbose)
        printf("%s mounted on %s.\n", options.source, options.directory);
    return EXIT_OK;
}
