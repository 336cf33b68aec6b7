#include "net_hooks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf_insn.h"
#include "io.h"
#include "report.h"

enum {
    LOG_BYTES = 64 * 1024,
    RING_BYTES = 4096,
    RECORD_BYTES = 8,
    LABELS = 16,
    HOST = 0x0a000202, /* 10.0.2.2 */
    R0 = BPF_REG_0,
    R1 = BPF_REG_1,
    R2 = BPF_REG_2,
    R3 = BPF_REG_3,
    R4 = BPF_REG_4,
    R5 = BPF_REG_5,
    CONTEXT = BPF_REG_6,
    COOKIE = BPF_REG_7,
    PROTOCOL = BPF_REG_8,
    SOCKET = BPF_REG_9,
    STACK = BPF_REG_10,
};

/* Where things are in the contexts, and in the tuple of a look-up, by <linux/bpf.h>. */
#define SOCK(field) offsetof(struct bpf_sock, field)
#define ADDRESS(field) offsetof(struct bpf_sock_addr, field)
#define WORD(index) (ADDRESS(user_ip6) + 4 * (index))

static int bpf(enum bpf_cmd command, union bpf_attr *attributes)
{
    return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static int load(enum bpf_prog_type type, enum bpf_attach_type place, const struct bpf_insn *program,
                size_t count)
{
    union bpf_attr attributes = {
        .prog_type = type,
        .expected_attach_type = place,
        .insns = (uintptr_t)program,
        .insn_cnt = (uint32_t)count,
        .license = (uintptr_t) "Dual MIT/GPL",
    };
    int fd = bpf(BPF_PROG_LOAD, &attributes);

    if (fd >= 0)
        return fd;
    /* Once more, for the reason: the last line of the verifier's log. */
    int saved = errno;
    char *log = calloc(1, LOG_BYTES);
    if (log != NULL) {
        attributes.log_buf = (uintptr_t)log;
        attributes.log_size = LOG_BYTES;
        attributes.log_level = 1;
        bpf(BPF_PROG_LOAD, &attributes);
        report("hook %d was refused: %.300s", (int)place, log);
        free(log);
    }
    errno = saved;
    return -1;
}

/* A link, not an attachment: it ends with its descriptor, and leaves distributions free to have
 * programs of their own in their groups. */
static int attach(int cgroup, enum bpf_attach_type place, int program)
{
    union bpf_attr attributes = {.link_create = {
                                     .prog_fd = (uint32_t)program,
                                     .target_fd = (uint32_t)cgroup,
                                     .attach_type = place,
                                 }};

    return program < 0 ? -1 : bpf(BPF_LINK_CREATE, &attributes);
}

static bool is_jump(const struct bpf_insn *instruction)
{
    int class = BPF_CLASS(instruction->code), operation = BPF_OP(instruction->code);

    return (class == BPF_JMP || class == BPF_JMP32) && operation != BPF_CALL &&
           operation != BPF_EXIT;
}

/* Take the labels out and make offsets of the jumps to them. Returns how many instructions are
 * left. */
static size_t resolve(struct bpf_insn *program, size_t count)
{
    size_t places[LABELS] = {0};
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (program[i].code == BPF_LABEL)
            places[program[i].off] = kept;
        else
            program[kept++] = program[i];
    }
    for (size_t i = 0; i < kept; i++)
        if (is_jump(&program[i]))
            program[i].off = (short)(places[program[i].off] - i - 1);
    return kept;
}

static int hook(int cgroup, enum bpf_prog_type type, enum bpf_attach_type place,
                struct bpf_insn *instructions, size_t count)
{
    int program = load(type, place, instructions, resolve(instructions, count));
    int link = attach(cgroup, place, program);

    io_close(&program); /* the link holds it */
    return link;
}

int make_ring(void)
{
    union bpf_attr attributes = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = RING_BYTES};

    return bpf(BPF_MAP_CREATE, &attributes);
}

/* Labels of the programs. */
enum { END, LOOK_UP_UDP, LOOKED_UP, LOOK_UP_UDP_6, LOOKED_UP_6, LOOPBACK_6, REDIRECT, SUPPORTED };

static int hook_bind(int cgroup, int ring, enum bpf_attach_type place)
{
    struct bpf_insn program[] = {
        LOAD32(R2, R1, SOCK(type)),
        UNLESS_EQUAL(R2, SOCK_DGRAM, END),
        PUT64(STACK, -RECORD_BYTES, 1),
        LOAD_MAP(R1, ring),
        COPY(R2, STACK),
        ADD(R2, -RECORD_BYTES),
        SET(R3, RECORD_BYTES),
        SET(R4, 0),
        CALL(BPF_FUNC_ringbuf_output),
        LABEL(END),
        SET(R0, 1), /* the bind is let through */
        EXIT,
    };

    return hook(cgroup, BPF_PROG_TYPE_CGROUP_SOCK, place, program,
                sizeof program / sizeof program[0]);
}

int hook_bind4(int cgroup, int ring)
{
    return hook_bind(cgroup, ring, BPF_CGROUP_INET4_POST_BIND);
}

int hook_bind6(int cgroup, int ring)
{
    return hook_bind(cgroup, ring, BPF_CGROUP_INET6_POST_BIND);
}

/* To the end, but in the machine's own network namespace. */
#define REQUIRE_OUR_NAMESPACE                                                                      \
    COPY(R1, CONTEXT), CALL(BPF_FUNC_get_netns_cookie), COPY(COOKIE, R0), SET(R1, 0),              \
        CALL(BPF_FUNC_get_netns_cookie), UNLESS_SAME(R0, COOKIE, END)

/* To the end, but for TCP and UDP there. */
#define REQUIRE_OURS                                                                               \
    LOAD32(PROTOCOL, CONTEXT, ADDRESS(protocol)), IF_EQUAL(PROTOCOL, IPPROTO_TCP, SUPPORTED),      \
        UNLESS_EQUAL(PROTOCOL, IPPROTO_UDP, END), LABEL(SUPPORTED), REQUIRE_OUR_NAMESPACE

/* To the end, if a socket here serves the port at the addresses that are on the stack: a tuple of
 * `bytes` (struct bpf_sock_tuple), of which the last four are the ports. */
#define REQUIRE_UNSERVED(bytes, udp, done)                                                         \
    LOAD32(R2, CONTEXT, ADDRESS(user_port)), PUT16(STACK, -4, 0), STORE16(STACK, -2, R2),          \
        COPY(R1, CONTEXT), COPY(R2, STACK), ADD(R2, -(bytes)), SET(R3, bytes),                     \
        SET(R4, BPF_F_CURRENT_NETNS), SET(R5, 0), IF_EQUAL(PROTOCOL, IPPROTO_UDP, udp),            \
        CALL(BPF_FUNC_sk_lookup_tcp), GOTO(done), LABEL(udp), CALL(BPF_FUNC_sk_lookup_udp),        \
        LABEL(done)

/* After REQUIRE_UNSERVED: give back the socket that it has found, and go to the end. */
#define RELEASE_FOUND COPY(R1, R0), CALL(BPF_FUNC_sk_release), GOTO(END)

enum { TUPLE4_BYTES = 12, TUPLE6_BYTES = 36 };

int hook_connect4(int cgroup)
{
    const uint32_t loopback = htonl(INADDR_LOOPBACK);
    struct bpf_insn program[] = {
        COPY(CONTEXT, R1),
        LOAD32(R2, CONTEXT, ADDRESS(user_ip4)),
        UNLESS_EQUAL(R2, loopback, END),
        REQUIRE_OURS,
        PUT32(STACK, -12, loopback),
        PUT32(STACK, -8, loopback),
        REQUIRE_UNSERVED(TUPLE4_BYTES, LOOK_UP_UDP, LOOKED_UP),
        IF_ZERO(R0, REDIRECT),
        RELEASE_FOUND,
        LABEL(REDIRECT),
        SET(R2, htonl(HOST)),
        STORE32(CONTEXT, ADDRESS(user_ip4), R2),
        LABEL(END),
        SET(R0, 1), /* the connect is let through */
        EXIT,
    };

    return hook(cgroup, BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, program,
                sizeof program / sizeof program[0]);
}

int hook_connect6(int cgroup)
{
    const uint32_t loopback = htonl(INADDR_LOOPBACK);
    const uint32_t mapped = htonl(0xffff); /* ::ffff:0.0.0.0/96 */
    struct bpf_insn program[] = {
        COPY(CONTEXT, R1),
        LOAD32(R2, CONTEXT, WORD(0)),
        UNLESS_EQUAL(R2, 0, END),
        LOAD32(R2, CONTEXT, WORD(1)),
        UNLESS_EQUAL(R2, 0, END),
        REQUIRE_OURS,
        LOAD32(R2, CONTEXT, WORD(2)),
        LOAD32(R3, CONTEXT, WORD(3)),
        IF_EQUAL(R2, 0, LOOPBACK_6),
        /* ::ffff:127.0.0.1, what a socket for both families makes of 127.0.0.1 */
        UNLESS_EQUAL(R2, mapped, END),
        UNLESS_EQUAL(R3, loopback, END),
        PUT32(STACK, -12, loopback),
        PUT32(STACK, -8, loopback),
        REQUIRE_UNSERVED(TUPLE4_BYTES, LOOK_UP_UDP, LOOKED_UP),
        IF_ZERO(R0, REDIRECT),
        RELEASE_FOUND,
        LABEL(LOOPBACK_6),
        UNLESS_EQUAL(R3, htonl(1), END),
        PUT32(STACK, -36, 0),
        PUT32(STACK, -32, 0),
        PUT32(STACK, -28, 0),
        PUT32(STACK, -24, htonl(1)),
        PUT32(STACK, -20, 0),
        PUT32(STACK, -16, 0),
        PUT32(STACK, -12, 0),
        PUT32(STACK, -8, htonl(1)),
        REQUIRE_UNSERVED(TUPLE6_BYTES, LOOK_UP_UDP_6, LOOKED_UP_6),
        IF_ZERO(R0, REDIRECT),
        RELEASE_FOUND,
        LABEL(REDIRECT),
        SET(R2, 0),
        STORE32(CONTEXT, WORD(0), R2),
        STORE32(CONTEXT, WORD(1), R2),
        SET(R2, mapped),
        STORE32(CONTEXT, WORD(2), R2),
        SET(R2, htonl(HOST)),
        STORE32(CONTEXT, WORD(3), R2),
        LABEL(END),
        SET(R0, 1),
        EXIT,
    };

    return hook(cgroup, BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT, program,
                sizeof program / sizeof program[0]);
}

/* To the end, unless it is TCP, here, and a socket listens where this one's own end is: then this
 * one was accepted, else it was connected, and who has connected to the host knows. */
#define REQUIRE_ACCEPTED                                                                           \
    LOAD32(PROTOCOL, CONTEXT, ADDRESS(protocol)), UNLESS_EQUAL(PROTOCOL, IPPROTO_TCP, END),        \
        REQUIRE_OUR_NAMESPACE, LOAD64(SOCKET, CONTEXT, ADDRESS(sk)),                               \
        LOAD32(R2, SOCKET, SOCK(src_ip4)), PUT32(STACK, -12, htonl(HOST)), STORE32(STACK, -8, R2), \
        LOAD32(R2, SOCKET, SOCK(src_port)), SWAP16(R2), PUT16(STACK, -4, 0),                       \
        STORE16(STACK, -2, R2), COPY(R1, CONTEXT), COPY(R2, STACK), ADD(R2, -TUPLE4_BYTES),        \
        SET(R3, TUPLE4_BYTES), SET(R4, BPF_F_CURRENT_NETNS), SET(R5, 0),                           \
        CALL(BPF_FUNC_sk_lookup_tcp), IF_ZERO(R0, END), COPY(R1, R0), CALL(BPF_FUNC_sk_release)

int hook_peer4(int cgroup)
{
    struct bpf_insn program[] = {
        COPY(CONTEXT, R1),
        LOAD32(R2, CONTEXT, ADDRESS(user_ip4)),
        UNLESS_EQUAL(R2, htonl(HOST), END),
        REQUIRE_ACCEPTED,
        SET(R2, htonl(INADDR_LOOPBACK)),
        STORE32(CONTEXT, ADDRESS(user_ip4), R2),
        LABEL(END),
        SET(R0, 1), /* the only value there is */
        EXIT,
    };

    return hook(cgroup, BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_GETPEERNAME, program,
                sizeof program / sizeof program[0]);
}

int hook_peer6(int cgroup)
{
    struct bpf_insn program[] = {
        COPY(CONTEXT, R1),
        /* ::ffff:10.0.2.2, at a socket for both families */
        LOAD32(R2, CONTEXT, WORD(0)),
        UNLESS_EQUAL(R2, 0, END),
        LOAD32(R2, CONTEXT, WORD(1)),
        UNLESS_EQUAL(R2, 0, END),
        LOAD32(R2, CONTEXT, WORD(2)),
        UNLESS_EQUAL(R2, htonl(0xffff), END),
        LOAD32(R2, CONTEXT, WORD(3)),
        UNLESS_EQUAL(R2, htonl(HOST), END),
        REQUIRE_ACCEPTED,
        SET(R2, htonl(INADDR_LOOPBACK)),
        STORE32(CONTEXT, WORD(3), R2),
        LABEL(END),
        SET(R0, 1),
        EXIT,
    };

    return hook(cgroup, BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_GETPEERNAME, program,
                sizeof program / sizeof program[0]);
}
