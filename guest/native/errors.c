#include "errors.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* glibc's words, so that a command says the same with any C library: wire/strerror.py. */
static const struct {
    int number;
    const char *text;
} ERROR_TEXTS[] = {
    {E2BIG, "Argument list too long"},
    {EACCES, "Permission denied"},
    {EAGAIN, "Resource temporarily unavailable"},
    {ECONNREFUSED, "Connection refused"},
    {ECONNRESET, "Connection reset by peer"},
    {EFBIG, "File too large"},
    {EINVAL, "Invalid argument"},
    {EIO, "Input/output error"},
    {ELOOP, "Too many levels of symbolic links"},
    {ENAMETOOLONG, "File name too long"},
    {ENOEXEC, "Exec format error"},
    {ENOENT, "No such file or directory"},
    {ENOMEM, "Cannot allocate memory"},
    {ENOTDIR, "Not a directory"},
    {EPROTO, "Protocol error"},
    {ENOSPC, "No space left on device"},
    {EPERM, "Operation not permitted"},
};

const char *errors_text(int number)
{
    for (size_t i = 0; i < sizeof ERROR_TEXTS / sizeof *ERROR_TEXTS; i++)
        if (ERROR_TEXTS[i].number == number)
            return ERROR_TEXTS[i].text;
    return strerror(number);
}
