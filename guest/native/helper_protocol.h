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

#endif
