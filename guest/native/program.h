/* Starting a program by name, as execvp(3) does but from a given environment. */
#ifndef ISTHMUS_PROGRAM_H
#define ISTHMUS_PROGRAM_H

/* Replace this process by `file`: as it stands if it holds a slash, else the first that can be
 * executed in the PATH of `env` (an empty part is the working directory; without a PATH:
 * /usr/local/bin:/usr/bin:/bin). What the kernel does not recognise (ENOEXEC) is given to /bin/sh.
 *
 * `argv` and `env` end with NULL, and argv[-1] must exist: it is overwritten.
 * Returns only on failure, with the errno: for a search ENOENT, or EACCES if one was found that
 * may not be executed, or at once what is not about one place (E2BIG, ENOMEM, EIO…). */
int program_exec(const char *file, char **argv, char **env);

#endif
