#include "pump_port_find.h"

#include "io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char PORTS[] = "/sys/class/virtio-ports";

/* Whether the device `entry` is the port called `name`. */
static bool is_called(int ports, const char *entry, const char *name)
{
    char path[300];
    char found[64];
    ssize_t length = -1;

    snprintf(path, sizeof path, "%s/name", entry);
    int file = openat(ports, path, O_RDONLY | O_CLOEXEC);
    if (file >= 0)
        length = io_read_full(file, found, sizeof found);
    io_close(&file);
    return length > 0 && (size_t)length == strlen(name) + 1 && found[length - 1] == '\n' &&
           memcmp(found, name, strlen(name)) == 0;
}

/* /dev/vport* numbers do not follow the host's order of ports, so the name decides. */
int port_find(const char *name)
{
    char path[300];
    int fd = -1;
    DIR *ports = opendir(PORTS);

    if (ports == NULL)
        return -1;
    errno = ENOENT;
    for (struct dirent *entry; fd < 0 && (entry = readdir(ports)) != NULL;) {
        if (entry->d_name[0] == '.' || !is_called(dirfd(ports), entry->d_name, name))
            continue;
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        break;
    }
    int error = errno;
    closedir(ports);
    errno = error;
    return fd;
}
