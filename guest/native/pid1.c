#include "pid1.h"

#include "io.h"
#include "report.h"
#include "rootfs.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    /* As WSL's init sets them. */
    NOFILE_SOFT = 10240,
    NOFILE_HARD = 1048576,
};

static const char OOM_SCORE_PROTECTED[] = "-1000"; /* OOM_SCORE_ADJ_MIN, linux/oom.h */

_Noreturn static void give_up(int report_fd, const struct failure *failure)
{
    /* If nobody reads it, the other side is gone and so is everyone to tell. */
    (void)io_write_full(report_fd, failure, sizeof *failure);
    _exit(EXIT_FAILURE);
}

/* Neither is worth refusing to start for: they need CAP_SYS_RESOURCE, which the agent has in the
 * utility VM but a container that runs the tests may not. */
static void set_limits(const struct rootfs *rootfs)
{
    struct rlimit now;
    struct rlimit wanted = {.rlim_cur = NOFILE_SOFT, .rlim_max = NOFILE_HARD};

    if (setrlimit(RLIMIT_NOFILE, &wanted) < 0 && getrlimit(RLIMIT_NOFILE, &now) == 0) {
        report("hard RLIMIT_NOFILE stays %llu: %s", (unsigned long long)now.rlim_max,
               strerror(errno));
        wanted.rlim_max = now.rlim_max;
        if (wanted.rlim_cur > now.rlim_max)
            wanted.rlim_cur = now.rlim_max;
        setrlimit(RLIMIT_NOFILE, &wanted);
    }
    int score = openat(rootfs->proc, "self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score < 0 || io_write_full(score, OOM_SCORE_PROTECTED, sizeof OOM_SCORE_PROTECTED - 1) < 0)
        report("pid 1 is not protected from the OOM killer: %s", strerror(errno));
    io_close(&score);
}

/* Pid 1 installs no handlers and ignores nothing: the kernel drops every signal to a namespace's
 * pid 1 whose action is the default, SIGKILL and SIGSTOP from outside excepted
 * (pid_namespaces(7)). So its children inherit default actions and need not reset 64 of them. */
static int open_child_signal(void)
{
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_SETMASK, &child, NULL);
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

_Noreturn void pid1_run(struct options *options, int report_fd)
{
    struct failure failure;
    struct rootfs rootfs;

    memset(&failure, 0, sizeof failure);
    umask(022);
    setsid();
    if (!rootfs_enter(options, &rootfs, &failure))
        give_up(report_fd, &failure);
    if (sethostname(options->hostname, strlen(options->hostname)) < 0) {
        failure_set(&failure, STAGE_HOSTNAME, options->hostname);
        give_up(report_fd, &failure);
    }
    set_limits(&rootfs);
    int child_signal = open_child_signal();
    if (child_signal < 0) {
        failure_set(&failure, STAGE_LISTEN, NULL);
        give_up(report_fd, &failure);
    }
    /* From here on the outer process may end. */
    prctl(PR_SET_PDEATHSIG, 0);
    if (io_write_full(report_fd, &failure, sizeof failure) < 0)
        _exit(EXIT_FAILURE);
    io_close(&report_fd);
    server_run(options, &rootfs, child_signal);
}
