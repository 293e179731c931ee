/* The bytes of one immutable file: mapped where the file is one of this machine's, else read by
 * ranges through the store's read cache. Thread safe. Internal to lance. */
#pragma once

#include "base/base.h"
#include "storage/storage.h"

typedef struct ByteSource ByteSource;
bool source_open(Store *store, Str key, ByteSource **out, Err *err);
ByteSource *source_of_bytes(Bytes bytes); /* which must outlive it */
void source_close(ByteSource **source);
uint64_t source_size(const ByteSource *source);
bool source_holds(const ByteSource *source, const void *data); /* whether it is of the mapping */
/* Exactly `size` bytes: points into the mapping, or into the arena. LH_CORRUPT beyond the end. */
bool source_read(const ByteSource *source, uint64_t offset, uint64_t size, Arena *arena, Bytes *out,
                 Err *err);
