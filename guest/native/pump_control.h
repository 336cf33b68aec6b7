/* What the agent tells a pump, in datagrams of text: "sync <nonce in hexadecimal>" announces a
 * server, "lost" that it is gone, "bulk <device>" that large contents may go by a disk, "end" gives
 * the drive up. */
#ifndef ISTHMUS_PUMP_CONTROL_H
#define ISTHMUS_PUMP_CONTROL_H

#include "pump.h"

/* Read one datagram and do what it says; others are ignored. Returns false if that is to end. */
bool control_read(struct pump *pump);

#endif
