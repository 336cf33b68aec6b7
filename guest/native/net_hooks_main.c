/* net-hooks FD CGROUP ports|mirror: puts programs into the kernel and hands them to its starter.
 *
 * Over the unix socket FD go one byte and descriptors, first of all, with `ports`, a ring buffer
 * that has something to read whenever a datagram socket has been bound. The others are links of
 * programs, which stay in the kernel until these descriptors are closed. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fdpass.h"
#include "net_hooks.h"
#include "report.h"

int main(int argc, char **argv)
{
    report_set_program("net-hooks");
    bool mirror = argc == 4 && strcmp(argv[3], "mirror") == 0;
    if (argc != 4 || (!mirror && strcmp(argv[3], "ports") != 0)) {
        report("usage: net-hooks FD CGROUP ports|mirror");
        return 2;
    }
    int cgroup = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cgroup < 0) {
        report("%s: %s", argv[2], strerror(errno));
        return 1;
    }
    int fds[FDPASS_MAX];
    size_t count = 0;
    if (mirror) {
        fds[count++] = hook_connect4(cgroup);
        fds[count++] = hook_connect6(cgroup);
    } else {
        fds[count++] = make_ring();
        fds[count++] = hook_bind4(cgroup, fds[0]);
        fds[count++] = hook_bind6(cgroup, fds[0]);
        fds[count++] = hook_peer4(cgroup);
        fds[count++] = hook_peer6(cgroup);
    }
    for (size_t i = 0; i < count; i++) {
        if (fds[i] < 0) {
            report("cannot be put into the kernel: %s", strerror(errno));
            return 1;
        }
    }
    if (fdpass_send((int)strtol(argv[1], NULL, 10), "", 1, fds, count, 0) != 1) {
        report("cannot hand over: %s", strerror(errno));
        return 1;
    }
    return 0;
}
