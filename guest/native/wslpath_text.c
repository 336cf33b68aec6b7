#include "wslpath_text.h"

#include <string.h>

/* U+F000 + c for c below 0x80 is EF 80 80+c or EF 81 80+(c-40h) in UTF-8 (RFC 3629). */
enum { ESCAPE_LEAD = 0xef, ESCAPE_SECOND = 0x80, CONTINUATION = 0x80, ESCAPE_BYTES = 3 };

static bool is_forbidden(unsigned char byte)
{
    return (byte > 0 && byte < 0x20) || (byte != 0 && strchr("\"*:<>?\\|", byte) != NULL);
}

char *text_escape(struct arena *arena, const char *path)
{
    char *escaped = arena_take(arena, strlen(path) * ESCAPE_BYTES + 1);
    char *to = escaped;

    for (; *path != '\0'; path++) {
        unsigned char byte = (unsigned char)*path;
        if (byte == '/') {
            *to++ = '\\';
        } else if (is_forbidden(byte)) {
            *to++ = (char)ESCAPE_LEAD;
            *to++ = (char)(ESCAPE_SECOND + (byte >> 6));
            *to++ = (char)(CONTINUATION + (byte & 0x3f));
        } else {
            *to++ = *path;
        }
    }
    *to = '\0';
    return escaped;
}

/* The forbidden character that an escape at `text` stands for; 0 if none begins there. */
static unsigned char read_escape(const char *text)
{
    const unsigned char *bytes = (const unsigned char *)text;

    if (bytes[0] != ESCAPE_LEAD || (bytes[1] & 0xfe) != ESCAPE_SECOND ||
        (bytes[2] & 0xc0) != CONTINUATION)
        return 0;
    unsigned char byte = (unsigned char)((bytes[1] & 1) << 6 | (bytes[2] & 0x3f));
    return is_forbidden(byte) ? byte : 0;
}

void text_unescape(char *path)
{
    char *to = path;

    while (*path != '\0') {
        unsigned char byte = read_escape(path);
        *to++ = byte != 0 ? (char)byte : *path;
        path += byte != 0 ? ESCAPE_BYTES : 1;
    }
    *to = '\0';
}

void text_replace(char *text, char from, char to)
{
    for (; *text != '\0'; text++)
        if (*text == from)
            *text = to;
}

size_t text_trimmed_length(const char *text, char separator)
{
    size_t length = strlen(text);

    while (length > 0 && text[length - 1] == separator)
        length--;
    return length;
}

static char fold(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char)(letter + 'a' - 'A') : letter;
}

bool text_begins_folded(const char *text, const char *prefix)
{
    for (; *prefix != '\0'; text++, prefix++)
        if (fold(*text) != fold(*prefix))
            return false;
    return true;
}

static bool is_separator(char byte)
{
    return byte == '\\' || byte == '/';
}

char *text_unify(struct arena *arena, const char *path, char separator)
{
    char *unified = arena_take(arena, strlen(path) + 1);
    char *to = unified;

    /* Of several at the start two are kept. */
    if (is_separator(path[0]) && is_separator(path[1]))
        *to++ = separator;
    for (; *path != '\0'; path++)
        if (!is_separator(*path))
            *to++ = *path;
        else if (!is_separator(path[1]))
            *to++ = separator;
    *to = '\0';
    return unified;
}

static bool is_letter(char byte)
{
    return fold(byte) >= 'a' && fold(byte) <= 'z';
}

bool text_is_absolute(const char *path)
{
    if (path[0] == '\0' || path[1] == '\0' || path[2] == '\0')
        return false;
    return (is_separator(path[0]) && is_separator(path[1])) ||
           (is_letter(path[0]) && path[1] == ':');
}

char *text_collapse(struct arena *arena, const char *path, char separator, size_t start)
{
    const char *at = strchr(path + start, separator);
    if (at == NULL)
        return arena_copy(arena, path, strlen(path));

    char *collapsed = arena_take(arena, strlen(path) + 2);
    size_t root = (size_t)(at - path);
    size_t end = root;
    bool directory = false;
    memcpy(collapsed, path, root);
    while (at != NULL) {
        const char *name = at + 1;
        at = strchr(name, separator);
        size_t length = at != NULL ? (size_t)(at - name) : strlen(name);
        directory = true;
        if (length == 2 && memcmp(name, "..", 2) == 0) {
            if (end == root)
                return NULL;
            while (collapsed[--end] != separator)
                ;
        } else if (length > 1 || (length == 1 && *name != '.')) {
            collapsed[end++] = separator;
            memcpy(collapsed + end, name, length);
            end += length;
            directory = false;
        }
    }
    if (directory || end == root)
        collapsed[end++] = separator;
    collapsed[end] = '\0';
    return collapsed;
}

char *text_canonical(struct arena *arena, const char *path)
{
    const char *unified = text_unify(arena, path, '\\');

    if (!text_is_absolute(unified))
        return NULL;
    if (strncmp(unified, "\\\\?\\", 4) == 0) {
        unified += 4;
        if (text_begins_folded(unified, "UNC\\"))
            unified = arena_join(arena, "\\\\", unified + 4, NULL);
    }
    if (strncmp(unified, "\\\\", 2) != 0)
        return *unified != '\0' && strncmp(unified + 1, ":\\", 2) == 0
                   ? text_collapse(arena, unified, '\\', 0)
                   : NULL;
    size_t server = strcspn(unified + 2, "\\");
    if (server == 0 || (server == 1 && (unified[2] == '.' || unified[2] == '?')))
        return NULL;
    return text_collapse(arena, unified, '\\', 2);
}
