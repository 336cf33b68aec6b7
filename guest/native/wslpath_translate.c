#include "wslpath_translate.h"

#include "wslpath_text.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Names of the server that shows distributions to Windows. */
static const char *const SERVERS[] = {"\\\\wsl.localhost\\", "\\\\wsl$\\"};

static char *no_such_path(void)
{
    errno = EINVAL;
    return NULL;
}

/* What follows \\wsl.localhost\<distribution> in `canonical`; NULL if it does not begin so. */
static const char *below_own_root(const struct translator *translator, const char *canonical)
{
    if (*translator->distribution == '\0')
        return NULL;
    for (size_t i = 0; i < sizeof SERVERS / sizeof *SERVERS; i++) {
        const char *prefix =
            arena_join(translator->arena, SERVERS[i], translator->distribution, NULL);
        const char *rest = canonical + strlen(prefix);
        if (text_begins_folded(canonical, prefix) && (*rest == '\0' || *rest == '\\'))
            return rest;
    }
    return NULL;
}

static char *absolute_to_linux(struct translator *translator, const char *path)
{
    struct arena *arena = translator->arena;
    const char *canonical = text_canonical(arena, path);
    if (canonical == NULL)
        return no_such_path();

    const struct mount *mount = mounts_showing(&translator->mounts, canonical);
    char *result;
    if (mount != NULL) {
        const char *point =
            arena_copy(arena, mount->point, text_trimmed_length(mount->point, '/'));
        char *below = arena_join(arena, canonical + strlen(mount->windows), NULL);
        text_replace(below, '\\', '/');
        result = arena_join(arena, point, below, NULL);
    } else {
        const char *rest = below_own_root(translator, canonical);
        if (rest == NULL)
            return no_such_path();
        result = arena_join(arena, rest, NULL);
        text_replace(result, '\\', '/');
        text_unescape(result);
    }
    return *result != '\0' ? result : arena_join(arena, "/", NULL);
}

/* The Windows path of the collapsed path, or NULL where it lies on no drive. */
static char *on_drive(struct translator *translator, const char *collapsed)
{
    struct arena *arena = translator->arena;
    const struct mount *mount = mounts_holding(&translator->mounts, collapsed);
    if (mount == NULL || mount->windows == NULL)
        return NULL;
    /* A mount point ends with "/" only where it is the root itself. */
    const char *below = collapsed + text_trimmed_length(mount->point, '/');
    /* A drive's root needs its separator: C: alone is a relative path. */
    if (*below == '\0' && strlen(mount->windows) == strlen("C:"))
        return arena_join(arena, mount->windows, "\\", NULL);
    return arena_join(arena, mount->windows, text_escape(arena, below), NULL);
}

char *translate_drive_path(struct translator *translator, const char *path)
{
    const char *collapsed =
        *path == '/' ? text_collapse(translator->arena, path, '/', 0) : NULL;

    return collapsed != NULL ? on_drive(translator, collapsed) : NULL;
}

static char *absolute_to_windows(struct translator *translator, const char *path)
{
    struct arena *arena = translator->arena;
    const char *collapsed = *path == '/' ? text_collapse(arena, path, '/', 0) : NULL;
    if (collapsed == NULL)
        return no_such_path();

    char *drive_path = on_drive(translator, collapsed);
    if (drive_path != NULL)
        return drive_path;
    if (*translator->distribution == '\0')
        return no_such_path();
    return arena_join(arena, SERVERS[0], translator->distribution, text_escape(arena, collapsed),
                      NULL);
}

/* `path` seen from `directory` if it is that or lies below it, else `path`. */
static char *relative_to(struct arena *arena, const char *directory, char *path, char separator)
{
    size_t base = text_trimmed_length(directory, separator);

    if (strncmp(path, directory, base) != 0 || (path[base] != '\0' && path[base] != separator))
        return path;
    if (path[base] == '\0' || path[base + 1] == '\0')
        return arena_join(arena, ".", NULL);
    return path + base + 1;
}

char *translate_to_linux(struct translator *translator, const char *path, bool absolute)
{
    const struct world *world = translator->world;
    struct arena *arena = translator->arena;
    const char *unified = text_unify(arena, path, '\\');
    if (text_is_absolute(unified))
        return absolute_to_linux(translator, unified);

    const char *directory = world->get_cwd(world->context, arena);
    if (directory == NULL)
        return NULL;
    char *start = absolute_to_windows(translator, directory);
    if (start == NULL)
        return NULL;
    if (*unified == '\\') {
        /* From the root of the drive that the directory is on, so it must be on one. */
        if (start[0] == '\0' || start[1] != ':')
            return no_such_path();
        start[2] = '\0';
    }
    char *translated =
        absolute_to_linux(translator, arena_join(arena, start, "\\", unified, NULL));
    if (translated == NULL || absolute)
        return translated;
    return relative_to(arena, directory, translated, '/');
}

char *translate_to_windows(struct translator *translator, const char *path, bool absolute)
{
    const struct world *world = translator->world;
    struct arena *arena = translator->arena;
    char *resolved = world->real_path(world->context, arena, path);
    if (resolved != NULL) {
        bool slash = *path != '\0' && path[strlen(path) - 1] == '/';
        return absolute_to_windows(translator, arena_join(arena, resolved, slash ? "/" : "", NULL));
    }
    if (errno != ENOENT)
        return NULL;
    if (*path == '/')
        return absolute_to_windows(translator, path);

    const char *directory = world->get_cwd(world->context, arena);
    if (directory == NULL)
        return NULL;
    char *translated = absolute_to_windows(translator, arena_join(arena, directory, "/", path, NULL));
    if (translated == NULL || absolute)
        return translated;
    const char *base = absolute_to_windows(translator, directory);
    return base != NULL ? relative_to(arena, base, translated, '\\') : NULL;
}
