/* Bringing an index to its dataset's present version: the rows are read again, but a chunk whose
 * text is the same keeps its vector, and the embedder keeps the statistics of its corpus. The new
 * files take the place of the old ones when meta.json is swapped; searches go on meanwhile. */
#include "vector/build.h"

static bool refresh_plan(Build *b, Str name, Err *err) {
    const IndexMeta *meta = &b->previous->meta;
    const Index *index = b->previous->index;
    b->meta = meta_copy(meta, &b->arena);
    b->metric = metric_of(meta->metric);
    b->meta.documents = b->meta.skipped = 0;
    if (!bucket_find(b->indexes->buckets, meta->bucket, &b->bucket, err) ||
        !catalog_load(b->indexes->catalog, meta->dataset, 0, &b->table, err))
        return err_while(err, "refresh of '%.*s'", SHOW(name));
    b->meta.dataset_version = table_version(b->table);
    if (meta->model.len == 0) {
        b->meta.dimensions = 0; /* the dataset's vectors say it */
        return true;
    }
    Bytes statistics = index->ops->embedder(index);
    if (!b->previous->embedder) return index_no_model(b->previous, err);
    if (!ai_embedder(b->indexes->ai, meta->model, &b->embedder, err) ||
        (statistics.size && !embedder_load(b->embedder, statistics, err)) ||
        !embedder_expect(b->embedder, meta->model_digest, (size_t)meta->dimensions, err))
        return false;
    if (b->job) embedder_watch(b->embedder, build_cancelled, b);
    return embedder_ready(b->embedder, err); /* before the rows are read */
}

static void write_result(const Build *b, int64_t rows_before, Text *result) {
    JsonWriter w = {.out = result};
    jw_object(&w);
    jw_member_text(&w, "index", b->meta.index);
    jw_member_int(&w, "dataset_version", b->meta.dataset_version);
    jw_member_int(&w, "rows", b->meta.rows);
    jw_member_int(&w, "embedded", b->embedded);
    jw_member_int(&w, "reused", b->reused);
    jw_member_int(&w, "removed", b->embedder ? rows_before - b->reused : rows_before);
    jw_end(&w);
}

static bool refresh_run(Build *b, Str name, Text *result, Err *err) {
    if (!indexes_find(b->indexes, name, &b->previous, err) || !refresh_plan(b, name, err))
        return false;
    int64_t rows_before = b->previous->meta.rows;
    bool current = b->meta.dataset_version == b->previous->meta.dataset_version;
    if (current) {
        b->meta.rows = b->reused = rows_before;
    } else if (!build_run(b, err)) {
        return false;
    }
    write_result(b, current && !b->embedder ? 0 : rows_before, result);
    return true;
}

bool index_refresh(Indexes *indexes, Str name, Job *job, Text *result, Err *err) {
    OWNED(build_close) Build b = BUILD_EMPTY(indexes, job);
    if (!indexes_hold(indexes, name, err)) return false;
    bool ok = refresh_run(&b, name, result, err);
    indexes_unreserve(indexes, name);
    return ok;
}
