/* The vectors of a column: see vector_column.h. */
#include "lance/vector_column.h"
#include "lance/pq_kernels.h"

#include <stdlib.h>

static bool column_check(const LanceField *field, Err *err) {
    const LanceType *type = &field->type;
    if (type->kind == LANCE_VECTOR && type->item == LANCE_FLOAT && type->bits == 32) return true;
    return err_set(err, LH_INVALID,
                   "column '%.*s' has the type '%.*s'; vectors of 32-bit floats are searched",
                   SHOW(field->name), SHOW(type->logical));
}

/* Runs follow the pages of the file. What does not lie plainly is one run to the fragment's end:
 * asking page by page would read each of them. */
static void runs_find(VectorColumn *vectors, VectorFragment *fragment) {
    const LanceFile *file = fragment->columns.files[0];
    size_t cap = 0;
    for (uint64_t at = 0, rows; at < fragment->rows; at += rows) {
        const void *data = NULL;
        rows = fragment->rows - at;
        if (file)
            data = lance_file_place(file, fragment->columns.columns[0], &vectors->field->type, at,
                                    &rows);
        if (fragment->run_count == cap) {
            VectorRun *grown = arena_array(&vectors->arena, VectorRun, cap = cap ? cap * 2 : 8);
            for (size_t i = 0; i < fragment->run_count; i++) grown[i] = fragment->runs[i];
            fragment->runs = grown;
        }
        fragment->runs[fragment->run_count++] = (VectorRun){at, rows, data};
    }
}

static bool fragment_open(VectorColumn *vectors, size_t place, uint64_t base, Err *err) {
    const Fragment *entry = &snapshot_manifest(vectors->snapshot)->fragments[place];
    VectorFragment *fragment = &vectors->fragments[place];
    *fragment = (VectorFragment){.id = entry->id, .rows = entry->physical_rows, .base = base};
    if (!snapshot_deleted(vectors->table, vectors->snapshot, place, &fragment->deleted, err) ||
        !fragment_columns_open(vectors->table, entry, &vectors->field, 1, &vectors->arena,
                               &fragment->columns, err))
        return false;
    vectors->fragment_count++;
    runs_find(vectors, fragment);
    return true;
}

bool vector_column_open(LanceTable *table, Str column, VectorColumn **out, Err *err) {
    OWNED(snapshot_release) Snapshot *snapshot = table_snapshot(table);
    return vector_column_open_at(table, snapshot, column, out, err);
}

bool vector_column_open_at(LanceTable *table, Snapshot *snapshot, Str column, VectorColumn **out,
                           Err *err) {
    OWNED(vector_column_close) VectorColumn *vectors = calloc(1, sizeof *vectors);
    const LanceField **fields;
    if (!vectors) abort();
    vectors->table = table;
    vectors->snapshot = snapshot_hold(snapshot);
    const Manifest *manifest = snapshot_manifest(vectors->snapshot);
    if (!columns_find(manifest, &column, 1, &vectors->arena, &fields, err) ||
        !column_check(fields[0], err))
        return false;
    vectors->field = fields[0];
    vectors->dimension = fields[0]->type.dimension;
    vectors->fragments = arena_array(&vectors->arena, VectorFragment, manifest->fragment_count);
    for (size_t i = 0; i < manifest->fragment_count; i++) {
        if (!fragment_open(vectors, i, vectors->rows, err)) return false;
        vectors->rows += manifest->fragments[i].physical_rows;
    }
    *out = TAKE(vectors);
    return true;
}

void vector_column_close(VectorColumn **out) {
    VectorColumn *vectors = *out;
    if (!vectors) return;
    for (size_t i = 0; i < vectors->fragment_count; i++)
        fragment_columns_close(&vectors->fragments[i].columns);
    snapshot_release(&vectors->snapshot);
    arena_close(&vectors->arena);
    free(vectors);
    *out = NULL;
}

const VectorFragment *vector_column_fragment(const VectorColumn *vectors, uint64_t id) {
    size_t low = 0, high = vectors->fragment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (vectors->fragments[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < vectors->fragment_count && vectors->fragments[low].id == id;
    return found ? &vectors->fragments[low] : NULL;
}

static const float *row_in_place(const VectorFragment *fragment, uint64_t offset,
                                 size_t dimension) {
    size_t low = 0, high = fragment->run_count - 1;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (fragment->runs[middle].first <= offset)
            low = middle;
        else
            high = middle - 1;
    }
    const VectorRun *run = &fragment->runs[low];
    return run->data ? run->data + (offset - run->first) * dimension : NULL;
}

bool vector_column_row(const VectorColumn *vectors, const VectorFragment *fragment, uint64_t offset,
                       Arena *arena, const float **out, Err *err) {
    LanceColumn column;
    *out = row_in_place(fragment, offset, vectors->dimension);
    if (*out) return true;
    if (!vector_column_read(fragment, offset, 1, arena, &column, err)) return false;
    *out = vector_is_null(&column, 0, vectors->dimension) ? NULL : column.values;
    return true;
}

bool vector_column_read(const VectorFragment *fragment, uint64_t from, size_t count, Arena *arena,
                        LanceColumn *column, Err *err) {
    return fragment_columns_read(&fragment->columns, from, count, arena, column, err);
}

bool vector_is_null(const LanceColumn *column, size_t row, size_t dimension) {
    if (lance_is_null(column, row)) return true;
    for (size_t i = 0; column->items && i < dimension; i++)
        if (!lance_bit(column->items, row * dimension + i)) return true;
    return false;
}

bool vector_is_sound(const float *vector, size_t dimension, LanceMetric metric) {
    float length = pq_kernels()->dot(vector, vector, dimension);
    return length <= VECTOR_LENGTH_MAX * VECTOR_LENGTH_MAX &&
           (metric != LANCE_COSINE || length > 0);
}
