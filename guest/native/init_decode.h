/* Requests of docs/protocol-init.md §4 decoded and checked. No effects but memory. */
#ifndef ISTHMUS_INIT_DECODE_H
#define ISTHMUS_INIT_DECODE_H

#include "init_protocol.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct spawn_request {
    uint32_t flags;
    uid_t uid;
    gid_t gid;
    mode_t mask;
    size_t group_count;
    gid_t *groups;
    size_t directory_count;
    char *directories[PROTOCOL_MAX_DIRECTORIES];
    char **argv; /* NULL-terminated; argv[-1] is a spare slot, for the shell of a script */
    char **env;  /* NULL-terminated */
    char *file;
};

struct kill_request {
    pid_t pid;
    int signal;
    enum kill_target target;
};

struct open_request {
    uint32_t flags;
    uint32_t mode;
    char *path;
};

/* Each decodes `body`, into which the strings of the result point. They return 0, or EPROTO: the
 * body breaks the protocol. init_decode_spawn() may also return ENOMEM; after 0 its result needs
 * init_free_spawn(), after an error it does not. */
int init_decode_spawn(char *body, size_t length, struct spawn_request *request);
int init_decode_kill(char *body, size_t length, struct kill_request *request);
int init_decode_open(char *body, size_t length, struct open_request *request);

void init_free_spawn(struct spawn_request *request);

#endif
