#include "fdpass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union control {
    char bytes[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
    struct cmsghdr align;
};

ssize_t fdpass_send(int socket, const void *data, size_t length, const int *fds, size_t count,
                    int flags)
{
    union control control;
    struct iovec part;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t sent;

    if (count > FDPASS_MAX) {
        errno = EINVAL;
        return -1;
    }
    /* iov_base is not const because receiving uses it too; sendmsg only reads through it. */
    memcpy(&part.iov_base, &data, sizeof data);
    part.iov_len = length;
    if (count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = (socklen_t)CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = (socklen_t)CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    do
        sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

/* Only the first header is looked at: the kernel puts all descriptors of one receive into it, and
 * no other kind of control message is ever asked for here. */
static size_t take_descriptors(struct msghdr *message, int fds[FDPASS_MAX])
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);

    if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len < CMSG_LEN(0))
        return 0;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    if (count > FDPASS_MAX)
        count = FDPASS_MAX;
    memcpy(fds, CMSG_DATA(header), count * sizeof(int));
    return count;
}

ssize_t fdpass_receive(int socket, void *data, size_t length, int fds[FDPASS_MAX], size_t *count,
                       int flags)
{
    union control control;
    struct iovec part = {.iov_base = data, .iov_len = length};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t got;

    memset(&control, 0, sizeof control);
    *count = 0;
    do
        got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -1;
    *count = take_descriptors(&message, fds);
    if (message.msg_flags & MSG_CTRUNC) {
        while (*count > 0)
            close(fds[--*count]);
        errno = EPROTO;
        return -1;
    }
    return got;
}
