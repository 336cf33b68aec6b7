#include "wslpath_mounts.h"

#include "wslpath_mountinfo.h"
#include "wslpath_text.h"

#include <string.h>

struct mounts mounts_parse(struct arena *arena, char *mountinfo)
{
    size_t lines = 1;
    for (const char *at = mountinfo; (at = strchr(at, '\n')) != NULL; at++)
        lines++;

    struct mounts mounts = {.all = arena_take(arena, lines * sizeof *mounts.all), .count = 0};
    for (char *line = mountinfo; line != NULL;) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end++ = '\0';
        if (mountinfo_parse_line(arena, line, &mounts.all[mounts.count]))
            mounts.count++;
        line = end;
    }
    /* The root's parent is not listed, because it lies outside what the process can reach. */
    for (size_t i = 0; i < mounts.count; i++) {
        struct mount *mount = &mounts.all[i];
        mount->is_orphan = true;
        if (strcmp(mount->parent, mount->identity) == 0)
            continue;
        for (size_t j = 0; j < mounts.count && mount->is_orphan; j++)
            mount->is_orphan = strcmp(mount->parent, mounts.all[j].identity) != 0;
    }
    return mounts;
}

/* Whether the Linux path `path` is `directory` or, going by the names, lies below it. */
static bool holds(const char *directory, const char *path)
{
    size_t length = strlen(directory);

    if (strncmp(path, directory, length) != 0)
        return false;
    return (length > 0 && directory[length - 1] == '/') || path[length] == '\0' ||
           path[length] == '/';
}

static bool is_root(const struct mount *mount)
{
    return strcmp(mount->point, "/") == 0;
}

static bool is_mounted_on(const struct mount *mount, const struct mount *present, bool orphans)
{
    if (!orphans)
        return present != NULL && !mount->is_orphan &&
               strcmp(mount->parent, present->identity) == 0;
    return mount->is_orphan && (present == NULL || (is_root(present) && !is_root(mount)));
}

/* The one of those mounted on `present` that `path` meets first, counting from its root; of
 * several on one directory the newest. */
static struct mount *next_mount(struct mounts *mounts, const struct mount *present,
                                const char *path)
{
    struct mount *found = NULL;

    for (int orphans = 0; orphans < 2; orphans++)
        for (size_t i = 0; i < mounts->count; i++) {
            struct mount *mount = &mounts->all[i];
            if (!mount->is_crossed && is_mounted_on(mount, present, orphans != 0) &&
                holds(mount->point, path) &&
                (found == NULL || strlen(mount->point) <= strlen(found->point)))
                found = mount;
        }
    return found;
}

const struct mount *mounts_holding(struct mounts *mounts, const char *path)
{
    struct mount *present = NULL;

    for (size_t i = 0; i < mounts->count; i++)
        mounts->all[i].is_crossed = false;
    for (;;) {
        struct mount *found = next_mount(mounts, present, path);
        if (found == NULL)
            return present;
        found->is_crossed = true;
        present = found;
    }
}

const struct mount *mounts_showing(struct mounts *mounts, const char *path)
{
    const struct mount *found = NULL;

    for (size_t i = 0; i < mounts->count; i++) {
        const struct mount *mount = &mounts->all[i];
        if (mount->windows == NULL || !text_begins_folded(path, mount->windows))
            continue;
        size_t length = strlen(mount->windows);
        if (path[length] != '\0' && path[length] != '\\')
            continue;
        if (found != NULL && length < strlen(found->windows))
            continue;
        if (mounts_holding(mounts, mount->point) == mount)
            found = mount;
    }
    return found;
}
