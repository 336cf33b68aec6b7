/* Runs a Windows program where Linux has executed it: the interpreter of binfmt_misc's entry
 * WSLInterop (docs/interop.md).
 *
 *     launcher FILE ARGV0 ARGUMENT...
 *
 * FILE is the program as it was executed and ARGV0 what the caller gave for argv[0] (flag P of
 * Documentation/admin-guide/binfmt-misc.rst). */
#include "errors.h"
#include "helper.h"
#include "io.h"
#include "launcher_console.h"
#include "launcher_copy.h"
#include "launcher_request.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { INPUT = 0, OUTPUT = 1, THIRD = 2 };

/* How Windows programs end that Ctrl-C has ended: STATUS_CONTROL_C_EXIT (ntstatus.h), cut to the
 * byte that hosts such as Wine pass on. */
enum { CONTROL_C_STATUS = 0x3A };

struct launch {
    const char *file;
    int agent;
    int signals;
    int done;
    int fds[LAUNCH_FDS];
    struct copy copies[LAUNCH_FDS];
    int outputs; /* still to be copied to their end */
    bool has_console;
    bool has_started;
    bool has_exited;
    bool is_interrupted;
    int status;
};

static int fail(const char *file, int number, const char *text, const char *hint)
{
    console_leave();
    fprintf(stderr, "%s: %s\n", file, errors_text(number));
    if (text != NULL && *text != '\0')
        fprintf(stderr, "%s%s%s\n", text, hint != NULL && *hint != '\0' ? ". " : "",
                hint != NULL ? hint : "");
    return EXIT_FAILURE;
}

static void die_by(int number)
{
    sigset_t one;

    console_leave();
    signal(number, SIG_DFL);
    sigemptyset(&one);
    sigaddset(&one, number);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    _exit(128 + number);
}

/* Signals that come by descriptor: those that must not leave the terminal raw, or that are the
 * program's. A signal that our caller ignores stays ignored. */
static int open_signals(bool has_console)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
    size_t count = has_console ? sizeof numbers / sizeof *numbers : 1;
    sigset_t set;
    struct sigaction action;

    sigemptyset(&set);
    for (size_t i = 0; i < count; i++)
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&set, numbers[i]);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    /* A thread that reads the terminal in the background is to be told so, not to stop us all. */
    sigset_t blocked = set;
    sigaddset(&blocked, SIGTTIN);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    signal(SIGPIPE, SIG_IGN);
    return fd;
}

static void send_numbers(const struct launch *launch, uint8_t op, uint32_t one, const uint32_t *two)
{
    static struct helper_request message;

    helper_begin(&message, op);
    helper_put_u32(&message, one);
    if (two != NULL)
        helper_put_u32(&message, *two);
    /* If it cannot be sent the agent is gone, which its end of the connection tells. */
    (void)helper_send(launch->agent, &message);
}

static void send_size(const struct launch *launch)
{
    struct console_size size = console_size();
    uint32_t columns = size.columns;

    if (size.rows > 0)
        send_numbers(launch, LAUNCH_RESIZE, size.rows, &columns);
}

static void on_signal(struct launch *launch)
{
    struct signalfd_siginfo info;

    if (io_read_full(launch->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    int number = (int)info.ssi_signo;
    if (number == SIGWINCH) {
        send_size(launch);
    } else if (number == SIGTSTP) {
        console_leave();
        raise(SIGSTOP);
        if (launch->has_console)
            (void)console_enter();
        send_size(launch);
    } else if (number == SIGINT && !launch->has_console && launch->has_started &&
               !launch->is_interrupted) {
        /* Ctrl-C, which a program may handle; with a second one, whoever sends it is in earnest. */
        launch->is_interrupted = true;
        send_numbers(launch, LAUNCH_SIGNAL, SIGINT, NULL);
    } else {
        die_by(number);
    }
}

static bool start_copy(struct launch *launch, int index, int from, int to, bool is_output)
{
    launch->copies[index] =
        (struct copy){.from = from, .to = to, .done = is_output ? launch->done : -1};
    launch->outputs += is_output;
    launch->fds[index] = -1;
    return copy_start(&launch->copies[index]) == 0;
}

/* The program runs: join it with our descriptors. */
static bool on_started(struct launch *launch, uint32_t flags)
{
    bool is_gui = (flags & LAUNCH_GUI) != 0;
    bool started = true;

    launch->has_started = true;
    if (is_gui && launch->has_console) {
        launch->has_console = false;
        console_leave();
        /* A job of its own, typed at a prompt: as in cmd.exe, the prompt comes back. Whoever runs
         * it as a part of something else, such as git its editor, waits for its end. */
        if (getpid() == getpgrp())
            _exit(EXIT_SUCCESS);
    }
    /* What is typed is not for a program that has windows. */
    bool wants_input = !(is_gui && isatty(STDIN_FILENO));
    int input = launch->fds[THIRD] >= 0 && launch->has_console ? THIRD : INPUT;
    if (launch->has_console)
        io_close(&launch->fds[INPUT]);
    if (wants_input)
        started = start_copy(launch, input, STDIN_FILENO, launch->fds[input], false);
    else
        io_close(&launch->fds[INPUT]);
    return started;
}

static void on_message(struct launch *launch, struct helper_message *message)
{
    struct helper_refusal refusal;

    if (helper_read_refusal(message, &refusal))
        _exit(fail(launch->file, refusal.number, refusal.text, refusal.hint));
    uint32_t value = cursor_u32(&message->body);
    if (message->op == LAUNCH_STARTED) {
        if (!on_started(launch, value))
            _exit(fail(launch->file, errno, NULL, NULL));
    } else if (message->op == LAUNCH_EXITED) {
        launch->has_exited = true;
        launch->status = (int)value;
    } else {
        _exit(fail(launch->file, EPROTO, NULL, NULL));
    }
}

static int finish(const struct launch *launch)
{
    console_leave();
    if (launch->is_interrupted && (launch->status & 0xFF) == CONTROL_C_STATUS)
        die_by(SIGINT);
    return launch->status & 0xFF;
}

/* Until the program has ended and all its output is written. */
static int serve(struct launch *launch)
{
    static struct helper_message message;

    while (!launch->has_exited || launch->outputs > 0) {
        struct pollfd ready[] = {
            {.fd = launch->has_exited ? -1 : launch->agent, .events = POLLIN},
            {.fd = launch->signals, .events = POLLIN},
            {.fd = launch->done, .events = POLLIN},
        };
        if (poll(ready, 3, -1) < 0)
            continue;
        if (ready[1].revents != 0)
            on_signal(launch);
        if (ready[2].revents != 0) {
            uint64_t count = 0;
            (void)io_read_full(launch->done, &count, sizeof count);
            launch->outputs -= (int)count;
        }
        if (ready[0].revents != 0) {
            if (helper_receive(launch->agent, &message) <= 0)
                return fail(launch->file, ECONNRESET, "the connection to Windows was lost", NULL);
            on_message(launch, &message);
        }
    }
    return finish(launch);
}

/* Take the reply to LAUNCH: descriptors, of which outputs are copied from now on. */
static bool take_reply(struct launch *launch)
{
    static struct helper_message reply;

    if (helper_receive(launch->agent, &reply) <= 0) {
        (void)fail(launch->file, ECONNRESET, NULL, NULL);
        return false;
    }
    if (reply.op == HELPER_REFUSED)
        on_message(launch, &reply);
    if (reply.op != (HELPER_OP_LAUNCH | HELPER_REPLY_BIT) || reply.fd_count != LAUNCH_FDS) {
        (void)fail(launch->file, EPROTO, NULL, NULL);
        return false;
    }
    memcpy(launch->fds, reply.fds, sizeof launch->fds);
    if (start_copy(launch, OUTPUT, launch->fds[OUTPUT], STDOUT_FILENO, true) &&
        (launch->has_console ||
         start_copy(launch, THIRD, launch->fds[THIRD], STDERR_FILENO, true)))
        return true;
    (void)fail(launch->file, errno, NULL, NULL);
    return false;
}

/* Descriptors that the caller has closed are occupied by something that cannot be read or written,
 * so that none of ours gets their numbers. */
static bool occupy_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/", O_PATH | O_DIRECTORY) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    static struct helper_request request;
    struct launch launch = {.file = argc > 1 ? argv[1] : ""};
    struct staged staged = {.fd = -1};

    if (argc < 3) {
        fprintf(stderr, "launcher: this program is started by the kernel, for Windows programs\n");
        return EXIT_FAILURE;
    }
    if (!occupy_standard())
        return EXIT_FAILURE;
    struct console_size console = console_find();
    launch.has_console = console.rows > 0;
    if (launcher_fill_request(&request, launch.file, argv + 2, environ, console, &staged) < 0)
        return fail(launch.file, errno, NULL, NULL);
    launch.agent = helper_connect();
    if (launch.agent < 0)
        return fail(launch.file, errno, "the distribution has no way to Windows",
                    "Does /run/WSL exist here?");
    if (helper_send(launch.agent, &request) < 0)
        return fail(launch.file, errno, NULL, NULL);
    launch.signals = open_signals(launch.has_console);
    launch.done = eventfd(0, EFD_CLOEXEC);
    if (launch.signals < 0 || launch.done < 0 || (launch.has_console && console_enter() < 0))
        return fail(launch.file, errno, NULL, NULL);
    if (!take_reply(&launch))
        return EXIT_FAILURE;
    /* If it is refused meanwhile, nobody reads the rest, and why comes on the connection. */
    if (staged.fd >= 0 && copy_file(staged.fd, launch.fds[INPUT], staged.size) < 0 &&
        errno != EPIPE)
        return fail(launch.file, errno, NULL, NULL);
    io_close(&staged.fd);
    return serve(&launch);
}
