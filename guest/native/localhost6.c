/* localhost6 INTERFACE PORT: lets what arrives by IPv4 reach programs that serve at ::1 only.
 *
 * A connection to 127.254.H.L, port PORT, that arrives on INTERFACE goes on to ::1, port H * 256 +
 * L. The address says where to, so one socket does for all ports, and no port that a program might
 * want is taken. The host's side is netbridge/hostfwd.py. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io.h"
#include "report.h"

enum {
    BACKLOG = 128,
    CHUNK_BYTES = 256 * 1024,
    PREFIX = 0x7ffe, /* 127.254 */
};

/* The port that a connection's own address stands for; 0 if it stands for none. */
static uint16_t target_port(int connection)
{
    struct sockaddr_in own;
    socklen_t length = sizeof own;

    if (getsockname(connection, (struct sockaddr *)&own, &length) < 0)
        return 0;
    uint32_t address = ntohl(own.sin_addr.s_addr);
    return address >> 16 == PREFIX ? (uint16_t)(address & 0xffff) : 0;
}

static int connect_loopback(uint16_t port)
{
    struct sockaddr_in6 target = {
        .sin6_family = AF_INET6,
        .sin6_port = htons(port),
        .sin6_addr = IN6ADDR_LOOPBACK_INIT,
    };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&target, sizeof target) < 0)
        io_close(&fd);
    return fd;
}

/* Pass one direction on until it ends. An error ends the other direction too, which another
 * process serves: a socket that is shut down gives that one an end, or EPIPE. */
static void pass_on(int from, int to)
{
    static char buffer[CHUNK_BYTES];

    for (;;) {
        ssize_t count = read(from, buffer, sizeof buffer);
        if (count < 0 && errno == EINTR)
            continue;
        if (count == 0) {
            shutdown(to, SHUT_WR);
            return;
        }
        if (count < 0 || io_write_full(to, buffer, (size_t)count) < 0) {
            shutdown(from, SHUT_RDWR);
            shutdown(to, SHUT_RDWR);
            return;
        }
    }
}

/* Serve one connection, in a process of its own and, for the way back, a second one. */
static void serve(int near)
{
    uint16_t port = target_port(near);
    int far = port ? connect_loopback(port) : -1;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int yes = 1;

    if (far < 0) {
        setsockopt(near, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        return;
    }
    setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    switch (fork()) {
    case -1:
        setsockopt(near, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        return;
    case 0:
        pass_on(far, near);
        break;
    default:
        pass_on(near, far);
        break;
    }
}

static int listen_on(const char *interface, uint16_t port)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)) < 0 ||
        bind(fd, (struct sockaddr *)&any, sizeof any) < 0 || listen(fd, BACKLOG) < 0) {
        report("cannot listen on %s, port %u: %s", interface, port, strerror(errno));
        io_close(&fd);
    }
    return fd;
}

int main(int argc, char **argv)
{
    report_set_program("localhost6");
    long port = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (port <= 0 || port > UINT16_MAX) {
        report("usage: localhost6 INTERFACE PORT");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN); /* children are reaped by the kernel (sigaction(2), SA_NOCLDWAIT) */
    int listener = listen_on(argv[1], (uint16_t)port);
    if (listener < 0)
        return 1;
    for (;;) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                sleep(1); /* it stays in the backlog */
            continue;
        }
        pid_t pid = fork();
        if (pid == 0) {
            close(listener);
            serve(connection);
            _exit(0);
        }
        if (pid < 0)
            report("cannot fork: %s", strerror(errno));
        close(connection);
    }
}
