/* The least of many distances, kept by a bound: what is above it is not even looked at. A list of
 * twice as many as are wanted; when it is full, the better half stays. Belongs to one thread.
 * Internal to lance. */
#pragma once

#include "base/base.h"

#include <string.h>

/* Distance and number in one word that sorts as they do. */
static inline uint64_t near_key(float distance, uint32_t number) {
    uint32_t bits;
    memcpy(&bits, &distance, sizeof bits);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | number;
}

static inline float near_distance(uint64_t key) {
    uint32_t bits = (uint32_t)(key >> 32);
    float distance;
    bits = bits & 0x80000000u ? bits & 0x7fffffffu : ~bits;
    memcpy(&distance, &bits, sizeof distance);
    return distance;
}

typedef struct Nearest {
    uint64_t *keys;
    size_t len, wanted;
    float limit; /* distances from here on are not among them */
} Nearest;

void nearest_open(Nearest *nearest, size_t wanted, Arena *arena);
void nearest_cut(Nearest *nearest);
static inline void nearest_add(Nearest *nearest, float distance, uint32_t number) {
    if (!(distance < nearest->limit)) return;
    nearest->keys[nearest->len++] = near_key(distance, number);
    if (nearest->len == nearest->wanted * 2) nearest_cut(nearest);
}
/* At most `wanted`, in ascending order. */
void nearest_finish(Nearest *nearest);
/* The `count` least of `len` keys come first, in no order. */
void keys_select(uint64_t *keys, size_t len, size_t count);
void keys_sort(uint64_t *keys, size_t len);
