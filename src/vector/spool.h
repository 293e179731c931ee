/* Bytes that grow in a file without a name, for what a build collects and may not fit in memory.
 * Thread rule: one at a time. */
#pragma once

#include "base/base.h"

typedef struct Spool {
    int fd; /* -1: not open */
    Text pending;
    uint64_t size;
    void *map;
    size_t map_size;
} Spool;

#define SPOOL_EMPTY                                                                                \
    { .fd = -1 }

bool spool_open(const char *path, Spool *out, Err *err); /* the name is gone when it returns */
void spool_close(Spool *spool);
bool spool_add(Spool *spool, Bytes data, Err *err);
bool spool_map(Spool *spool, Bytes *out, Err *err); /* all of it, until spool_close; add no more */
