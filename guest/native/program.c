#include "program.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char DEFAULT_PATH[] = "/usr/local/bin:/usr/bin:/bin";
static char SHELL[] = "/bin/sh";

/* `path` becomes an argument of the shell, hence not const. */
static int exec_path(char *path, char **argv, char **env)
{
    execve(path, argv, env);
    if (errno != ENOEXEC)
        return errno;
    argv[-1] = SHELL;
    argv[0] = path;
    execve(SHELL, argv - 1, env);
    return errno;
}

static const char *search_path(char **env)
{
    for (; *env != NULL; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return DEFAULT_PATH;
}

/* Errors that concern one directory of the PATH only: the search goes on (execvp in glibc). */
static bool concerns_one_place(int error)
{
    return error == EACCES || error == ENOENT || error == ENOTDIR || error == ESTALE ||
           error == ENODEV || error == ETIMEDOUT;
}

static int exec_in_path(const char *file, char **argv, char **env)
{
    const char *directory = search_path(env);
    int result = ENOENT;

    for (;;) {
        char path[PATH_MAX];
        size_t length = strcspn(directory, ":");
        int written = snprintf(path, sizeof path, "%.*s%s%s", (int)length, directory,
                               length > 0 ? "/" : "", file);
        if (length < PATH_MAX && written >= 0 && (size_t)written < sizeof path) {
            int error = exec_path(path, argv, env);
            if (!concerns_one_place(error))
                return error;
            if (error == EACCES)
                result = EACCES;
        }
        if (directory[length] == '\0')
            return result;
        directory += length + 1;
    }
}

int program_exec(const char *file, char **argv, char **env)
{
    char path[PATH_MAX];

    if (*file == '\0')
        return ENOENT;
    if (strchr(file, '/') == NULL)
        return exec_in_path(file, argv, env);
    if (snprintf(path, sizeof path, "%s", file) >= (int)sizeof path)
        return ENAMETOOLONG;
    return exec_path(path, argv, env);
}
