/* Rows by address. Addresses are looked at in their own order, so that neighbours are read together
 * whatever order they were asked for in; the answer then puts them in that. */
#include "lance/columns.h"

#include <stdlib.h>

#define RUN_ROWS_MAX 4096
#define RUN_GAP_MAX 16 /* rows that nobody asked for, read all the same */

typedef struct Wanted {
    uint64_t address;
    size_t place; /* in what was asked for */
} Wanted;

/* A range that was read, and where it begins. */
typedef struct Run {
    uint64_t address;
    size_t rows;
    LanceColumn *columns;
} Run;

typedef struct Take {
    LanceTable *table;
    Snapshot *snapshot;
    Arena scratch;
    const LanceField **fields;
    size_t field_count;
    Wanted *wanted;
    size_t count;
    const Run **runs; /* of each place */
    /* Held until the rows are copied, for runs point into the files. */
    FragmentColumns *opened;
    size_t opened_count;
} Take;

static int by_address(const void *a, const void *b) {
    uint64_t left = ((const Wanted *)a)->address, right = ((const Wanted *)b)->address;
    return left < right ? -1 : left > right;
}

static bool row_missing(uint64_t address, const char *why, Err *err) {
    return err_code(err, LH_MISSING, "row_not_found", "row %llu of fragment %llu %s",
                    (unsigned long long)(address & UINT32_MAX), (unsigned long long)(address >> 32),
                    why);
}

static bool row_check(const Fragment *fragment, const NumberSet *deleted, uint64_t address,
                      Err *err) {
    uint64_t offset = address & UINT32_MAX;
    if (offset >= fragment->physical_rows) return row_missing(address, "never was", err);
    return !set_has(deleted, offset) || row_missing(address, "is deleted", err);
}

/* From wanted[from] on, as far as they are near each other; *end is behind the last. */
static bool run_read(Take *take, const FragmentColumns *columns, size_t from, size_t *end,
                     Err *err) {
    uint64_t first = take->wanted[from].address, last = first;
    size_t at = from + 1;
    for (; at < take->count; at++) {
        uint64_t address = take->wanted[at].address;
        if (address >> 32 != first >> 32 || address - last > RUN_GAP_MAX ||
            address - first >= RUN_ROWS_MAX)
            break;
        last = address;
    }
    Run *run = arena_new(&take->scratch, Run);
    run->address = first;
    run->rows = (size_t)(last - first + 1);
    run->columns = arena_array(&take->scratch, LanceColumn, take->field_count);
    for (size_t i = from; i < at; i++) take->runs[take->wanted[i].place] = run;
    *end = at;
    return fragment_columns_read(columns, first & UINT32_MAX, run->rows, &take->scratch,
                                 run->columns, err);
}

static bool fragment_take(Take *take, size_t from, size_t end, Err *err) {
    uint64_t id = take->wanted[from].address >> 32;
    const NumberSet *deleted;
    size_t place = snapshot_find(take->snapshot, id);
    if (place == SIZE_MAX) return row_missing(take->wanted[from].address, "never was", err);
    const Fragment *fragment = &snapshot_manifest(take->snapshot)->fragments[place];
    if (!snapshot_deleted(take->table, take->snapshot, place, &deleted, err)) return false;
    for (size_t i = from; i < end; i++)
        if (!row_check(fragment, deleted, take->wanted[i].address, err)) return false;
    FragmentColumns *columns = &take->opened[take->opened_count];
    if (!fragment_columns_open(take->table, fragment, take->fields, take->field_count,
                               &take->scratch, columns, err))
        return false;
    take->opened_count++;
    while (from < end)
        if (!run_read(take, columns, from, &from, err)) return false;
    return true;
}

static size_t count_fragments(const Take *take) {
    size_t count = 0;
    for (size_t i = 0; i < take->count; i++)
        count += i == 0 || take->wanted[i].address >> 32 != take->wanted[i - 1].address >> 32;
    return count;
}

static bool runs_read(Take *take, Err *err) {
    take->opened = arena_array(&take->scratch, FragmentColumns, count_fragments(take));
    for (size_t from = 0, end; from < take->count; from = end) {
        uint64_t id = take->wanted[from].address >> 32;
        for (end = from + 1; end < take->count && take->wanted[end].address >> 32 == id;) end++;
        if (!fragment_take(take, from, end, err)) return false;
    }
    return true;
}

static bool column_gather(const Take *take, const uint64_t *addresses, size_t column, Arena *arena,
                          LanceColumn *out, Err *err) {
    Builder builder;
    if (!builder_open(&builder, &take->fields[column]->type, take->count, arena, err)) return false;
    for (size_t i = 0; i < take->count; i++) {
        const Run *run = take->runs[i];
        builder_copy(&builder, &run->columns[column], (size_t)(addresses[i] - run->address));
    }
    builder_finish(&builder, out);
    return true;
}

static bool take_rows(Take *take, const uint64_t *addresses, Arena *arena, LanceBatch *out,
                      Err *err) {
    LanceColumn *columns = arena_array(arena, LanceColumn, take->field_count);
    uint64_t *copy = arena_array(arena, uint64_t, take->count);
    take->wanted = arena_array(&take->scratch, Wanted, take->count);
    take->runs = arena_array(&take->scratch, const Run *, take->count);
    for (size_t i = 0; i < take->count; i++) take->wanted[i] = (Wanted){copy[i] = addresses[i], i};
    if (take->count) qsort(take->wanted, take->count, sizeof *take->wanted, by_address);
    if (!runs_read(take, err)) return false;
    for (size_t i = 0; i < take->field_count; i++)
        if (!column_gather(take, addresses, i, arena, &columns[i], err)) return false;
    *out = (LanceBatch){take->count, take->field_count, columns, copy};
    return true;
}

static void take_close(Take *take) {
    for (size_t i = 0; i < take->opened_count; i++) fragment_columns_close(&take->opened[i]);
    snapshot_release(&take->snapshot);
    arena_close(&take->scratch);
}

bool lance_take(LanceTable *table, const uint64_t *addresses, size_t count, const Str *columns,
                size_t column_count, Arena *arena, LanceBatch *out, Err *err) {
    OWNED(take_close) Take take = {.table = table, .count = count, .field_count = column_count};
    take.snapshot = table_snapshot(table);
    if (count > LANCE_BATCH_ROWS_MAX)
        return err_set(err, LH_TOO_BIG, "at most %u rows are taken at once, not %zu",
                       LANCE_BATCH_ROWS_MAX, count);
    return columns_find(snapshot_manifest(take.snapshot), columns, column_count, &take.scratch,
                        &take.fields, err) &&
           take_rows(&take, addresses, arena, out, err);
}
