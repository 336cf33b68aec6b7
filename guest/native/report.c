#include "report.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Below PIPE_BUF: a pipe that polls writable takes the whole line without blocking (pipe(7)). */
enum { LINE_MAX_BYTES = 500 };

static const char *program = "isthmus";

void report_set_program(const char *name)
{
    program = name;
}

void report(const char *format, ...)
{
    char line[LINE_MAX_BYTES + 1];
    int saved = errno;
    va_list arguments;

    int start = snprintf(line, sizeof line, "%s: ", program);
    if (start < 0 || start >= LINE_MAX_BYTES)
        return;
    va_start(arguments, format);
    vsnprintf(line + start, sizeof line - (size_t)start, format, arguments);
    va_end(arguments);

    size_t length = strnlen(line, LINE_MAX_BYTES - 1);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < 0x20)
            line[i] = '?';
    line[length++] = '\n';

    struct pollfd writable = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&writable, 1, 0) == 1 && (writable.revents & POLLOUT)) {
        ssize_t ignored = write(STDERR_FILENO, line, length);
        (void)ignored;
    }
    errno = saved;
}
