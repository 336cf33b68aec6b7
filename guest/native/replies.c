#include "replies.h"

#include "bytes.h"
#include "io.h"

void reply_with_fd(struct connection *connection, enum protocol_op op, uint32_t token, int error,
                   int fd)
{
    unsigned char body[4];

    if (connection == NULL) {
        io_close(&fd);
        return;
    }
    bytes_put_i32(body, error);
    connection_send(connection, (unsigned)op | PROTOCOL_REPLY_BIT, token, body, sizeof body, fd);
}

void reply_spawn(struct connection *connection, uint32_t token, int error, enum spawn_stage stage,
                 pid_t pid, uint32_t directory)
{
    unsigned char body[16];

    if (connection == NULL)
        return;
    bytes_put_i32(body, error);
    bytes_put_u32(body + 4, (uint32_t)stage);
    bytes_put_i32(body + 8, pid);
    bytes_put_u32(body + 12, directory);
    connection_send(connection, OP_SPAWN | PROTOCOL_REPLY_BIT, token, body, sizeof body, -1);
}

static uint64_t microseconds(const struct timeval *time)
{
    return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

void reply_exit_event(struct connection *connection, pid_t pid, int status,
                      const struct rusage *usage)
{
    unsigned char body[32];

    if (connection == NULL)
        return;
    bytes_put_i32(body, pid);
    bytes_put_i32(body + 4, status);
    bytes_put_u64(body + 8, microseconds(&usage->ru_utime));
    bytes_put_u64(body + 16, microseconds(&usage->ru_stime));
    bytes_put_u64(body + 24, (uint64_t)usage->ru_maxrss);
    connection_send(connection, OP_EXIT, 0, body, sizeof body, -1);
}
