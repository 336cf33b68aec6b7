#include "failure.h"

#include <errno.h>
#include <stdio.h>

static const char *const NAMES[STAGE_COUNT] = {
    [STAGE_OPTIONS] = "options", [STAGE_CGROUP] = "cgroup",   [STAGE_UNSHARE] = "unshare",
    [STAGE_FORK] = "fork",       [STAGE_ROOT] = "root",       [STAGE_MOUNT] = "mount",
    [STAGE_BIND] = "bind",       [STAGE_PIVOT] = "pivot",     [STAGE_HOSTNAME] = "hostname",
    [STAGE_LISTEN] = "listen",   [STAGE_TIMEOUT] = "timeout",
};

bool failure_set(struct failure *failure, enum failure_stage stage, const char *subject)
{
    failure->stage = stage;
    failure->error = errno != 0 ? errno : EIO;
    snprintf(failure->subject, sizeof failure->subject, "%s", subject != NULL ? subject : "-");
    for (char *at = failure->subject; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20)
            *at = '?';
    return false;
}

const char *failure_stage_name(enum failure_stage stage)
{
    return (unsigned)stage < STAGE_COUNT ? NAMES[stage] : "unknown";
}
