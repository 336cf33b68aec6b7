#include "mount_drvfs_remount.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>

static const struct flag {
    const char *name;
    unsigned long bit;
    bool is_set;
} FLAGS[] = {
    {"ro", MS_RDONLY, true},          {"rw", MS_RDONLY, false},
    {"nosuid", MS_NOSUID, true},      {"suid", MS_NOSUID, false},
    {"nodev", MS_NODEV, true},        {"dev", MS_NODEV, false},
    {"noexec", MS_NOEXEC, true},      {"exec", MS_NOEXEC, false},
    {"noatime", MS_NOATIME, true},    {"atime", MS_NOATIME, false},
    {"relatime", MS_RELATIME, true},  {"strictatime", MS_STRICTATIME, true},
    {"nodiratime", MS_NODIRATIME, true}, {"diratime", MS_NODIRATIME, false},
};

static void apply(unsigned long *flags, const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++)
        if (strlen(FLAGS[i].name) == length && memcmp(FLAGS[i].name, name, length) == 0)
            *flags = FLAGS[i].is_set ? *flags | FLAGS[i].bit : *flags & ~FLAGS[i].bit;
}

int remount(const char *directory, const char *options)
{
    unsigned long flags = MS_REMOUNT;

    for (const char *at = options; *at != '\0';) {
        size_t length = strcspn(at, ",");
        apply(&flags, at, length);
        at += length;
        at += strspn(at, ",");
    }
    return mount(NULL, directory, NULL, flags, NULL);
}
