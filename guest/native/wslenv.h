/* WSLENV, from Linux to Windows (docs/paths.md §3): that half of wire/wslenv.py in C. */
#ifndef ISTHMUS_WSLENV_H
#define ISTHMUS_WSLENV_H

#include "wslpath_translate.h"

/* Where the outcome goes. A value may be empty: the variable is to be deleted. Of two for one name
 * the last counts. `path` could not be translated, and was left out of a list. */
struct wslenv_sink {
    void (*variable)(void *context, const char *name, const char *value);
    void (*untranslatable)(void *context, const char *path);
    void *context;
};

/* The variables of `environment` (NULL ends it) that a Windows process gets. Links are not
 * followed if translator->world does not. */
void wslenv_to_windows(struct translator *translator, char *const *environment,
                       const struct wslenv_sink *sink);

#endif
