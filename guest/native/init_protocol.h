/* The protocol between the agent and distro-init. The same text, with the reasons and the command
 * line, is docs/protocol-init.md; guest/initclient.py is its declaration in Python.
 *
 * An AF_UNIX stream socket carries messages both ways. All integers are little-endian. A string
 * is its bytes and a NUL. Every message is a head of 12 bytes and a body:
 *
 *     u32 body_length     at most 4 MiB
 *     u8  op
 *     u8  zero[3]
 *     u32 token           chosen by the client, repeated in the reply; 0 in events
 *
 * Descriptors travel as SCM_RIGHTS with the first byte of the head. A request is answered by one
 * reply, in any order: op | 0x80, the request's token, and a body that starts with
 *
 *     i32 errno           0: it was done
 *
 * SPAWN (1), three descriptors: 0, 1 and 2 of the new process
 *     u32 flags           1: the first descriptor that is a terminal becomes the controlling one
 *     u32 uid, u32 gid
 *     u32 ngroups, u32 group[ngroups]
 *     u32 umask
 *     u32 ncwd, string cwd[ncwd]      the first the new user can enter; none: "/"
 *     u32 argc, string argv[argc]     at least one
 *     u32 envc, string env[envc]
 *     string file         looked up in the PATH of `env` unless it holds a slash
 *   reply, when the program runs or cannot:
 *     i32 errno
 *     u32 stage           what failed: enum spawn_stage
 *     i32 pid             0 on failure
 *     u32 cwd_index       the directory that was entered
 *
 * KILL (2)
 *     i32 pid             of a process this connection has spawned and whose EXIT is yet to come
 *     i32 signal
 *     u32 target          0: the process; 1: its process group; 2: the foreground process group
 *                         of its terminal, or its own group if it has none
 *   reply: i32 errno
 *
 * OPEN (3)
 *     u32 flags           of open(2), the kernel's numbers; O_CLOEXEC and O_NOCTTY are added
 *     u32 mode            0 unless flags create
 *     string path         resolved inside the distribution's root, as its root user
 *   reply, with one descriptor if errno is 0: i32 errno
 *
 * STOP (4), empty: SIGTERM, then SIGCONT, to every process of the distribution
 *   reply: i32 errno
 *
 * EXIT (0x40), an event, after the reply to its SPAWN: a process has ended; it is reaped once
 * this is sent, so that nobody finds the distribution empty and does not know why
 *     i32 pid
 *     i32 status          as wait(2) stores it
 *     u64 user_us, u64 system_us, u64 maxrss_kib      getrusage(2), it and its waited children
 *
 * A message that breaks these rules (length, zero bytes, an unknown op, a bad count, a missing
 * NUL, bytes left over, a wrong number of descriptors) closes its connection, as does one that is
 * not complete in time. When a connection closes, every process it spawned that still runs gets
 * SIGHUP and SIGCONT, with its process group, and its EXIT goes nowhere.
 */
#ifndef ISTHMUS_INIT_PROTOCOL_H
#define ISTHMUS_INIT_PROTOCOL_H

enum {
    PROTOCOL_HEAD_BYTES = 12,
    PROTOCOL_MAX_BODY_BYTES = 4 * 1024 * 1024,
    PROTOCOL_REPLY_BIT = 0x80,
    PROTOCOL_SPAWN_FDS = 3,

    /* Bounds on counts, refused as malformed above. */
    PROTOCOL_MAX_GROUPS = 65536, /* NGROUPS_MAX, linux/limits.h */
    PROTOCOL_MAX_DIRECTORIES = 16,
    PROTOCOL_MAX_STRINGS = 256 * 1024, /* argv and env each: above what execve(2) can take */

    /* Bounds on work in hand; a SPAWN or OPEN above them is answered with EAGAIN. */
    PROTOCOL_MAX_CHILDREN = 4096,
    PROTOCOL_MAX_PENDING = 256,
    /* One more is closed at once. */
    PROTOCOL_MAX_CONNECTIONS = 8,
};

enum protocol_op {
    OP_SPAWN = 1,
    OP_KILL = 2,
    OP_OPEN = 3,
    OP_STOP = 4,
    OP_EXIT = 0x40,
};

enum spawn_flag { SPAWN_CONTROLLING_TERMINAL = 1 };

enum kill_target { KILL_PROCESS = 0, KILL_GROUP = 1, KILL_FOREGROUND = 2 };

enum spawn_stage {
    SPAWN_STAGE_NONE = 0,
    SPAWN_STAGE_FORK = 1,     /* resources of the init: memory, processes, descriptors, bounds */
    SPAWN_STAGE_FDS = 2,      /* descriptors 0, 1 and 2 */
    SPAWN_STAGE_SESSION = 3,  /* setsid(2) */
    SPAWN_STAGE_TERMINAL = 4, /* none of the three is one; TIOCSCTTY */
    SPAWN_STAGE_IDS = 5,      /* groups, gid, uid */
    SPAWN_STAGE_CWD = 6,      /* no directory could be entered; errno is the first one's */
    SPAWN_STAGE_EXEC = 7,     /* execve(2), or the time for all of this ran out: ETIMEDOUT */
};

#endif
