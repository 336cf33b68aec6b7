/* The programs that net-hooks puts into the kernel, at the root of the control groups. */
#ifndef ISTHMUS_NET_HOOKS_H
#define ISTHMUS_NET_HOOKS_H

/* All return the descriptor of a link, whose closing takes the program out again, or -1 with
 * errno set. `cgroup` is a directory of the cgroup2 file system. */

/* Whenever a datagram socket has been bound by bind(2), put a record of 8 bytes into `ring`. */
int hook_bind4(int cgroup, int ring);
int hook_bind6(int cgroup, int ring);

/* Make connect(2) to a localhost port that nobody serves here a connect to the host's: at 10.0.2.2,
 * which QEMU's user network makes the host's 127.0.0.1. In this network namespace only. */
int hook_connect4(int cgroup);
int hook_connect6(int cgroup);

/* Who has accepted a connection from 10.0.2.2, by TCP, hears that it comes from 127.0.0.1 (accept(2),
 * getpeername(2)): it does, from the host's, and servers serve localhost what they serve nobody else.
 * In this network namespace only. */
int hook_peer4(int cgroup);
int hook_peer6(int cgroup);

/* A ring buffer of one page. */
int make_ring(void);

#endif
