/* One process of the distribution, from fork to execve, without waiting for it. */
#ifndef ISTHMUS_SPAWN_H
#define ISTHMUS_SPAWN_H

#include "init_decode.h"

#include <stdint.h>
#include <sys/types.h>

/* What a child tells through its record pipe, which execve closes. With stage NONE it only says
 * which directory it entered, should that not be the first; else it failed and ends. */
struct spawn_record {
    uint32_t stage; /* enum spawn_stage */
    int32_t error;
    uint32_t directory;
};

/* Fork a process that becomes what `request` asks for, with `fds` as its 0, 1 and 2 (all above 2;
 * the caller keeps its copies). `proc` is this namespace's procfs.
 *
 * Returns 0, with `*pid` and in `*record_fd` the non-blocking read end of the record pipe: whole
 * spawn_records, then the end of the file when the program runs or the child is dead. Otherwise
 * the errno of pipe2(2) or fork(2). */
int spawn_start(const struct spawn_request *request, const int fds[PROTOCOL_SPAWN_FDS], int proc,
                pid_t *pid, int *record_fd);

#endif
