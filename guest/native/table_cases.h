/* Not shipped: reading the cases of wslpath-table and wslenv-table. */
#ifndef ISTHMUS_TABLE_CASES_H
#define ISTHMUS_TABLE_CASES_H

/* The next NUL-ended field before `end`; ends the program if there is none. */
char *table_next_field(char **at, const char *end);

/* All of stdin, case by case: `run_case` takes one case's fields from `at`. Returns main's. */
int table_run(void (*run_case)(char **at, const char *end));

#endif
