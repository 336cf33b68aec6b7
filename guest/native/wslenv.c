#include "wslenv.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static const char NAME[] = "WSLENV";
static const char FLAGS[] = "pluw";
static const char BLANKS[] = " \t\n\v\f\r";

static const char *value_of(char *const *environment, const char *name, size_t length)
{
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

/* The list `value` in Windows' form, "" if nothing of it is left. */
static char *translate_list(struct translator *translator, const char *value,
                            const struct wslenv_sink *sink)
{
    struct arena *arena = translator->arena;
    char *list = arena_join(arena, NULL);

    while (*value != '\0') {
        size_t length = strcspn(value, ":");
        const char *path = arena_copy(arena, value, length);
        value += length + (value[length] == ':');
        if (length == 0)
            continue;
        const char *translated = translate_to_windows(translator, path, false);
        /* One that holds the separator would be two. */
        if (translated == NULL || strchr(translated, ';') != NULL)
            sink->untranslatable(sink->context, path);
        else
            list = arena_join(arena, list, *list != '\0' ? ";" : "", translated, NULL);
    }
    return list;
}

/* One entry of WSLENV, `length` bytes of NAME or NAME/flags. */
static void take_entry(struct translator *translator, char *const *environment,
                       const char *entry, size_t length, const struct wslenv_sink *sink)
{
    const char *text = arena_copy(translator->arena, entry, length);
    size_t name_length = strcspn(text, "/");
    const char *flags = text[name_length] == '/' ? text + name_length + 1 : "";
    const char *name = arena_copy(translator->arena, text, name_length);

    /* An unknown flag may be a newer WSL's: such an entry is not for us. */
    if (name_length == 0 || strchr(name, '=') != NULL || strcmp(name, NAME) == 0 ||
        flags[strspn(flags, FLAGS)] != '\0' || strchr(flags, 'u') != NULL)
        return;
    const char *value = value_of(environment, name, name_length);
    if (value != NULL && strpbrk(flags, "pl") != NULL) {
        value = translate_list(translator, value, sink);
        if (*value == '\0')
            return;
    }
    sink->variable(sink->context, name, value != NULL ? value : "");
}

void wslenv_to_windows(struct translator *translator, char *const *environment,
                       const struct wslenv_sink *sink)
{
    const char *list = value_of(environment, NAME, strlen(NAME));
    if (list == NULL)
        list = "";
    sink->variable(sink->context, NAME, list);

    size_t left = strlen(list);
    while (left > 0 && strchr(BLANKS, list[left - 1]) != NULL)
        left--;
    while (left > 0) {
        const char *colon = memchr(list, ':', left);
        size_t length = colon != NULL ? (size_t)(colon - list) : left;
        take_entry(translator, environment, list, length, sink);
        size_t used = length + (colon != NULL);
        list += used;
        left -= used;
    }
}
