/* The vectors of a column at one version, row by row: where they lie in mapped files, or read when
 * asked for. What builds an index reads them all, a search the few that it ranks again, and those
 * that no index covers. Thread safe once open. Internal to lance. */
#pragma once

#include "lance/columns.h"

/* Rows of a fragment whose vectors lie one after the other; data NULL: they must be read. */
typedef struct VectorRun {
    uint64_t first, rows;
    const float *data;
} VectorRun;

typedef struct VectorFragment {
    uint64_t id, rows, base; /* base: rows of the fragments before it */
    const NumberSet *deleted;
    FragmentColumns columns;
    VectorRun *runs;
    size_t run_count;
} VectorFragment;

typedef struct VectorColumn {
    LanceTable *table;
    Snapshot *snapshot;
    const LanceField *field;
    size_t dimension;
    VectorFragment *fragments; /* in order of id */
    size_t fragment_count;
    uint64_t rows; /* deleted ones too */
    Arena arena;
} VectorColumn;

/* LH_INVALID when the column is not of vectors of 32-bit floats. */
bool vector_column_open(LanceTable *table, Str column, VectorColumn **out, Err *err);
/* At a version that the caller holds. */
bool vector_column_open_at(LanceTable *table, Snapshot *snapshot, Str column, VectorColumn **out,
                           Err *err);
void vector_column_close(VectorColumn **vectors);
const VectorFragment *vector_column_fragment(const VectorColumn *vectors,
                                             uint64_t id); /* NULL: none */
/* Of a row that is not deleted; *out NULL: it has none. It points into the file or the arena. */
bool vector_column_row(const VectorColumn *vectors, const VectorFragment *fragment, uint64_t offset,
                       Arena *arena, const float **out, Err *err);
/* `count` rows from `from` on, `dimension` floats each; *column says which are null. */
bool vector_column_read(const VectorFragment *fragment, uint64_t from, size_t count, Arena *arena,
                        LanceColumn *column, Err *err);
bool vector_is_null(const LanceColumn *column, size_t row, size_t dimension);
/* Whether a vector can be compared: not so long that products with it might not be finite, and for
 * the cosine not of length 0. */
#define VECTOR_LENGTH_MAX 1e15f
bool vector_is_sound(const float *vector, size_t dimension, LanceMetric metric);
