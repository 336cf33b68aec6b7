/* listen-test: what inotify(7) says of directories, for the tests: `listen-test DIRECTORY...` writes
 * "listening", then a line for each event: what happened, the directory's position, the name. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

static const struct {
    uint32_t mask;
    const char *word;
} WORDS[] = {
    {IN_CREATE, "create"},         {IN_MODIFY, "modify"},     {IN_ATTRIB, "attrib"},
    {IN_CLOSE_WRITE, "close_write"}, {IN_MOVED_FROM, "moved_from"}, {IN_MOVED_TO, "moved_to"},
    {IN_DELETE, "delete"},         {IN_Q_OVERFLOW, "overflow"},
};

enum { WORD_COUNT = sizeof WORDS / sizeof *WORDS };

int main(int argc, char **argv)
{
    static char buffer[1 << 16] __attribute__((aligned(__alignof__(struct inotify_event))));
    int fd = inotify_init1(IN_CLOEXEC);
    uint32_t mask = 0;

    for (size_t i = 0; i < WORD_COUNT; i++)
        mask |= WORDS[i].mask;
    for (int i = 1; i < argc; i++)
        if (inotify_add_watch(fd, argv[i], mask) != i) /* descriptors count from 1 */
            return EXIT_FAILURE;
    puts("listening");
    for (ssize_t got; fflush(stdout) == 0 && (got = read(fd, buffer, sizeof buffer)) > 0;) {
        for (char *at = buffer; at < buffer + got;) {
            const struct inotify_event *event = (const void *)at;
            for (size_t i = 0; i < WORD_COUNT; i++)
                if (event->mask & WORDS[i].mask)
                    printf("%s%s %d %s\n", WORDS[i].word, event->mask & IN_ISDIR ? "/" : "",
                           event->wd, event->len > 0 ? event->name : "");
            at += sizeof *event + event->len;
        }
    }
    return EXIT_SUCCESS;
}
