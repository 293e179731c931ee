/* LanceRows: the rows of a version by number. Pages are read whole, so that mapped ones are pointed
 * at and not copied; of texts the offsets alone take memory. */
#include "lance/columns.h"

#include <stdlib.h>

#define READ_ROWS 65536

/* Rows [first, ...) of a fragment's column. */
typedef struct RowPiece {
    uint64_t first;
    LanceColumn column;
} RowPiece;

typedef struct RowColumn {
    RowPiece *pieces;
    size_t count, cap;
} RowColumn;

typedef struct RowFragment {
    uint64_t id, base, rows; /* base: number of its first row; rows: that are left */
    uint32_t *offsets;       /* of the rows that are left; NULL: all are */
    FragmentColumns columns;
    RowColumn *by_column;
} RowFragment;

struct LanceRows {
    LanceTable *table;
    Snapshot *snapshot;
    const LanceField **fields;
    size_t field_count;
    RowFragment *fragments;
    size_t fragment_count;
    uint64_t count;
    Arena arena;
};

static void piece_add(LanceRows *rows, RowColumn *column, RowPiece piece) {
    if (column->count == column->cap) {
        size_t cap = column->cap ? column->cap * 2 : 4;
        RowPiece *grown = arena_array(&rows->arena, RowPiece, cap);
        for (size_t i = 0; i < column->count; i++) grown[i] = column->pieces[i];
        column->pieces = grown;
        column->cap = cap;
    }
    column->pieces[column->count++] = piece;
}

static bool column_open(LanceRows *rows, RowFragment *fragment, size_t number, uint64_t physical,
                        Err *err) {
    FragmentColumns one = fragment->columns;
    LanceFile *file = one.files[number];
    one.fields += number;
    one.files += number;
    one.columns += number;
    one.count = 1;
    for (uint64_t at = 0; at < physical;) {
        RowPiece piece = {.first = at};
        uint64_t page = file ? lance_file_page_rows(file, one.columns[0], at) : physical - at;
        size_t count = (size_t)MIN(MIN(page, physical - at), (uint64_t)LANCE_BATCH_ROWS_MAX);
        if (count == 0) count = (size_t)MIN((uint64_t)READ_ROWS, physical - at);
        if (!fragment_columns_read(&one, at, count, &rows->arena, &piece.column, err)) return false;
        piece_add(rows, &fragment->by_column[number], piece);
        at += count;
    }
    return true;
}

static void offsets_keep(LanceRows *rows, RowFragment *fragment, uint64_t physical,
                         const NumberSet *deleted) {
    fragment->rows = physical - deleted->count;
    if (deleted->count == 0) return;
    fragment->offsets = arena_array(&rows->arena, uint32_t, fragment->rows);
    for (uint64_t i = 0, at = 0; i < physical && at < fragment->rows; i++)
        if (!set_has(deleted, i)) fragment->offsets[at++] = (uint32_t)i;
}

static bool fragment_open(LanceRows *rows, size_t place, Err *err) {
    const Fragment *entry = &snapshot_manifest(rows->snapshot)->fragments[place];
    RowFragment *fragment = &rows->fragments[place];
    const NumberSet *deleted;
    *fragment = (RowFragment){.id = entry->id, .base = rows->count};
    if (!snapshot_deleted(rows->table, rows->snapshot, place, &deleted, err) ||
        !fragment_columns_open(rows->table, entry, rows->fields, rows->field_count, &rows->arena,
                               &fragment->columns, err))
        return false;
    rows->fragment_count++;
    offsets_keep(rows, fragment, entry->physical_rows, deleted);
    rows->count += fragment->rows;
    fragment->by_column = arena_array(&rows->arena, RowColumn, rows->field_count);
    for (size_t c = 0; c < rows->field_count; c++)
        if (!column_open(rows, fragment, c, entry->physical_rows, err)) return false;
    return true;
}

bool lance_rows_open(LanceTable *table, const Str *columns, size_t count, LanceRows **out,
                     Err *err) {
    OWNED(lance_rows_close) LanceRows *rows = calloc(1, sizeof *rows);
    if (!rows) abort();
    rows->table = table;
    rows->snapshot = table_snapshot(table);
    rows->field_count = count;
    const Manifest *manifest = snapshot_manifest(rows->snapshot);
    if (!columns_find(manifest, columns, count, &rows->arena, &rows->fields, err)) return false;
    rows->fragments = arena_array(&rows->arena, RowFragment, manifest->fragment_count);
    for (size_t i = 0; i < manifest->fragment_count; i++)
        if (!fragment_open(rows, i, err)) return false;
    *out = TAKE(rows);
    return true;
}

void lance_rows_close(LanceRows **out) {
    LanceRows *rows = *out;
    if (!rows) return;
    for (size_t i = 0; i < rows->fragment_count; i++)
        fragment_columns_close(&rows->fragments[i].columns);
    snapshot_release(&rows->snapshot);
    arena_close(&rows->arena);
    free(rows);
    *out = NULL;
}

uint64_t lance_rows_count(const LanceRows *rows) {
    return rows->count;
}

size_t lance_rows_bytes(const LanceRows *rows) {
    return rows->arena.size_total;
}

static const RowFragment *fragment_of_row(const LanceRows *rows, uint64_t row) {
    size_t low = 0, high = rows->fragment_count - 1;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (rows->fragments[middle].base <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return &rows->fragments[low];
}

static uint64_t offset_of(const RowFragment *fragment, uint64_t row) {
    uint64_t at = row - fragment->base;
    return fragment->offsets ? fragment->offsets[at] : at;
}

uint64_t lance_rows_address(const LanceRows *rows, uint64_t row) {
    const RowFragment *fragment = fragment_of_row(rows, row);
    return fragment->id << 32 | offset_of(fragment, row);
}

uint64_t lance_rows_number(const LanceRows *rows, uint64_t address) {
    size_t place = snapshot_find(rows->snapshot, address >> 32);
    uint64_t offset = address & UINT32_MAX;
    if (place == SIZE_MAX) return UINT64_MAX;
    const RowFragment *fragment = &rows->fragments[place];
    if (!fragment->offsets) return offset < fragment->rows ? fragment->base + offset : UINT64_MAX;
    uint64_t low = 0, high = fragment->rows;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (fragment->offsets[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < fragment->rows && fragment->offsets[low] == offset;
    return found ? fragment->base + low : UINT64_MAX;
}

/* The piece of a row, and where in it the row is. */
static const LanceColumn *piece_of(const LanceRows *rows, size_t column, uint64_t row, size_t *at) {
    const RowFragment *fragment = fragment_of_row(rows, row);
    const RowColumn *pieces = &fragment->by_column[column];
    uint64_t offset = offset_of(fragment, row);
    size_t low = 0, high = pieces->count - 1;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (pieces->pieces[middle].first <= offset)
            low = middle;
        else
            high = middle - 1;
    }
    *at = (size_t)(offset - pieces->pieces[low].first);
    return &pieces->pieces[low].column;
}

const void *lance_rows_value(const LanceRows *rows, size_t column, uint64_t row) {
    size_t at;
    const LanceColumn *values = piece_of(rows, column, row, &at);
    if (lance_is_null(values, at)) return NULL;
    return (const uint8_t *)values->values + at * type_row_bytes(&rows->fields[column]->type);
}

Str lance_rows_text(const LanceRows *rows, size_t column, uint64_t row) {
    size_t at;
    const LanceColumn *values = piece_of(rows, column, row, &at);
    return lance_is_null(values, at) ? (Str){0} : lance_text(values, at);
}
