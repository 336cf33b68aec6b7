/* wslpath and wslinfo, told apart by the name they are called by. */
#include "io.h"
#include "wslpath_arena.h"
#include "wslpath_command.h"
#include "wslpath_system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char name[] = "wslpath";
    static char *no_arguments[] = {name, NULL};
    struct arena arena = {NULL};
    const struct sources sources = {
        .world = {.get_cwd = system_cwd, .real_path = system_real_path},
        .mountinfo = system_mountinfo,
        .fact = system_fact,
        .distribution = getenv("WSL_DISTRO_NAME"),
    };

    if (argc < 1) /* execve(2) allows it */
        argv = no_arguments;
    const char *slash = strrchr(argv[0], '/');
    const char *command = slash != NULL ? slash + 1 : argv[0];
    struct output output = strcmp(command, "wslinfo") == 0 ? run_wslinfo(&arena, argv, &sources)
                                                           : run_wslpath(&arena, argv, &sources);
    int written = io_write_full(STDOUT_FILENO, output.out, strlen(output.out));
    (void)io_write_full(STDERR_FILENO, output.error, strlen(output.error));
    if (written != 0)
        perror(argv[0]);
    arena_free(&arena);
    return written != 0 ? EXIT_FAILURE : output.status;
}
