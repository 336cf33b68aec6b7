/* distro-init: the pid 1 of a distribution, which starts processes on the agent's behalf.
 *
 * Forking the agent, a Python process, costs tens of milliseconds under software emulation; this
 * program is small enough to fork in well under one. docs/protocol-init.md is its specification. */
#include "failure.h"
#include "io.h"
#include "launch.h"
#include "options.h"
#include "report.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

static void tell_ready(int ready_fd, const char *line)
{
    /* An agent that died meanwhile finds pid 1 again by its socket. */
    signal(SIGPIPE, SIG_IGN);
    if (ready_fd >= 0)
        (void)io_write_full(ready_fd, line, strlen(line));
}

static int fail(int ready_fd, const struct failure *failure)
{
    char line[FAILURE_SUBJECT_BYTES + 64];

    report("%s: %s: %s", failure_stage_name(failure->stage), failure->subject,
           strerror(failure->error));
    snprintf(line, sizeof line, "failed %s %d %s\n", failure_stage_name(failure->stage),
             failure->error, failure->subject);
    tell_ready(ready_fd, line);
    return failure->stage == STAGE_OPTIONS ? EXIT_USAGE : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct options options;
    struct failure failure;
    char line[32];
    pid_t pid;

    report_set_program("distro-init");
    if (!options_parse(argc, argv, &options, &failure) || !launch_clean_up(&options, &failure) ||
        !launch_pid1(&options, &pid, &failure))
        return fail(options.ready_fd, &failure);
    snprintf(line, sizeof line, "%d\n", (int)pid);
    tell_ready(options.ready_fd, line);
    return EXIT_SUCCESS;
}
