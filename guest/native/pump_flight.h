/* Which requests the server has been given and has not answered: a set of their numbers. */
#ifndef ISTHMUS_PUMP_FLIGHT_H
#define ISTHMUS_PUMP_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Starts as zeroes. `slots` is a hash table with open addressing: 0 marks a free one, for no
 * request has that number (linux/fuse.h: it is what notifications have). */
struct flight {
    uint64_t *slots;
    size_t size;
    size_t count;
};

/* Add a number that is not in it. Returns false if there is no memory. */
bool flight_add(struct flight *flight, uint64_t number);

/* Take a number out. Returns whether it was in. */
bool flight_remove(struct flight *flight, uint64_t number);

/* Take any one out. Returns 0 if there is none. */
uint64_t flight_take(struct flight *flight);

#endif
