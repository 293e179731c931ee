/* A scan: fragment by fragment, a range of physical rows at a time, less the deleted ones. A range
 * without deleted rows is handed out as it was read, which for local files is where it lies. */
#include "lance/columns.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_ROWS 1024

struct LanceScan {
    LanceTable *table;
    Snapshot *snapshot;
    Arena arena, batch; /* of the scan; of the batch that was handed out last */
    const LanceField **fields;
    size_t field_count, batch_rows;
    const size_t *fragments; /* places in the manifest */
    size_t fragment_count, fragment;
    uint64_t row; /* next of the fragment */
    bool opened;
    Arena opened_arena; /* of the fragment's files */
    FragmentColumns columns;
};

static bool fragments_choose(LanceScan *scan, const LanceScanOptions *options, Err *err) {
    const Manifest *manifest = snapshot_manifest(scan->snapshot);
    size_t count = options->fragments ? options->fragment_count : manifest->fragment_count;
    size_t *places = arena_array(&scan->arena, size_t, count);
    for (size_t i = 0; i < count; i++) {
        places[i] = options->fragments ? snapshot_find(scan->snapshot, options->fragments[i]) : i;
        if (places[i] == SIZE_MAX)
            return err_code(err, LH_MISSING, "fragment_not_found", "there is no fragment %llu",
                            (unsigned long long)options->fragments[i]);
    }
    scan->fragments = places;
    scan->fragment_count = count;
    return true;
}

bool lance_scan(LanceTable *table, const LanceScanOptions *options, LanceScan **out, Err *err) {
    OWNED(lance_scan_close) LanceScan *scan = calloc(1, sizeof *scan);
    if (!scan) abort();
    scan->table = table;
    scan->snapshot = table_snapshot(table);
    scan->batch_rows = options->batch_rows ? options->batch_rows : BATCH_ROWS;
    scan->field_count = options->column_count;
    if (scan->batch_rows > LANCE_BATCH_ROWS_MAX)
        return err_set(err, LH_TOO_BIG, "a batch has at most %u rows, not %zu",
                       LANCE_BATCH_ROWS_MAX, scan->batch_rows);
    if (!fragments_choose(scan, options, err) ||
        !columns_find(snapshot_manifest(scan->snapshot), options->columns, options->column_count,
                      &scan->arena, &scan->fields, err))
        return false;
    *out = TAKE(scan);
    return true;
}

static void fragment_leave(LanceScan *scan) {
    if (scan->opened) fragment_columns_close(&scan->columns);
    arena_close(&scan->opened_arena);
    scan->opened = false;
}

void lance_scan_close(LanceScan **out) {
    LanceScan *scan = *out;
    if (!scan) return;
    fragment_leave(scan);
    snapshot_release(&scan->snapshot);
    arena_close(&scan->batch);
    arena_close(&scan->arena);
    free(scan);
    *out = NULL;
}

/* The rows of [from, from + count) that are left, as offsets within the range. */
static size_t rows_left(const NumberSet *deleted, uint64_t from, size_t count, uint32_t *out) {
    size_t left = 0;
    for (size_t i = 0; i < count; i++)
        if (!set_has(deleted, from + i)) out[left++] = (uint32_t)i;
    return left;
}

static bool column_keep(const LanceType *type, const uint32_t *rows, size_t count, Arena *arena,
                        LanceColumn *column, Err *err) {
    Builder builder;
    if (!builder_open(&builder, type, count, arena, err)) return false;
    for (size_t i = 0; i < count; i++) builder_copy(&builder, column, rows[i]);
    builder_finish(&builder, column);
    return true;
}

/* One range of the current fragment; *left 0 when all of it is deleted. */
static bool range_read(LanceScan *scan, const Fragment *fragment, const NumberSet *deleted,
                       size_t count, LanceBatch *out, Err *err) {
    Arena *arena = &scan->batch;
    LanceColumn *columns = arena_array(arena, LanceColumn, scan->field_count);
    uint64_t *addresses = arena_array(arena, uint64_t, count);
    uint32_t *rows = arena_array(arena, uint32_t, count);
    size_t left = rows_left(deleted, scan->row, count, rows);
    *out = (LanceBatch){left, scan->field_count, columns, addresses};
    for (size_t i = 0; i < left; i++) addresses[i] = fragment->id << 32 | (scan->row + rows[i]);
    if (left == 0) return true;
    if (!fragment_columns_read(&scan->columns, scan->row, count, arena, columns, err)) return false;
    for (size_t i = 0; i < scan->field_count && left < count; i++)
        if (!column_keep(&scan->fields[i]->type, rows, left, arena, &columns[i], err)) return false;
    return true;
}

static bool fragment_next(LanceScan *scan, const Fragment *fragment, size_t place, LanceBatch *out,
                          Err *err) {
    const NumberSet *deleted;
    if (!scan->opened) {
        if (!fragment_columns_open(scan->table, fragment, scan->fields, scan->field_count,
                                   &scan->opened_arena, &scan->columns, err))
            return false;
        scan->opened = true;
    }
    if (!snapshot_deleted(scan->table, scan->snapshot, place, &deleted, err)) return false;
    size_t count = (size_t)MIN(scan->batch_rows, fragment->physical_rows - scan->row);
    if (!range_read(scan, fragment, deleted, count, out, err))
        return err_while(err, "fragment %llu", (unsigned long long)fragment->id);
    scan->row += count;
    return true;
}

bool lance_scan_next(LanceScan *scan, LanceBatch *out, Err *err) {
    LanceBatch batch = {0};
    arena_close(&scan->batch);
    while (batch.rows == 0 && scan->fragment < scan->fragment_count) {
        size_t place = scan->fragments[scan->fragment];
        const Fragment *fragment = &snapshot_manifest(scan->snapshot)->fragments[place];
        if (scan->row < fragment->physical_rows) {
            if (!fragment_next(scan, fragment, place, &batch, err)) return false;
            continue;
        }
        fragment_leave(scan);
        scan->fragment++;
        scan->row = 0;
    }
    *out = batch;
    return true;
}
