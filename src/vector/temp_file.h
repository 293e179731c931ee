/* Bytes that grow in a file without a name, for what a build collects and may not fit in memory.
 * Thread rule: one at a time. */
#pragma once

#include "base/base.h"

typedef struct TempFile {
    int fd; /* -1: not open */
    Text pending;
    uint64_t size;
    void *map;
    size_t map_size;
} TempFile;

#define TEMP_FILE_EMPTY                                                                            \
    { .fd = -1 }

bool temp_file_open(const char *path, TempFile *out,
                    Err *err); /* the name is gone when it returns */
void temp_file_close(TempFile *file);
bool temp_file_add(TempFile *file, Bytes data, Err *err);
bool temp_file_map(TempFile *file, Bytes *out,
                   Err *err); /* all of it, until temp_file_close; add no more */
