/* Bringing an index to its dataset's present version: the rows are read again, but a chunk whose
 * text is the same keeps its vector, and the embedder keeps the statistics of its corpus. The new
 * files take the place of the old ones when meta.json is swapped; searches go on meanwhile. */
#include "vector/build.h"

bool build_keep_statistics(Build *b, Err *err) {
    const IndexMeta *meta = &b->previous->meta;
    if (meta->model.len == 0) return true;
    if (!b->previous->embedder) return index_no_model(b->previous, err);
    Bytes statistics = b->previous->index->ops->embedder(b->previous->index);
    return ai_embedder(b->indexes->ai, meta->model, &b->embedder, err) &&
           (statistics.size == 0 || embedder_load(b->embedder, statistics, err)) &&
           embedder_expect(b->embedder, meta->model_digest, (size_t)meta->dimensions, err);
}

/* Before the rows are read. */
static bool embedder_prepare(Build *b, Err *err) {
    if (!build_keep_statistics(b, err)) return false;
    if (b->embedder && b->job) embedder_watch(b->embedder, build_cancelled, b);
    return !b->embedder || embedder_ready(b->embedder, err);
}

static bool refresh_plan(Build *b, Str name, Err *err) {
    const IndexMeta *meta = &b->previous->meta;
    b->meta = meta_copy(meta, &b->arena);
    b->metric = metric_of(meta->metric);
    b->meta.documents = b->meta.skipped = 0;
    if (!bucket_find(b->indexes->buckets, meta->bucket, &b->bucket, err) ||
        !catalog_load(b->indexes->catalog, meta->dataset, 0, &b->table, err))
        return err_while(err, "refresh of '%.*s'", SHOW(name));
    b->meta.dataset_version = table_version(b->table);
    if (meta->model.len == 0) b->meta.dimensions = 0; /* the dataset's vectors say it */
    return embedder_prepare(b, err);
}

static bool apply(void *context, const RowBatch *batch, Err *err) {
    OverlayChange ignored;
    return overlay_apply(context, batch, &ignored, err);
}

/* All that was ever put and deleted by hand: it holds over whatever the dataset says now. */
static bool load_by_hand(Build *b, Err *err) {
    OWNED(entry_log_close) EntryLog log = {0};
    const OverlayOptions options = {
        .dimensions = b->previous->index->dimensions, .metric = b->metric, .passes_others = true};
    uint64_t known = 0;
    if (!entry_log_open(b->indexes, &b->meta, &log, err) || !overlay_open(&options, &b->log, err) ||
        !row_log_replay(&log.log, &known, apply, b->log, err))
        return false;
    b->by_hand = overlay_view(b->log);
    b->meta.rows_after = (int64_t)known;
    return true;
}

void build_merge_log(Build *b) {
    OWNED(entry_log_close) EntryLog log = {0};
    size_t merged;
    Err err = {0};
    if (!entry_log_open(b->indexes, &b->meta, &log, &err) ||
        !row_log_merge(&log.log, (size_t)b->meta.dimensions, &merged, &err))
        log_warn("the log of rows of index '%.*s' is not merged: %s", SHOW(b->meta.index),
                 err.message);
}

static void write_result(const Build *b, int64_t rows_before, Text *result) {
    int64_t by_hand = b->by_hand ? (int64_t)b->by_hand->live.count : 0;
    int64_t kept = b->embedder ? b->reused + by_hand : 0;
    JsonWriter w = {.out = result};
    jw_object(&w);
    jw_member_text(&w, "index", b->meta.index);
    jw_member_int(&w, "dataset_version", b->meta.dataset_version);
    jw_member_int(&w, "rows", b->meta.rows);
    jw_member_int(&w, "embedded", b->embedded);
    jw_member_int(&w, "reused", b->reused);
    jw_member_int(&w, "rows_put", by_hand);
    jw_member_int(&w, "removed", MAX(rows_before - kept, 0));
    jw_end(&w);
}

static int64_t rows_now(IndexEntry *entry) {
    OWNED(rows_view_release) RowsView *view = overlay_view(entry->overlay);
    return (int64_t)rows_view_live(view);
}

static bool refresh_run(Build *b, Str name, Text *result, Err *err) {
    if (!indexes_follow(b->indexes, name, err) ||
        !indexes_find(b->indexes, name, &b->previous, err) || !refresh_plan(b, name, err))
        return false;
    int64_t rows_before = rows_now(b->previous);
    bool current = b->meta.dataset_version == b->previous->meta.dataset_version;
    if (current) {
        b->meta.rows = b->reused = rows_before;
        write_result(b, b->embedder ? rows_before : 0, result);
        return true;
    }
    if (!load_by_hand(b, err) || !build_run(b, err)) return false;
    build_merge_log(b);
    write_result(b, rows_before, result);
    return true;
}

bool index_refresh(Indexes *indexes, Str name, Job *job, Text *result, Err *err) {
    OWNED(build_close) Build b = BUILD_EMPTY(indexes, job);
    if (!indexes_hold(indexes, name, err)) return false;
    bool ok = refresh_run(&b, name, result, err);
    indexes_unreserve(indexes, name);
    return ok;
}
