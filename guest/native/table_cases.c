#include "table_cases.h"

#include "io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGEST_BYTES = 1 << 26 };

char *table_next_field(char **at, const char *end)
{
    char *field = *at;

    if (field >= end)
        exit(EXIT_FAILURE);
    *at = field + strlen(field) + 1;
    return field;
}

int table_run(void (*run_case)(char **at, const char *end))
{
    char *input = malloc(LARGEST_BYTES + 1);
    if (input == NULL)
        return EXIT_FAILURE;

    ssize_t length = io_read_full(STDIN_FILENO, input, LARGEST_BYTES);
    if (length < 0) {
        free(input);
        return EXIT_FAILURE;
    }
    input[length] = '\0';
    for (char *at = input; at < input + length;)
        run_case(&at, input + length);
    free(input);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
