/* The command line of drive-pump, which only the agent writes (guest/agent/drives.py). */
#ifndef ISTHMUS_PUMP_OPTIONS_H
#define ISTHMUS_PUMP_OPTIONS_H

#include <stdbool.h>

struct pump_options {
    const char *port;    /* name of the virtio-serial port that leads to the drive's server */
    const char *source;  /* what mountinfo shows as the source: the Windows path */
    unsigned attributes; /* MOUNT_ATTR_* of fsmount(2) */
    bool read_only;      /* the whole file system, not this mount of it alone */
    int init;            /* pid 1 of the distribution, in this pid namespace */
    int mount_namespace; /* descriptor of the mount namespace to attach it in; -1: in none */
    char *target;        /* absolute path there, made where it is missing; cut and restored */
    int control;         /* datagram socket on which the agent speaks (pump_control.h) */
    int ready;           /* socket for the one line about the mount, and for what is in none */
};

/* Read the command line. Returns false, having said so on stderr, if anything is wrong with it. */
bool pump_options_parse(int argc, char **argv, struct pump_options *options);

#endif
