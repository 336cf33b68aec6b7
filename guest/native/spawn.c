#include "spawn.h"

#include "io.h"
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RECORD_FD = STDERR_FILENO + 1, /* where the child keeps its end of the record pipe */
    EXIT_NOT_STARTED = 127,        /* seen by nobody: the reply to SPAWN has said why */
};

static void send_record(enum spawn_stage stage, int error, size_t directory)
{
    const struct spawn_record record = {
        .stage = stage,
        .error = error,
        .directory = (uint32_t)directory,
    };
    /* Below PIPE_BUF and into an empty pipe: it is written whole. */
    (void)io_write_full(RECORD_FD, &record, sizeof record);
}

/* Pid 1 is exempt from the OOM killer; what it starts must not be. `proc` cannot be covered by a
 * mount of the distribution's, as /proc could. */
static bool reset_oom_score(int proc)
{
    int score = openat(proc, "self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    bool done = score >= 0 && io_write_full(score, "0", 1) == 0;
    io_close(&score);
    return done;
}

/* After this the process has descriptors 0, 1, 2 and RECORD_FD only: nothing that may block later
 * (a directory or program on a hung file system) can keep a connection of pid 1's open. */
static bool set_descriptors(const int fds[PROTOCOL_SPAWN_FDS], int record)
{
    for (int i = 0; i < PROTOCOL_SPAWN_FDS; i++)
        if (dup2(fds[i], i) < 0)
            return false;
    if (record != RECORD_FD && dup3(record, RECORD_FD, O_CLOEXEC) < 0)
        return false;
    return io_close_range(RECORD_FD + 1, UINT_MAX) == 0;
}

static bool set_ids(const struct spawn_request *request)
{
    return setgroups(request->group_count, request->groups) == 0 &&
           setresgid(request->gid, request->gid, request->gid) == 0 &&
           setresuid(request->uid, request->uid, request->uid) == 0;
}

/* As the new user: a directory that only root may enter is not entered. */
static bool enter_directory(const struct spawn_request *request, size_t *entered)
{
    int first_error = 0;

    for (size_t i = 0; i < request->directory_count; i++) {
        if (chdir(request->directories[i]) == 0) {
            *entered = i;
            return true;
        }
        if (first_error == 0)
            first_error = errno;
    }
    errno = first_error;
    return request->directory_count == 0;
}

/* The first of the three that is a terminal: the others may be redirected. */
static bool take_terminal(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (isatty(fd))
            return ioctl(fd, TIOCSCTTY, 0) == 0;
    errno = ENOTTY;
    return false;
}

static enum spawn_stage become(const struct spawn_request *request, size_t *directory)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (setsid() < 0)
        return SPAWN_STAGE_SESSION;
    if ((request->flags & SPAWN_CONTROLLING_TERMINAL) && !take_terminal())
        return SPAWN_STAGE_TERMINAL;
    if (!set_ids(request))
        return SPAWN_STAGE_IDS;
    umask(request->mask);
    if (!enter_directory(request, directory))
        return SPAWN_STAGE_CWD;
    return SPAWN_STAGE_NONE;
}

_Noreturn static void fail(enum spawn_stage stage, int error, size_t directory)
{
    send_record(stage, error, directory);
    _exit(EXIT_NOT_STARTED);
}

/* When RECORD_FD may not be the record pipe yet. */
_Noreturn static void fail_early(int record, enum spawn_stage stage)
{
    int error = errno;

    dup2(record, RECORD_FD);
    fail(stage, error, 0);
}

_Noreturn static void run_child(const struct spawn_request *request,
                                const int fds[PROTOCOL_SPAWN_FDS], int proc, int record)
{
    size_t directory = 0;

    if (!reset_oom_score(proc))
        fail_early(record, SPAWN_STAGE_FORK);
    if (!set_descriptors(fds, record))
        fail_early(record, SPAWN_STAGE_FDS);
    enum spawn_stage stage = become(request, &directory);
    if (stage != SPAWN_STAGE_NONE)
        fail(stage, errno, 0);
    if (directory != 0)
        send_record(SPAWN_STAGE_NONE, 0, directory);
    int error = program_exec(request->file, request->argv, request->env);
    fail(SPAWN_STAGE_EXEC, error, directory);
}

int spawn_start(const struct spawn_request *request, const int fds[PROTOCOL_SPAWN_FDS], int proc,
                pid_t *pid, int *record_fd)
{
    int record[2];

    if (pipe2(record, O_CLOEXEC | O_NONBLOCK) < 0)
        return errno;
    *pid = fork();
    if (*pid == 0)
        run_child(request, fds, proc, record[1]);
    int error = *pid < 0 ? errno : 0;
    io_close(&record[1]);
    if (error != 0)
        io_close(&record[0]);
    *record_fd = record[0];
    return error;
}
