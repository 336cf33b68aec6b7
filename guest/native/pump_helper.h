/* Messages between the server and this program itself, which the kernel never sees: they are
 * framed as the kernel's are, a notification with a code that linux/fuse.h does not have from the
 * server, a request with such an opcode to it. */
#ifndef ISTHMUS_PUMP_HELPER_H
#define ISTHMUS_PUMP_HELPER_H

/* Codes and opcodes from here on are not the kernel's. */
enum { PUMP_HELPER_CODE = 0x1000 };

#endif
