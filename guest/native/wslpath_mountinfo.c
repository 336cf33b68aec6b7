#include "wslpath_mountinfo.h"

#include "wslpath_text.h"

#include <string.h>

enum { OWN_FIELDS = 6, OCTAL_BYTES = 4 };

/* The byte that \ooo at `text` stands for, as the kernel's seq_escape writes blanks and the like;
 * 0 where there is no such sequence, and for \000, which is in no path. */
static unsigned char read_octal(const char *text)
{
    unsigned value = 0;

    if (text[0] != '\\')
        return 0;
    for (int i = 1; i < OCTAL_BYTES; i++) {
        if (text[i] < '0' || text[i] > '7')
            return 0;
        value = value * 8 + (unsigned)(text[i] - '0');
    }
    return value < 256 ? (unsigned char)value : 0;
}

static void unescape_octal(char *field)
{
    char *to = field;

    while (*field != '\0') {
        unsigned char byte = read_octal(field);
        *to++ = byte != 0 ? (char)byte : *field;
        field += byte != 0 ? OCTAL_BYTES : 1;
    }
    *to = '\0';
}

/* Some kernels do not escape options, so the `path=C:\;` they print must stay: only an option
 * whose every backslash begins an escape is unescaped. */
static void unescape_option(char *option)
{
    for (const char *at = option; (at = strchr(at, '\\')) != NULL; at += OCTAL_BYTES)
        if (read_octal(at) == 0)
            return;
    unescape_octal(option);
}

/* The next part of `*rest` up to `separator`, which is overwritten; NULL after the last. */
static char *next_part(char **rest, char separator)
{
    char *part = *rest;

    if (part != NULL) {
        char *end = strchr(part, separator);
        if (end != NULL)
            *end++ = '\0';
        *rest = end;
    }
    return part;
}

/* The Windows path in WSL's 9p options (aname=drvfs;path=C:\;uid=0;...), NULL for none. */
static const char *plan9_source(struct arena *arena, char *options)
{
    char *option;

    while ((option = next_part(&options, ',')) != NULL) {
        if (strncmp(option, "aname=drvfs", strlen("aname=drvfs")) != 0)
            continue;
        unescape_option(option);
        char *part;
        while ((part = next_part(&option, ';')) != NULL) {
            if (strncmp(part, "path=", strlen("path=")) != 0)
                continue;
            part += strlen("path=");
            text_replace(part, '/', '\\');
            return strncmp(part, "UNC\\", 4) == 0 ? arena_join(arena, "\\\\", part + 4, NULL)
                                                   : part;
        }
    }
    return NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);

    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

/* The Windows path that a mount with these fields stands for, NULL if it is no drive. */
static const char *windows_path(struct arena *arena, const char *kind, const char *source,
                                char *options, const char *root)
{
    if (strcmp(kind, "9p") == 0)
        source = plan9_source(arena, options);
    else if (strcmp(kind, "fuse.drvfs") != 0 && strcmp(kind, "drvfs") != 0)
        return NULL;
    /* The kernel adds this to the root of a bind mount whose directory has been removed. */
    if (source == NULL || ends_with(root, "//deleted"))
        return NULL;

    char *shown = text_canonical(arena, arena_join(arena, source, "\\", NULL));
    if (shown == NULL)
        return NULL;
    shown[text_trimmed_length(shown, '\\')] = '\0';
    if (strcmp(root, "/") != 0) {
        shown = arena_join(arena, shown, text_escape(arena, root), NULL);
        shown[text_trimmed_length(shown, '\\')] = '\0';
    }
    return shown;
}

bool mountinfo_parse_line(struct arena *arena, char *line, struct mount *mount)
{
    char *fields[OWN_FIELDS];
    /* Fields are separated by one blank each, so an empty mount source stands between two. */
    char *rest = strstr(line, " - ");

    if (rest == NULL)
        return false;
    *rest = '\0';
    rest += strlen(" - ");
    for (int i = 0; i < OWN_FIELDS; i++)
        if ((fields[i] = next_part(&line, ' ')) == NULL)
            return false;
    char *kind = next_part(&rest, ' ');
    char *source = next_part(&rest, ' ');
    if (kind == NULL || source == NULL || rest == NULL)
        return false;
    for (int i = 3; i < 5; i++)
        unescape_octal(fields[i]);
    unescape_octal(source);
    *mount = (struct mount){
        .identity = fields[0],
        .parent = fields[1],
        .point = fields[4],
        .windows = windows_path(arena, kind, source, rest, fields[3]),
    };
    return mount->point[0] == '/';
}
