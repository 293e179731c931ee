/* Rows put into an index and documents deleted from it, as one object of its log (row_log.h).
 * Vectors are kept as they were given, so that reading them again embeds nothing.
 *
 *     offset  size  meaning
 *     0       64    header: RowBatchHeader, little-endian
 *     64      ...   vectors: put_count of dimensions float32; then a uint32 length a delete; a
 *                   RowPutHeader a put; the bytes of the deletes' doc_ids; of each put's doc_id and
 *                   text
 *
 * Deletes come before puts, and a put replaces whatever its document had before the batch. So the
 * state of every document named here is known after it, whatever was before: a batch may be applied
 * twice, and one may stand for a range of others (first to last). Pure; thread safe. */
#pragma once

#include "base/base.h"

#define ROW_BATCH_SIZE_MAX (256u << 20) /* of the object */
#define ROW_BATCH_DIMENSIONS_MAX 65536

typedef struct RowBatchHeader {
    char magic[8]; /* "LHROWS" */
    uint32_t version, dimensions;
    uint64_t first, last; /* numbers in the log */
    uint32_t delete_count, put_count;
    uint64_t strings_size;
    uint32_t unused[3], crc; /* crc: of all the rest */
} RowBatchHeader;

typedef struct RowPutHeader {
    uint32_t id_len, text_len, chunk;
} RowPutHeader;

typedef struct RowPut {
    Str doc_id, text;
    uint32_t chunk;
    const float *vector; /* dimensions floats, finite */
} RowPut;

typedef struct RowBatch {
    uint64_t first, last;
    size_t dimensions; /* 0 where nothing is put */
    Str *deletes;
    size_t delete_count;
    RowPut *puts; /* rows of one document follow one another */
    size_t put_count;
} RowBatch;

/* The size of the object. */
size_t row_batch_size(const RowBatch *batch);
void row_batch_encode(const RowBatch *batch, Text *out);
/* Borrows strings from `data`, the rest is in the arena. LH_CORRUPT; LH_IMPOSSIBLE for another
 * version. */
bool row_batch_decode(Bytes data, Arena *arena, RowBatch *out, Err *err);
