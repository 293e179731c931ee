/* See btree_view.h. */
#include "lance/btree_view.h"

#include <stdlib.h>
#include <string.h>

#define DETAILS STR("BTreeIndexDetails")

void btree_view_release(BtreeView **out) {
    BtreeView *view = *out;
    *out = NULL;
    if (!view || __atomic_sub_fetch(&view->holders, 1, __ATOMIC_ACQ_REL) > 0) return;
    for (size_t i = 0; i < view->segment_count; i++) btree_segment_release(&view->segments[i]);
    snapshot_release(&view->snapshot);
    free(view->segments);
    free(view->owner);
    free(view);
}

void btree_views_close(SearchCache *cache) {
    for (BtreeView *view = cache->btrees, *next; view; view = next) {
        next = view->next;
        btree_view_release(&view);
    }
    cache->btrees = NULL;
}

static bool segment_reopen(const BtreeView *view, const BtreeView *before, const LanceIndex *index,
                           BtreeSegment **out, Err *err) {
    for (size_t i = 0; before && i < before->segment_count; i++) {
        if (memcmp(before->segments[i]->uuid, index->uuid, LANCE_UUID_BYTES) != 0) continue;
        *out = before->segments[i];
        __atomic_add_fetch(&(*out)->holders, 1, __ATOMIC_RELAXED);
        return true;
    }
    return btree_segment_open(table_store(view->table), table_path(view->table), index,
                              &view->field->type, out, err);
}

/* A segment that covers none of the fragments that are left is not opened. */
static bool segment_add(BtreeView *view, const BtreeView *before, const LanceIndex *index,
                        Err *err) {
    OWNED(set_close) NumberSet covered = {0};
    const Manifest *manifest = snapshot_manifest(view->snapshot);
    bool any = false;
    if (index->fragment_bitmap.size == 0) return true;
    if (!roaring_read(index->fragment_bitmap, SET_VALUES_MAX, &covered, err)) return false;
    for (size_t i = 0; i < manifest->fragment_count; i++) {
        if (view->owner[i] >= 0 || !set_has(&covered, manifest->fragments[i].id)) continue;
        view->owner[i] = (int32_t)view->segment_count;
        any = true;
    }
    if (!any) return true;
    BtreeSegment **grown =
        realloc(view->segments, (view->segment_count + 1) * sizeof *view->segments);
    if (!grown) abort();
    view->segments = grown;
    if (!segment_reopen(view, before, index, &grown[view->segment_count], err)) return false;
    view->segment_count++;
    return true;
}

static bool view_make(LanceTable *table, Str column, const BtreeView *before, BtreeView **out,
                      Err *err) {
    OWNED(btree_view_release) BtreeView *view = calloc(1, sizeof *view);
    OWNED(arena_close) Arena arena = {0};
    const LanceField **fields;
    if (!view) abort();
    view->holders = 1;
    view->table = table;
    view->snapshot = table_snapshot(table);
    const Manifest *manifest = snapshot_manifest(view->snapshot);
    if (!columns_find(manifest, &column, 1, &arena, &fields, err) ||
        !btree_type_check(fields[0], err))
        return false;
    view->field = fields[0];
    view->owner = malloc((manifest->fragment_count + 1) * sizeof *view->owner);
    if (!view->owner) abort();
    for (size_t i = 0; i < manifest->fragment_count; i++) view->owner[i] = -1;
    const LanceIndex *chosen = manifest_index_of(manifest, view->field->id, DETAILS);
    for (size_t i = 0; chosen && i < manifest->index_count; i++)
        if (manifest_is_index_of(&manifest->indexes[i], view->field->id, DETAILS) &&
            str_equal(manifest->indexes[i].name, chosen->name) &&
            !segment_add(view, before, &manifest->indexes[i], err))
            return false;
    *out = TAKE(view);
    return true;
}

static bool view_refresh(LanceTable *table, Str column, BtreeView **out, Err *err) {
    OWNED(snapshot_release) Snapshot *now = table_snapshot(table);
    BtreeView **place = &table_search_cache(table)->btrees, *made = NULL;
    while (*place && !str_equal((*place)->field->name, column)) place = &(*place)->next;
    BtreeView *before = *place;
    if (!before || before->snapshot != now) {
        if (!view_make(table, column, before, &made, err)) return false;
        made->next = before ? before->next : NULL;
        *place = made;
        btree_view_release(&before);
    }
    *out = *place;
    __atomic_add_fetch(&(*out)->holders, 1, __ATOMIC_RELAXED);
    return true;
}

bool btree_view_hold(LanceTable *table, Str column, BtreeView **out, Err *err) {
    SearchCache *cache = table_search_cache(table);
    pthread_mutex_lock(&cache->lock);
    bool ok = view_refresh(table, column, out, err);
    pthread_mutex_unlock(&cache->lock);
    return ok;
}
