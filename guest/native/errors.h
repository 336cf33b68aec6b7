/* What an errno is called: in glibc's words, whatever the C library. */
#ifndef ISTHMUS_ERRORS_H
#define ISTHMUS_ERRORS_H

/* strerror(3) with the words that wire/strerror.py has. */
const char *errors_text(int number);

#endif
