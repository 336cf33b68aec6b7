#include "pump_flight.h"

#include <stdlib.h>

enum { FIRST_SIZE = 64 };

/* Numbers of requests are even and count up (FUSE_REQ_ID_STEP): spread by Knuth's constant. */
static size_t slot_of(const struct flight *flight, uint64_t number)
{
    return (size_t)((number * 0x9E3779B97F4A7C15u) >> 32) & (flight->size - 1);
}

static void insert(struct flight *flight, uint64_t number)
{
    size_t slot = slot_of(flight, number);

    while (flight->slots[slot] != 0)
        slot = (slot + 1) & (flight->size - 1);
    flight->slots[slot] = number;
    flight->count++;
}

static bool grow(struct flight *flight)
{
    struct flight bigger = {.size = flight->size == 0 ? FIRST_SIZE : flight->size * 2};

    bigger.slots = calloc(bigger.size, sizeof *bigger.slots);
    if (bigger.slots == NULL)
        return false;
    for (size_t i = 0; i < flight->size; i++)
        if (flight->slots[i] != 0)
            insert(&bigger, flight->slots[i]);
    free(flight->slots);
    *flight = bigger;
    return true;
}

bool flight_add(struct flight *flight, uint64_t number)
{
    if (flight->count >= flight->size / 2 && !grow(flight))
        return false;
    insert(flight, number);
    return true;
}

/* Those that follow without a gap may have been put there because the slot was taken. */
static void clear(struct flight *flight, size_t slot)
{
    flight->slots[slot] = 0;
    flight->count--;
    for (size_t next = (slot + 1) & (flight->size - 1); flight->slots[next] != 0;
         next = (next + 1) & (flight->size - 1)) {
        uint64_t number = flight->slots[next];
        flight->slots[next] = 0;
        flight->count--;
        insert(flight, number);
    }
}

bool flight_remove(struct flight *flight, uint64_t number)
{
    if (flight->count == 0)
        return false;
    for (size_t slot = slot_of(flight, number); flight->slots[slot] != 0;
         slot = (slot + 1) & (flight->size - 1))
        if (flight->slots[slot] == number) {
            clear(flight, slot);
            return true;
        }
    return false;
}

uint64_t flight_take(struct flight *flight)
{
    for (size_t slot = 0; flight->count > 0 && slot < flight->size; slot++)
        if (flight->slots[slot] != 0) {
            uint64_t number = flight->slots[slot];
            clear(flight, slot);
            return number;
        }
    return 0;
}
