/* Sets of 32-bit numbers as Lance keeps them: deleted offsets of a fragment, fragments that an
 * index covers. On disk a set is a Roaring bitmap (portable serialisation,
 * https://github.com/RoaringBitmap/RoaringFormatSpec), or, for deleted offsets that LanceDB wrote,
 * an Arrow IPC file of one UInt32 column. In memory it is a plain bitmap: membership is asked for
 * every row of every scan. Thread rule: a set is immutable once shared. Internal to lance. */
#pragma once

#include "lance/manifest.h"

#define SET_VALUES_MAX LANCE_FRAGMENT_ROWS_MAX /* a bitmap of 32 MiB */

typedef struct NumberSet {
    uint64_t *words;
    size_t bits; /* room: a multiple of 64 */
    uint64_t count;
} NumberSet;

void set_close(NumberSet *set);
bool set_has(const NumberSet *set, uint64_t value);
bool set_add(NumberSet *set, uint32_t value); /* false: it is there. value < SET_VALUES_MAX */
void set_add_all(NumberSet *set, const NumberSet *other);
/* The smallest value >= from; false: none. */
bool set_next(const NumberSet *set, uint64_t from, uint32_t *out);

/* The portable form; array, bitmap and run containers are read, arrays and bitmaps written. Every
 * value must be below `limit`: LH_CORRUPT. */
bool roaring_read(Bytes bytes, uint64_t limit, NumberSet *out, Err *err);
void roaring_write(const NumberSet *set, Text *out);
/* The one UInt32 column of an Arrow IPC file with one record batch, plain, zstd or LZ4. */
bool deletion_arrow_read(Bytes file, uint64_t limit, NumberSet *out, Err *err);

/* A fragment's deleted offsets; empty when it has no deletion file. */
bool deletion_load(Store *store, Str path, const Fragment *fragment, NumberSet *out, Err *err);
/* Writes `set` as the fragment's next deletion file (.bin) and describes it in *out. */
bool deletion_save(Store *store, Str path, uint64_t fragment_id, uint64_t read_version,
                   const NumberSet *set, Arena *arena, DeletionFile *out, Err *err);
