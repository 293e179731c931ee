/* An entry of the registry: one index, opened from what its meta.json names, with its words, its
 * model and the rows that were put since its build, and told as JSON. Its readers count. */
#include "vector/index_lance.h"
#include "vector/indexes.h"

#include <stdlib.h>

static void entry_free(IndexEntry *entry) {
    overlay_close(&entry->overlay);
    doc_table_close(&entry->docs);
    text_tail_close(&entry->tail);
    embedder_close(&entry->embedder);
    text_index_close(&entry->text);
    index_close(&entry->index);
    bucket_release(&entry->bucket);
    pthread_mutex_destroy(&entry->lock);
    pthread_mutex_destroy(&entry->rows_lock);
    arena_close(&entry->arena);
    free(entry);
}

void index_entry_release(IndexEntry **entry) {
    if (!*entry) return;
    if (atomic_fetch_sub(&(*entry)->holders, 1) == 1) entry_free(*entry);
    *entry = NULL;
}

static bool open_embedder(Ai *ai, IndexEntry *entry, Err *err) {
    Bytes statistics = entry->index->ops->embedder(entry->index);
    if (entry->meta.model.len == 0) return true;
    /* Without its model an index still answers vectors, and words by its text index. */
    if (!ai_embedder(ai, entry->meta.model, &entry->embedder, &entry->no_model)) return true;
    return (statistics.size == 0 || embedder_load(entry->embedder, statistics, err)) &&
           embedder_expect(entry->embedder, entry->meta.model_digest,
                           (size_t)entry->meta.dimensions, err);
}

bool index_entry_embed(const IndexEntry *entry, const Str *texts, size_t count, float *out,
                       Err *err) {
    return entry->embedder ? embedder_embed(entry->embedder, texts, count, out, err)
                           : index_no_model(entry, err);
}

bool index_no_model(const IndexEntry *entry, Err *err) {
    if (entry->meta.model.len == 0)
        return err_code(err, LH_IMPOSSIBLE, "no_model",
                        "index '%.*s' has vectors of its own and no model: search it with 'vector'",
                        SHOW(entry->meta.index));
    return err_code(err, LH_IMPOSSIBLE, "wrong_model",
                    "index '%.*s' was made by model '%.*s', which is not there: %.200s",
                    SHOW(entry->meta.index), SHOW(entry->meta.model), entry->no_model.message);
}

static bool is_lance(const IndexMeta *meta) {
    return str_is(meta->vector_backend, "lance");
}

static bool open_text(Store *store, IndexEntry *entry, Err *err) {
    OWNED(local_file_close) LocalFile *file = NULL;
    Str key = meta_text_key(&entry->meta, &entry->arena);
    if (entry->meta.text_column.len == 0) return true;
    if (!store_local_file(store, key, LOCAL_WHOLE, true, &file, err) ||
        !text_index_open(local_file_path(file), &entry->text, err))
        return false;
    /* Rows that were appended to a Lance table since have no words yet. */
    size_t rows = text_index_rows(entry->text);
    if (is_lance(&entry->meta) && rows > entry->index->count) {
        log_warn("index '%.*s': rows of docs.lance are gone: its words are not searched until "
                 "/vectors/lance/index builds them anew",
                 SHOW(entry->meta.index));
        text_index_close(&entry->text);
        return true;
    }
    return is_lance(&entry->meta) || rows == entry->index->count ||
           err_set(err, LH_CORRUPT, "the text index has other rows than the index");
}

static bool open_overlay(Indexes *indexes, IndexEntry *entry, Err *err) {
    const OverlayOptions options = {.entry = entry,
                                    .dimensions = entry->index->dimensions,
                                    .metric = metric_of(entry->meta.metric),
                                    .texts = entry->text,
                                    .passes_others = true};
    entry->rows_known = (uint64_t)entry->meta.rows_after;
    if (!overlay_open(&options, &entry->overlay, err) || !entry_follow(indexes, entry, err))
        return false;
    entry->rows_merged = entry->rows_known;
    return true;
}

static bool open_file(Store *store, IndexEntry *entry, Err *err) {
    OWNED(local_file_close) LocalFile *file = NULL; /* mapped: it stays when it is evicted */
    Str key = meta_build_key(&entry->meta, &entry->arena);
    return store_local_file(store, key, LOCAL_WHOLE, true, &file, err) &&
           index_hnsw_open(local_file_path(file), &entry->index, err);
}

/* A table is read from its store for as long as it is open. */
static bool open_table(Bucket *bucket, IndexEntry *entry, Err *err) {
    entry->bucket = bucket_hold(bucket);
    entry->rows = arena_print(&entry->arena, "%.*s+%lld", SHOW(entry->meta.vectors),
                              (long long)entry->meta.rows);
    return index_lance_open(bucket_store(bucket), &entry->meta, &entry->index, err);
}

static bool open_index(Bucket *bucket, IndexEntry *entry, Err *err) {
    return is_lance(&entry->meta) ? open_table(bucket, entry, err)
                                  : open_file(bucket_store(bucket), entry, err);
}

static bool entry_load(Indexes *indexes, IndexEntry *entry, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    return bucket_find(indexes->buckets, entry->meta.bucket, &bucket, err) &&
           open_index(bucket, entry, err) && open_text(bucket_store(bucket), entry, err) &&
           open_embedder(indexes->ai, entry, err) && open_overlay(indexes, entry, err);
}

IndexEntry *index_entry_open(Indexes *indexes, const IndexMeta *meta) {
    IndexEntry *entry = calloc(1, sizeof *entry);
    Err err = {0};
    if (!entry) abort();
    atomic_init(&entry->holders, 1);
    pthread_mutex_init(&entry->lock, NULL);
    pthread_mutex_init(&entry->rows_lock, NULL);
    entry->meta = meta_copy(meta, &entry->arena);
    if (!entry_load(indexes, entry, &err)) {
        overlay_close(&entry->overlay);
        index_close(&entry->index);
        entry->broken = err;
        log_error("index '%.*s' cannot be opened: %s", SHOW(meta->index), err.message);
    }
    return entry;
}

/* Whether the dataset has moved on since the build; unknown datasets count as moved. */
static bool is_stale(Indexes *indexes, const IndexMeta *meta) {
    OWNED(table_release) Table *table = NULL;
    Err err = {0};
    return !catalog_load(indexes->catalog, meta->dataset, 0, &table, &err) ||
           table_version(table) != meta->dataset_version;
}

int64_t index_entry_memory(const IndexEntry *entry) {
    return entry->index ? entry->index->ops->memory_bytes(entry->index) +
                              (int64_t)atomic_load(&entry->overlay->bytes)
                        : 0;
}

/* Rows and documents as a search sees them. */
static void write_rows(const IndexEntry *entry, JsonWriter *w) {
    OWNED(rows_view_release) RowsView *view = entry->overlay ? overlay_view(entry->overlay) : NULL;
    IndexMeta meta = entry->meta;
    if (view) {
        meta.rows = (int64_t)rows_view_live(view);
        meta.documents += (int64_t)view->live_documents - (int64_t)view->dead_documents;
    }
    meta_write(&meta, w);
    jw_member_int(w, "rows_put", view ? (int64_t)view->live.count : 0);
    jw_member_int(w, "rows_deleted", view ? (int64_t)view->dead : 0);
}

void index_entry_write(Indexes *indexes, const IndexEntry *entry, JsonWriter *w) {
    jw_object(w);
    write_rows(entry, w);
    jw_member_int(w, "memory_bytes", index_entry_memory(entry));
    jw_member_flag(w, "stale", is_stale(indexes, &entry->meta));
    jw_name(w, "error");
    jw_cstr(w, entry->index ? NULL : entry->broken.message);
    jw_end(w);
}
