/* The protocol between programs in a distribution and the agent. The same text, with the reasons,
 * is docs/protocol-helper.md; guest/helperprotocol.py is its declaration in Python. */
#ifndef ISTHMUS_HELPER_PROTOCOL_H
#define ISTHMUS_HELPER_PROTOCOL_H

enum {
    HELPER_HEAD_BYTES = 8,
    HELPER_MAX_BODY_BYTES = 256 * 1024,
    HELPER_REPLY_BIT = 0x80,
    HELPER_REFUSED = 0xFF,
};

enum helper_op {
    HELPER_OP_LAUNCH = 1,
    HELPER_OP_MOUNT = 2,
};

/* LAUNCH, with three descriptors in its reply: where to write the program's input, where to read
 * its output, and the third: its errors to read, or with a console its keys to write.
 *     u32 flags               LAUNCH_CONSOLE
 *     u32 rows, u32 columns   of the console
 *     u32 program_bytes       how many bytes of the program itself come first on the first
 *                             descriptor; 0 where Windows can open it
 *     string file             the program as it was executed here
 *     string program          its Windows path, "" where it has none
 *     string directory        Windows path to start in, "" where that has none
 *     u32 argc, string argv[argc]
 *     u32 count, string variable[count]    NAME=value; an empty value deletes
 * Then, from the agent, LAUNCH_STARTED (u32 flags) and LAUNCH_EXITED (i32 status), or REFUSED;
 * from the launcher LAUNCH_RESIZE (u32 rows, u32 columns) and LAUNCH_SIGNAL (u32 number). */
enum {
    LAUNCH_CONSOLE = 1,
    LAUNCH_FDS = 3,
    LAUNCH_MAX_PROGRAM_BYTES = 512 * 1024 * 1024,
    LAUNCH_GUI = 1, /* STARTED: it has windows of its own */
};

enum launch_message {
    LAUNCH_RESIZE = 0x40,
    LAUNCH_SIGNAL = 0x41,
    LAUNCH_STARTED = 0xC0,
    LAUNCH_EXITED = 0xC1,
};

#endif
