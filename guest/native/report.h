/* Messages for whoever reads a program's stderr: one line each, never a reason to block or fail. */
#ifndef ISTHMUS_REPORT_H
#define ISTHMUS_REPORT_H

/* The name that starts every line. The string is kept, not copied. */
void report_set_program(const char *name);

/* Write "program: message\n" to stderr in a single write, cut off at 500 bytes. Bytes below 0x20
 * are written as '?', since parts of a message may come from a hostile file system. If stderr
 * has no room now the line is dropped: a full pipe must not stop a process that serves others. */
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
