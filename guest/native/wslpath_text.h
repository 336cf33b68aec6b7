/* Windows paths as text (docs/paths.md §2): wire/windowspath.py in C, byte for byte.
 *
 * Paths are bytes here and characters there. That is the same as long as only ASCII bytes and
 * whole characters are looked for, which holds for all of this: no UTF-8 sequence has either as
 * a part. */
#ifndef ISTHMUS_WSLPATH_TEXT_H
#define ISTHMUS_WSLPATH_TEXT_H

#include "wslpath_arena.h"

#include <stdbool.h>
#include <stddef.h>

/* A Linux path, or a part of one, in Windows' terms: '/' is '\', forbidden characters c are
 * U+F000 + c in UTF-8. */
char *text_escape(struct arena *arena, const char *path);

/* The same undone, but for separators: in place, since it only gets shorter. */
void text_unescape(char *path);

/* Replace every `from` by `to`, in place. */
void text_replace(char *text, char from, char to);

/* The length of `text` without the `separator`s at its end. */
size_t text_trimmed_length(const char *text, char separator);

/* Whether `text` begins with `prefix`, ASCII letters taken without regard to case. Other letters
 * have to be the same: Windows' own table is the volume's ($UpCase), and not known here. */
bool text_begins_folded(const char *text, const char *prefix);

/* Every '/' and '\' as `separator`, once each, but for a pair at the start. */
char *text_unify(struct arena *arena, const char *path, char separator);

/* Whether WSL takes `path` for an absolute Windows path: \\x..., X:x... and no shorter. */
bool text_is_absolute(const char *path);

/* `path` without empty, "." and ".." components, the first one after `start` kept as the root.
 * NULL where it leads above that. */
char *text_collapse(struct arena *arena, const char *path, char separator, size_t start);

/* An absolute Windows path in its one form. NULL where it is not absolute or malformed. */
char *text_canonical(struct arena *arena, const char *path);

#endif
