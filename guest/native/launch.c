#include "launch.h"

#include "io.h"
#include "pid1.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_TIMEOUT_MS = 30 * 1000 };

enum { KERNEL_SIGNALS = 64, KERNEL_MASK_BYTES = 8 };

static void reset_signals(void)
{
    /* The kernel's own struct (asm-generic/signal.h): handler, flags, restorer, mask. */
    const unsigned long by_default[4] = {0};
    sigset_t none;

    /* An exec has already reset what had a handler; only "ignored" survives it (signal(7)). Not by
       sigaction(3): libc keeps signals 32 to 34 to itself, yet they may have been ignored before. */
    for (int number = 1; number <= KERNEL_SIGNALS; number++)
        syscall(SYS_rt_sigaction, number, by_default, NULL, KERNEL_MASK_BYTES);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool is_listening_socket(int fd)
{
    int domain = 0;
    int type = 0;
    int accepts = 0;
    socklen_t length = sizeof(int);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &length) < 0)
        return false;
    errno = EINVAL;
    return domain == AF_UNIX && type == SOCK_STREAM && accepts == 1;
}

/* Close everything above stderr but the two descriptors, of which either may be -1. */
static int keep_only(int one, int other)
{
    int low = one < other ? one : other;
    int high = one < other ? other : one;
    unsigned from = STDERR_FILENO + 1;

    if (low >= 0) {
        if (io_close_range(from, (unsigned)low - 1) < 0)
            return -1;
        from = (unsigned)low + 1;
    }
    if (high >= 0) {
        if (io_close_range(from, (unsigned)high - 1) < 0)
            return -1;
        from = (unsigned)high + 1;
    }
    return io_close_range(from, UINT_MAX);
}

static bool set_standard_descriptors(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return false;
    if (fcntl(STDERR_FILENO, F_GETFD) < 0 && dup2(null, STDERR_FILENO) < 0)
        return false;
    if (dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return false;
    if (null > STDERR_FILENO)
        io_close(&null);
    return true;
}

bool launch_clean_up(struct options *options, struct failure *failure)
{
    reset_signals();
    if (options->ready_fd >= 0 && io_set_cloexec(options->ready_fd) < 0) {
        options->ready_fd = -1;
        return failure_set(failure, STAGE_OPTIONS, "ready-fd");
    }
    if (!is_listening_socket(options->listen_fd) || io_set_cloexec(options->listen_fd) < 0 ||
        io_set_nonblocking(options->listen_fd) < 0)
        return failure_set(failure, STAGE_OPTIONS, "listen-fd");
    if (!set_standard_descriptors() || keep_only(options->listen_fd, options->ready_fd) < 0)
        return failure_set(failure, STAGE_LISTEN, NULL);
    return true;
}

static bool join_cgroup(const char *directory, struct failure *failure)
{
    char path[PATH_MAX];
    char pid[16];

    if (snprintf(path, sizeof path, "%s/cgroup.procs", directory) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return failure_set(failure, STAGE_CGROUP, directory);
    }
    int length = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    int procs = open(path, O_WRONLY | O_CLOEXEC);
    bool joined = procs >= 0 && io_write_full(procs, pid, (size_t)length) == 0;
    io_close(&procs);
    return joined || failure_set(failure, STAGE_CGROUP, path);
}

/* The report pipe carries one struct failure between two processes of the same binary; error 0
 * means ready. A pipe that ends without one means that pid 1 was killed. */
static bool await_report(int report_fd, struct failure *failure)
{
    struct pollfd readable = {.fd = report_fd, .events = POLLIN};
    int64_t deadline = io_monotonic_ms() + START_TIMEOUT_MS;
    int ready;

    do {
        int64_t left = deadline - io_monotonic_ms();
        ready = poll(&readable, 1, left > 0 ? (int)left : 0);
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) {
        errno = ETIMEDOUT;
        return failure_set(failure, STAGE_TIMEOUT, NULL);
    }
    ssize_t got = ready < 0 ? -1 : io_read_full(report_fd, failure, sizeof *failure);
    if (got != (ssize_t)sizeof *failure) {
        errno = ECHILD;
        return failure_set(failure, STAGE_FORK, NULL);
    }
    return failure->error == 0;
}

bool launch_pid1(struct options *options, pid_t *pid, struct failure *failure)
{
    int report[2];

    /* Before the unshare: what is the distribution's cgroup root is where we are at that moment. */
    if (options->cgroup != NULL && !join_cgroup(options->cgroup, failure))
        return false;
    if (pipe2(report, O_CLOEXEC) < 0)
        return failure_set(failure, STAGE_FORK, NULL);
    if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP) < 0)
        return failure_set(failure, STAGE_UNSHARE, NULL);
    *pid = fork();
    if (*pid < 0)
        return failure_set(failure, STAGE_FORK, NULL);
    if (*pid == 0) {
        /* Should this process die before the report, a half-made pid 1 must not stay. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        io_close(&report[0]);
        io_close(&options->ready_fd);
        pid1_run(options, report[1]);
    }
    io_close(&report[1]);
    bool ready = await_report(report[0], failure);
    if (!ready) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
    }
    io_close(&report[0]);
    return ready;
}
