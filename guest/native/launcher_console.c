#include "launcher_console.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static bool is_raw;

struct console_size console_size(void)
{
    struct winsize size;

    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
        return (struct console_size){0};
    return (struct console_size){.rows = size.ws_row, .columns = size.ws_col};
}

struct console_size console_find(void)
{
    struct stat first, other;

    if (!isatty(STDIN_FILENO) || fstat(STDIN_FILENO, &first) < 0)
        return (struct console_size){0};
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (fstat(fd, &other) < 0 || !S_ISCHR(other.st_mode) || other.st_rdev != first.st_rdev ||
            other.st_dev != first.st_dev)
            return (struct console_size){0};
    /* In another pid namespace than the terminal's both are 0. */
    if (tcgetpgrp(STDIN_FILENO) != getpgrp())
        return (struct console_size){0};
    return console_size();
}

int console_enter(void)
{
    if (!is_raw && tcgetattr(STDIN_FILENO, &saved) < 0)
        return -1;
    struct termios raw = saved;
    cfmakeraw(&raw);
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
        return -1;
    is_raw = true;
    return 0;
}

void console_leave(void)
{
    /* What the program has written is in the terminal already, so nothing need be waited for. */
    if (is_raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    is_raw = false;
}
