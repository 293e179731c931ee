/* See search_view.h. */
#include "lance/search_view.h"

#include <stdlib.h>
#include <string.h>

#define DETAILS STR("VectorIndexDetails")

void search_view_release(SearchView **out) {
    SearchView *view = *out;
    *out = NULL;
    if (!view || __atomic_sub_fetch(&view->holders, 1, __ATOMIC_ACQ_REL) > 0) return;
    for (size_t i = 0; i < view->segment_count; i++) segment_release(&view->segments[i]);
    vector_column_close(&view->vectors);
    free(view->segments);
    free(view->owner);
    free(view);
}

void search_cache_close(SearchCache *cache) {
    for (SearchView *view = cache->views, *next; view; view = next) {
        next = view->next;
        search_view_release(&view);
    }
    cache->views = NULL;
}

static bool segment_reopen(const SearchView *before, LanceTable *table, const LanceIndex *index,
                           size_t dimension, IvfSegment **out, Err *err) {
    for (size_t i = 0; before && i < before->segment_count; i++)
        if (memcmp(before->segments[i]->uuid, index->uuid, LANCE_UUID_BYTES) == 0)
            return *out = segment_hold(before->segments[i]), true;
    return segment_open(table_store(table), table_path(table), index, dimension, out, err);
}

/* The fragments of `covered` that no other segment speaks for; *any: there is one. With `take` this
 * one does. */
static void segment_cover(SearchView *view, const NumberSet *covered, bool take, bool *any) {
    for (size_t i = 0; i < view->vectors->fragment_count; i++) {
        const VectorFragment *fragment = &view->vectors->fragments[i];
        if (view->owner[i] >= 0 || !set_has(covered, fragment->id)) continue;
        *any = true;
        if (take) view->owner[i] = (int32_t)view->segment_count;
    }
}

/* An index of a kind that is not searched here is as good as none: its rows are looked at. One that
 * covers nothing any more, after a compaction, is not opened. */
static bool segment_add(SearchView *view, const SearchView *before, const LanceIndex *index,
                        Err *err) {
    OWNED(set_close) NumberSet covered = {0};
    IvfSegment *segment;
    bool any = false;
    if (index->fragment_bitmap.size == 0) return true;
    if (!roaring_read(index->fragment_bitmap, SET_VALUES_MAX, &covered, err)) return false;
    segment_cover(view, &covered, false, &any);
    if (!any) return true;
    if (!segment_reopen(before, view->vectors->table, index, view->vectors->dimension, &segment,
                        err)) {
        if (err->kind != LH_IMPOSSIBLE) return false;
        *err = (Err){0};
        return true;
    }
    segment_cover(view, &covered, true, &any);
    IvfSegment **grown =
        realloc(view->segments, (view->segment_count + 1) * sizeof *view->segments);
    if (!grown) abort();
    view->segments = grown;
    view->segments[view->segment_count++] = segment;
    return true;
}

/* A segment whose rows are as many as its fragments have left holds no row that is gone.
 * Vectors that were not indexed, null ones, make it say less than it might. */
static void rows_count(SearchView *view) {
    uint64_t physical = 0;
    for (size_t i = 0; i < view->segment_count; i++) view->rows_indexed += view->segments[i]->rows;
    for (size_t i = 0; i < view->vectors->fragment_count; i++) {
        const VectorFragment *fragment = &view->vectors->fragments[i];
        uint64_t left = fragment->rows - fragment->deleted->count;
        *(view->owner[i] < 0 ? &view->rows_uncovered : &view->rows_covered) += left;
        if (view->owner[i] >= 0) physical += fragment->rows;
    }
    view->clean = view->rows_indexed == physical && physical == view->rows_covered;
}

static bool view_make(LanceTable *table, Str column, const SearchView *before, SearchView **out,
                      Err *err) {
    OWNED(search_view_release) SearchView *view = calloc(1, sizeof *view);
    if (!view) abort();
    view->holders = 1;
    if (!vector_column_open(table, column, &view->vectors, err)) return false;
    size_t fragments = view->vectors->fragment_count;
    view->owner = malloc((fragments + 1) * sizeof *view->owner);
    if (!view->owner) abort();
    for (size_t i = 0; i < fragments; i++) view->owner[i] = -1;
    const Manifest *manifest = snapshot_manifest(view->vectors->snapshot);
    const LanceIndex *chosen = manifest_index_of(manifest, view->vectors->field->id, DETAILS);
    for (size_t i = 0; chosen && i < manifest->index_count; i++)
        if (manifest_is_index_of(&manifest->indexes[i], view->vectors->field->id, DETAILS) &&
            str_equal(manifest->indexes[i].name, chosen->name) &&
            !segment_add(view, before, &manifest->indexes[i], err))
            return false;
    rows_count(view);
    if (view->rows_indexed > UINT32_MAX)
        return err_set(err, LH_TOO_BIG, "an index of %llu rows; at most %u are searched",
                       (unsigned long long)view->rows_indexed, UINT32_MAX);
    *out = TAKE(view);
    return true;
}

static void view_put(SearchCache *cache, SearchView *view);

void search_view_try(LanceTable *table, const VectorColumn *vectors, IvfSegment *segment) {
    SearchView *view = calloc(1, sizeof *view);
    Err ignored = {0};
    if (!view) abort();
    view->holders = 1;
    view->tried = true;
    /* It was open a moment ago, by the same files: it opens again. */
    if (!vector_column_open_at(table, vectors->snapshot, vectors->field->name, &view->vectors,
                               &ignored)) {
        search_view_release(&view);
        return;
    }
    view->owner = calloc(view->vectors->fragment_count + 1, sizeof *view->owner);
    view->segments = malloc(sizeof *view->segments);
    if (!view->owner || !view->segments) abort();
    view->segments[view->segment_count++] = segment_hold(segment);
    rows_count(view);
    view_put(table_search_cache(table), view);
}

static SearchView **view_place(SearchCache *cache, Str column) {
    SearchView **at = &cache->views;
    while (*at && !str_equal((*at)->vectors->field->name, column)) at = &(*at)->next;
    return at;
}

static void view_put(SearchCache *cache, SearchView *view) {
    pthread_mutex_lock(&cache->lock);
    SearchView **place = view_place(cache, view->vectors->field->name), *before = *place;
    view->next = before ? before->next : NULL;
    *place = view;
    search_view_release(&before);
    pthread_mutex_unlock(&cache->lock);
}

static bool view_refresh(LanceTable *table, Str column, SearchView **out, Err *err) {
    SearchView **place = view_place(table_search_cache(table), column), *before = *place;
    SearchView *made = NULL;
    OWNED(snapshot_release) Snapshot *now = table_snapshot(table);
    if (!before || (!before->tried && before->vectors->snapshot != now)) {
        if (!view_make(table, column, before, &made, err)) return false;
        made->next = before ? before->next : NULL;
        *place = made;
        search_view_release(&before);
    }
    *out = *place;
    __atomic_add_fetch(&(*out)->holders, 1, __ATOMIC_RELAXED);
    return true;
}

bool search_view_hold(LanceTable *table, Str column, SearchView **out, Err *err) {
    SearchCache *cache = table_search_cache(table);
    pthread_mutex_lock(&cache->lock);
    bool ok = view_refresh(table, column, out, err);
    pthread_mutex_unlock(&cache->lock);
    return ok;
}
