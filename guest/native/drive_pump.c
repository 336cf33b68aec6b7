/* drive-pump: one mounted drive, its file system in the kernel and its server on the host.
 *
 * The agent starts one for each mount. docs/drives.md, section 7, is its specification. */
#include "fdpass.h"
#include "io.h"
#include "pump.h"
#include "pump_helper.h"
#include "pump_mount.h"
#include "pump_notify.h"
#include "pump_options.h"
#include "replay.h"
#include "report.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum {
    EXIT_USAGE = 2,
    PORT_TIMEOUT_MS = 30000, /* to be plugged in, and let go of by the pump before */
};

/* The line, and a descriptor with it unless that is -1; both are given up. */
static void tell(int *ready, const char *line, int *mounted)
{
    if (fdpass_send(*ready, line, strlen(line), mounted, *mounted < 0 ? 0 : 1, 0) < 0)
        report("nobody waits for this mount: %s", strerror(errno));
    io_close(mounted);
    io_close(ready);
}

static int open_root(void *helper)
{
    return pump_helper_open_root(helper);
}

static bool send_message(void *helper, const void *message, size_t length)
{
    return pump_helper_send(helper, message, length);
}

static void replay(struct pump_helper *helper, const unsigned char *message, size_t length)
{
    const struct replay_host host = {
        .device = helper->device,
        .context = helper,
        .open_root = open_root,
        .send = send_message,
    };

    replay_batch(&host, message, length);
}

int main(int argc, char **argv)
{
    struct pump_options options;
    static struct pump_helper helper = {.handle = replay};
    struct pump pump = {.helper = -1};
    const char *stage = NULL;
    int mounted;
    char line[128];

    report_set_program("drive-pump");
    signal(SIGPIPE, SIG_IGN);
    if (!pump_options_parse(argc, argv, &options))
        return EXIT_USAGE;
    pump.control = options.control;
    pump.device = pump_mount(&options, &mounted, &pump.number, &stage);
    if (pump.device < 0) {
        snprintf(line, sizeof line, "failed %d %s\n", errno, stage);
        tell(&options.ready, line, &mounted);
        return EXIT_FAILURE;
    }
    tell(&options.ready, "mounted\n", &mounted);
    if (!port_open(&pump.port, options.port, PORT_TIMEOUT_MS)) {
        report("port %s: %s", options.port, strerror(errno));
        return EXIT_FAILURE;
    }
    int error = notify_start(pump.device);
    if (error != 0) {
        report("no thread: %s", strerror(error));
        return EXIT_FAILURE;
    }
    helper.init = options.init;
    helper.device = pump.number;
    pump.helper = pump_helper_start(&helper);
    if (pump.helper < 0) {
        report("no thread: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    return pump_run(&pump);
}
