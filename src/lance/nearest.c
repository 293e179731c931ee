/* See nearest.h. Selection by Hoare's quickselect, with the median of three. */
#include "lance/nearest.h"

#include <stdlib.h>

static uint64_t median_of(uint64_t a, uint64_t b, uint64_t c) {
    if (a > b) {
        uint64_t larger = a;
        a = b;
        b = larger;
    }
    return c < a ? a : c > b ? b : c;
}

void keys_select(uint64_t *keys, size_t len, size_t count) {
    size_t low = 0, high = len;
    while (count > low && count < high && high - low > 1) {
        uint64_t pivot = median_of(keys[low], keys[low + (high - low) / 2], keys[high - 1]);
        size_t left = low, right = high - 1;
        for (;;) {
            while (keys[left] < pivot) left++;
            while (keys[right] > pivot) right--;
            if (left >= right) break;
            uint64_t swapped = keys[left];
            keys[left++] = keys[right];
            keys[right--] = swapped;
        }
        if (right + 1 == high) right--; /* all the others are less: the pivot stands alone */
        if (count <= right + 1)
            high = right + 1;
        else
            low = right + 1;
    }
}

static int by_value(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* Few are sorted by insertion: qsort's calls cost more than its comparisons save. */
void keys_sort(uint64_t *keys, size_t len) {
    if (len > 64) {
        qsort(keys, len, sizeof *keys, by_value);
        return;
    }
    for (size_t i = 1; i < len; i++) {
        uint64_t key = keys[i];
        size_t at = i;
        for (; at > 0 && keys[at - 1] > key; at--) keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

void nearest_open(Nearest *nearest, size_t wanted, Arena *arena) {
    *nearest = (Nearest){.wanted = MAX(wanted, (size_t)1), .limit = 3e38f};
    nearest->keys = arena_array(arena, uint64_t, nearest->wanted * 2);
}

void nearest_cut(Nearest *nearest) {
    uint64_t worst = 0;
    if (nearest->len <= nearest->wanted) return;
    keys_select(nearest->keys, nearest->len, nearest->wanted);
    nearest->len = nearest->wanted;
    for (size_t i = 0; i < nearest->len; i++) worst = MAX(worst, nearest->keys[i]);
    nearest->limit = near_distance(worst);
}

void nearest_finish(Nearest *nearest) {
    nearest_cut(nearest);
    keys_sort(nearest->keys, nearest->len);
}
