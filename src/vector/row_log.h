/* The log of what was put into an index and deleted from it: immutable objects under one prefix, in
 * the order of their numbers from 1.
 *
 *     <prefix><number, 20 digits>.rows                    one batch (row_batch.h)
 *     <prefix><last, 20 digits>_<first, 20 digits>.rows   what stands for first to last
 *
 * A batch is written under the number that follows the last one known, on the condition that it is
 * free; where another server was quicker, its batch is read and the next number tried. Merging
 * writes an object that stands for many and then removes these. A number that such a removal left
 * free counts for nothing: whoever wrote there sees, by listing, the object that covers it, and
 * takes the next. A listing in the order of keys meets either the merged object or all that it
 * stands for, as it is durable before they go and comes after them.
 *
 * Thread rule: a RowLog is only read here; *known and what is applied to belong to the caller. */
#pragma once

#include "vector/row_batch.h"

#include "storage/storage.h"

typedef struct RowLog {
    Store *store;
    Str prefix; /* ends with a slash */
} RowLog;

typedef bool RowApply(void *context, const RowBatch *batch, Err *err);

/* Applies what follows *known, in order; *known follows. LH_CORRUPT when batches are missing or
 * damaged. */
bool row_log_replay(const RowLog *log, uint64_t *known, RowApply *apply, void *context, Err *err);
/* Makes the batch durable under the next number (batch->first and last are set here), then applies
 * it, after those of others that came before. LH_BUSY when others are quicker all the time. After
 * LH_OFFLINE it may be there or not. */
bool row_log_append(const RowLog *log, RowBatch *batch, uint64_t *known, RowApply *apply,
                    void *context, Err *err);

/* The objects, as merging sees them: in the order of `last`, those that another covers left out. */
typedef struct RowObject {
    uint64_t first, last, size;
    Str key;
} RowObject;
/* Of those that end after `after`; in the arena. */
bool row_log_list(const RowLog *log, uint64_t after, Arena *arena, RowObject **out, size_t *count,
                  Err *err);
bool row_log_read(const RowLog *log, const RowObject *object, Arena *arena, RowBatch *out,
                  Err *err);
/* Writes the batch as what stands for its range, then removes the objects within that range. */
bool row_log_replace(const RowLog *log, const RowBatch *merged, Err *err);
/* row_merge.c. Joins the last objects into one where they are many; *merged says how many were.
 * LH_MISSING when another server is at it. */
bool row_log_merge(const RowLog *log, size_t dimensions, size_t *merged, Err *err);
