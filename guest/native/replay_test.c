/* replay-test: the replayer on its own, for the tests: `replay-test DIRECTORY` replays, on the drive
 * mounted at DIRECTORY, batches that come as datagrams on stdin, where it says what it is at, too. */
#include "pump_helper.h"
#include "replay.h"
#include "report.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *directory;

static int open_root(void *context)
{
    (void)context;
    return open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool send_message(void *context, const void *message, size_t length)
{
    (void)context;
    return send(STDIN_FILENO, message, length, MSG_NOSIGNAL) == (ssize_t)length;
}

int main(int argc, char **argv)
{
    static unsigned char message[PUMP_HELPER_IN_BYTES];
    struct replay_host host = {.open_root = open_root, .send = send_message};
    struct stat status;

    report_set_program("replay-test");
    directory = argc == 2 ? argv[1] : ".";
    if (stat(directory, &status) < 0) {
        report("no drive is mounted at %s", directory);
        return EXIT_FAILURE;
    }
    host.device = status.st_dev;
    for (ssize_t got; (got = recv(STDIN_FILENO, message, sizeof message, 0)) > 0;)
        replay_batch(&host, message, (size_t)got);
    return EXIT_SUCCESS;
}
