#include "base/memory.h"

#include <stdlib.h>
#include <sys/mman.h>

#define LINE 64
#define HUGE_PAGE ((size_t)2 << 20)
#define LARGE (2 * HUGE_PAGE)

void *memory_aligned(size_t size) {
    size_t unit = size >= LARGE ? HUGE_PAGE : LINE;
    size_t whole = (size / unit + (size % unit != 0 || size == 0)) * unit;
    void *memory = aligned_alloc(unit, whole);
    if (!memory) abort();
    if (unit == HUGE_PAGE) madvise(memory, whole, MADV_HUGEPAGE); /* advice: it may be declined */
    return memory;
}
