/* lance_find and lance_index_scalar: rows by a value, and the btree that finds them. */
#include "lance/btree_view.h"
#include "lance/kmeans.h"

#include <stdlib.h>

typedef struct Find {
    const BtreeView *view;
    int32_t segment; /* whose rows come */
    BtreeEntry key;
    Arena *arena;
    uint64_t *found;
    size_t count, cap;
    bool ok;
    Err *err;
} Find;

static void found_add(Find *find, uint64_t address) {
    if (find->count == find->cap) {
        size_t cap = find->cap ? find->cap * 2 : 4;
        uint64_t *grown = arena_array(find->arena, uint64_t, cap);
        for (size_t i = 0; i < find->count; i++) grown[i] = find->found[i];
        find->found = grown;
        find->cap = cap;
    }
    find->found[find->count++] = address;
}

/* Rows that are gone, or that the segment no longer speaks for, are passed over. */
static void found_check(void *context, uint64_t address) {
    Find *find = context;
    const NumberSet *deleted;
    size_t place = snapshot_find(find->view->snapshot, address >> 32);
    if (!find->ok || place == SIZE_MAX || find->view->owner[place] != find->segment) return;
    find->ok =
        snapshot_deleted(find->view->table, find->view->snapshot, place, &deleted, find->err);
    if (find->ok && !set_has(deleted, address & UINT32_MAX)) found_add(find, address);
}

static void row_check(void *context, const LanceColumn *column, size_t row, uint64_t address) {
    Find *find = context;
    if (lance_is_null(column, row)) return;
    BtreeEntry entry = btree_entry(&find->view->field->type, column, row);
    if (btree_compare(&entry, &find->key) == 0) found_add(find, address);
}

static bool find_run(Find *find, Err *err) {
    const BtreeView *view = find->view;
    for (size_t i = 0; i < view->segment_count; i++) {
        find->segment = (int32_t)i;
        if (!btree_segment_find(view->segments[i], &find->key, found_check, find, err) || !find->ok)
            return false;
    }
    for (size_t i = 0; i < snapshot_manifest(view->snapshot)->fragment_count; i++)
        if (view->owner[i] < 0 &&
            !fragment_visit(view->table, view->snapshot, i, view->field, row_check, find, err))
            return false;
    return true;
}

static int by_number(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

bool lance_find(LanceTable *table, Str column, const LanceKey *key, Arena *arena, uint64_t **out,
                size_t *count, Err *err) {
    OWNED(btree_view_release) BtreeView *view = NULL;
    Find find = {.arena = arena, .ok = true, .err = err};
    bool possible;
    if (!btree_view_hold(table, column, &view, err) ||
        !btree_key(&view->field->type, key, &find.key, &possible, err))
        return false;
    find.view = view;
    if (possible && !find_run(&find, err)) return false;
    if (find.count > 1) qsort(find.found, find.count, sizeof *find.found, by_number);
    *out = find.found;
    *count = find.count;
    return true;
}

bool lance_index_scalar(LanceTable *table, Str column, const LanceWatch *watch, Err *err) {
    OWNED(snapshot_release) Snapshot *snapshot = table_snapshot(table);
    OWNED(arena_close) Arena arena = {0};
    OWNED(btree_rows_close) BtreeRows rows = {0};
    const Manifest *manifest = snapshot_manifest(snapshot);
    size_t *places = arena_array(&arena, size_t, manifest->fragment_count);
    uint64_t *ids = arena_array(&arena, uint64_t, manifest->fragment_count);
    const LanceField **fields;
    for (size_t i = 0; i < manifest->fragment_count; i++)
        places[i] = i, ids[i] = manifest->fragments[i].id;
    if (!columns_find(manifest, &column, 1, &arena, &fields, err) ||
        !btree_type_check(fields[0], err) ||
        !btree_rows_read(table, snapshot, fields[0], places, manifest->fragment_count, watch, &rows,
                         err))
        return false;
    int32_t id = fields[0]->id;
    IndexChange change = {.then = snapshot,
                          .fragments = ids,
                          .fragment_count = manifest->fragment_count,
                          .replace = true};
    change.index.fields = &id;
    change.index.field_count = 1;
    change.index.name = arena_print(&arena, "%.*s_idx", SHOW(column));
    return btree_write(table, &rows, &arena, &change.index, err) &&
           index_commit(table, &change, err);
}
