/* helper-test OP TEXT...: send a request whose body is the counted strings, and print what comes.
 *
 * Each message is a line: the op, the strings of its body, and what can be read from each of its
 * descriptors until its end. */
#include "helper.h"

#include "io.h"

#include <stdio.h>
#include <stdlib.h>

static void print_descriptor(int fd)
{
    char text[256];
    ssize_t got = io_read_full(fd, text, sizeof text);

    printf(" <%.*s>", got > 0 ? (int)got : 0, text);
    io_close(&fd);
}

static void print_message(struct helper_message *message)
{
    struct helper_refusal refusal;

    printf("%d", message->op);
    if (helper_read_refusal(message, &refusal))
        printf(" %d '%s' '%s'", refusal.number, refusal.text, refusal.hint);
    while (!message->body.bad && message->body.left > 0) {
        const char *text = cursor_string(&message->body);
        printf(" '%s'", text != NULL ? text : "?");
    }
    for (size_t i = 0; i < message->fd_count; i++)
        print_descriptor(message->fds[i]);
    putchar('\n');
}

int main(int argc, char **argv)
{
    static struct helper_request request;
    static struct helper_message message;

    if (argc < 2)
        return EXIT_FAILURE;
    helper_begin(&request, (uint8_t)atoi(argv[1]));
    helper_put_u32(&request, (uint32_t)(argc - 2));
    for (int i = 2; i < argc; i++)
        helper_put_string(&request, argv[i]);
    int connection = helper_connect();
    if (connection < 0 || helper_send(connection, &request) < 0) {
        perror(argv[0]);
        return EXIT_FAILURE;
    }
    int received;
    while ((received = helper_receive(connection, &message)) > 0)
        print_message(&message);
    if (received < 0)
        perror(argv[0]);
    io_close(&connection);
    return received < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
