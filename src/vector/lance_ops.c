/* What only an index of backend "lance" can: rows by id, rows appended, its indexes built anew.
 * Each change is a version of docs.lance first; meta.json then says that this version is the index.
 */
#include "vector/index_lance.h"
#include "vector/indexes.h"

#include <string.h>
#include <unistd.h>

#define FRAGMENTS_MANY 64    /* a search of rows without an index opens each */
#define SMALL_FRAGMENT 16384 /* rows; larger ones are not written again */
#define UNINDEXED_MANY 2000  /* so many are compared one by one in about half a millisecond */

const Option lance_index_options[] = {
    {"num_partitions",   LH_INT, AT(LanceIndexSpec, num_partitions), NULL,
     "groups of vectors; the square root of the rows", .min = 1, .max = LANCE_PARTITIONS_MAX},
    {"num_sub_vectors", LH_INT, AT(LanceIndexSpec, num_sub_vectors), NULL,
     "parts of a vector that are coded; a 16th of the dimensions", .min = 1,
     .max = EMBED_DIMENSIONS_MAX},
    {"num_bits",              LH_INT, AT(LanceIndexSpec, num_bits), "8", "of a part's code: 8 or 4", .min = 4,
     .max = 8},
    {"max_iters",          LH_INT, AT(LanceIndexSpec, max_iters), "50", "steps of k-means, at most",
     .min = 1, .max = 1000},
    {0                 },
};

/* An index that is looked at, or changed. */
typedef struct LanceWork {
    Indexes *indexes;
    IndexEntry *entry;
    Bucket *bucket;
    LanceTable *table; /* at the latest version, for changes */
    Arena arena;
    Str held;
} LanceWork;

static void work_close(LanceWork *work) {
    lance_close(&work->table);
    if (work->held.len) indexes_unreserve(work->indexes, work->held);
    bucket_release(&work->bucket);
    index_entry_release(&work->entry);
    arena_close(&work->arena);
}

static bool wrong_backend(const LanceWork *work, Err *err) {
    return err_code(err, LH_CONFLICT, "wrong_backend",
                    "index '%.*s' is of backend '%.*s', not 'lance': POST "
                    "/vectors/lance/migrate/%.*s makes it one",
                    SHOW(work->entry->meta.index), SHOW(work->entry->meta.vector_backend),
                    SHOW(work->entry->meta.index));
}

static bool work_find(LanceWork *work, Str index, Err *err) {
    return indexes_find(work->indexes, index, &work->entry, err) &&
           (index_lance_table(work->entry->index) || wrong_backend(work, err));
}

/* Nobody else changes it meanwhile, on this server. */
static bool work_hold(LanceWork *work, Str index, Err *err) {
    if (!indexes_find(work->indexes, index, &work->entry, err)) return false;
    index_entry_release(&work->entry); /* what is found before it is held may be gone */
    if (!indexes_hold(work->indexes, index, err)) return false;
    work->held = arena_copy(&work->arena, index);
    return indexes_find(work->indexes, index, &work->entry, err) &&
           bucket_find(work->indexes->buckets, work->entry->meta.bucket, &work->bucket, err);
}

static bool work_change(LanceWork *work, Str index, Err *err) {
    if (!work_hold(work, index, err)) return false;
    if (!index_lance_table(work->entry->index)) return wrong_backend(work, err);
    return lance_open(bucket_store(work->bucket), meta_lance_key(&work->entry->meta, &work->arena),
                      0, &work->table, err);
}

static bool work_publish(LanceWork *work, IndexMeta *meta, Err *err) {
    LanceInfo info;
    lance_info(work->table, &info);
    meta->build = arena_print(&work->arena, "%llu", (unsigned long long)info.version);
    meta->rows = (int64_t)info.rows;
    meta->documents = MIN(meta->documents, meta->rows);
    meta->bytes = lance_docs_bytes(work->table);
    meta->updated_ms = clock_now_ms();
    if (!index_swap_meta(bucket_store(work->bucket), &work->entry->meta, meta, err)) return false;
    return indexes_publish(work->indexes, index_entry_open(work->indexes, meta), true, err);
}

bool index_lance_check(Indexes *indexes, Str index, Err *err) {
    OWNED(work_close) LanceWork work = {.indexes = indexes};
    return work_find(&work, index, err);
}

bool index_lance_stats(Indexes *indexes, Str index, Text *result, Err *err) {
    OWNED(work_close) LanceWork work = {.indexes = indexes};
    JsonWriter w = {.out = result};
    LanceIndexInfo *infos;
    LanceInfo info;
    size_t count;
    if (!work_find(&work, index, err)) return false;
    LanceTable *table = index_lance_table(work.entry->index);
    if (!lance_indexes(table, &work.arena, &infos, &count, err)) return false;
    lance_info(table, &info);
    jw_object(&w);
    jw_member_int(&w, "rows", (int64_t)info.rows);
    jw_member_int(&w, "fragments", (int64_t)info.fragments);
    jw_member_int(&w, "version", (int64_t)info.version);
    jw_member_int(&w, "bytes", (int64_t)info.bytes);
    jw_name(&w, "indexes");
    jw_array(&w);
    for (size_t i = 0; i < count; i++) {
        jw_object(&w);
        jw_member_text(&w, "name", infos[i].name);
        jw_member_text(&w, "type", str_from(infos[i].type));
        jw_member_text(&w, "column", infos[i].column);
        jw_member_int(&w, "rows_indexed", (int64_t)infos[i].rows_indexed);
        jw_member_int(&w, "rows_unindexed", (int64_t)infos[i].rows_unindexed);
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    return true;
}

/* Of the document's rows those that a search would find. */
static const uint32_t *document_rows(IndexEntry *entry, const RowsView *view, Str doc_id,
                                     Arena *arena, size_t *count) {
    size_t at, kept = 0, all;
    if (!rows_view_find(view, doc_id, &at)) {
        const uint32_t *base = index_entry_rows_of(entry, doc_id, arena, &all);
        uint32_t *rows = arena_array(arena, uint32_t, all + 1);
        for (size_t i = 0; i < all; i++)
            if (rows_view_base_alive(view, base[i])) rows[kept++] = base[i];
        *count = kept;
        return rows;
    }
    all = rows_view_row(view, at)->rows;
    uint32_t *rows = arena_array(arena, uint32_t, all + 1);
    for (size_t i = 0; i < all; i++)
        if (rowset_has(&view->live, at + i)) rows[kept++] = (uint32_t)(view->base_count + at + i);
    *count = kept;
    return rows;
}

static void chunk_write(const RowsView *view, uint32_t row, size_t dimensions, JsonWriter *w) {
    const float *vector = rows_view_vector(view, row);
    jw_object(w);
    jw_member_int(w, "chunk", rows_view_chunk(view, row));
    jw_member_text(w, "text", rows_view_text(view, row));
    jw_name(w, "vector");
    jw_array(w);
    for (size_t i = 0; vector && i < dimensions; i++) jw_float(w, vector[i]);
    jw_end(w);
    jw_end(w);
}

bool index_lance_doc(Indexes *indexes, Str index, Str doc_id, Text *result, Err *err) {
    OWNED(work_close) LanceWork work = {.indexes = indexes};
    OWNED(rows_view_release) RowsView *view = NULL;
    JsonWriter w = {.out = result};
    size_t count;
    if (!work_find(&work, index, err)) return false;
    entry_look(indexes, work.entry);
    view = overlay_view(work.entry->overlay);
    const uint32_t *rows = document_rows(work.entry, view, doc_id, &work.arena, &count);
    if (count == 0)
        return err_code(err, LH_MISSING, "document_not_found", "index '%.*s' has no '%.*s'",
                        SHOW(index), (int)MIN(doc_id.len, 80), doc_id.data);
    jw_object(&w);
    jw_member_text(&w, "doc_id", doc_id);
    jw_name(&w, "chunks");
    jw_array(&w);
    for (size_t i = 0; i < count; i++)
        chunk_write(view, rows[i], work.entry->index->dimensions, &w);
    jw_end(&w);
    jw_end(&w);
    return true;
}

/* ---- Appending ----
 *
 * Rows are put like those of any index, durable in its log (rows.c), and then taken into the table
 * as a fragment of it, after which the log has nothing to add. So a refresh keeps them, and where
 * the table cannot take them now they are found all the same and go in later. */

static uint64_t rows_unindexed(LanceTable *table, Arena *arena) {
    LanceIndexInfo *infos;
    size_t count;
    Err ignored = {0};
    uint64_t most = 0;
    if (!lance_indexes(table, arena, &infos, &count, &ignored)) return 0;
    for (size_t i = 0; i < count; i++) most = MAX(most, infos[i].rows_unindexed);
    return most;
}

/* Many small appends: their fragments become larger ones, and their rows join the indexes. Neither
 * changes which rows there are, nor their order. The append has succeeded whatever comes of it. */
static void append_tidy(LanceWork *work) {
    LanceInfo info;
    LanceCompacted done;
    Err err = {0};
    LanceCompactOptions small = {.rows_max = SMALL_FRAGMENT, .keep_order = true};
    lance_info(work->table, &info);
    bool ok = info.fragments < FRAGMENTS_MANY || lance_compact(work->table, &small, &done, &err);
    ok = ok && (rows_unindexed(work->table, &work->arena) < UNINDEXED_MANY ||
                lance_index_update(work->table, NULL, NULL, &err));
    if (!ok) log_warn("index '%.*s' stays as it grew: %s", SHOW(work->held), err.message);
}

static LanceDoc *docs_of(const RowsView *view, Arena *arena) {
    LanceDoc *docs = arena_array(arena, LanceDoc, view->live.count + 1), *next = docs;
    for (size_t at = 0; at < view->count; at++) {
        if (!rowset_has(&view->live, at)) continue;
        const OverlayRow *row = rows_view_row(view, at);
        *next++ = (LanceDoc){
            .id = row->doc_id, .text = row->text, .chunk = row->chunk, .vector = row->vector};
    }
    return docs;
}

static bool docs_append(LanceWork *work, const LanceDoc *docs, size_t count, Err *err) {
    LanceDocs out = {.table = work->table, .dimensions = work->entry->index->dimensions};
    bool ok = lance_writer_open(work->table, NULL, &out.writer, err) &&
              lance_docs_add(&out, docs, count, err) && lance_writer_commit(out.writer, err);
    lance_writer_close(&out.writer);
    return ok;
}

/* What lies over the table, where it only adds to it: a fold (fold.c) replaces and deletes. */
static bool take_in(LanceWork *work, Err *err) {
    OWNED(rows_view_release) RowsView *view = NULL;
    IndexEntry *entry = work->entry;
    IndexMeta meta = meta_copy(&entry->meta, &work->arena);
    if (index_lance_behind(entry->index, work->table))
        return err_code(err, LH_CONFLICT, "table_changed",
                        "another program has changed the table: POST /vectors/lance/index takes "
                        "its rows in");
    pthread_mutex_lock(&entry->rows_lock); /* so that the number is the view's */
    view = overlay_view(entry->overlay);
    meta.rows_after = (int64_t)entry->rows_known;
    pthread_mutex_unlock(&entry->rows_lock);
    if (view->dead > 0 || view->live.count == 0) return true;
    meta.documents += (int64_t)view->live_documents;
    if (!docs_append(work, docs_of(view, &work->arena), view->live.count, err)) return false;
    append_tidy(work);
    return work_publish(work, &meta, err);
}

static void try_take_in(Indexes *indexes, Str index) {
    OWNED(work_close) LanceWork work = {.indexes = indexes};
    Err err = {0};
    if (indexes_is_held(indexes, index)) return; /* whoever appends next does it */
    if (!work_change(&work, index, &err) || !take_in(&work, &err))
        log_info("rows of index '%.*s' stay beside its table for now: %s", SHOW(index),
                 err.message);
}

bool index_lance_append(Indexes *indexes, Str index, const RowsSpec *spec, Text *result,
                        bool *upkeep, Err *err) {
    OWNED(work_close) LanceWork work = {.indexes = indexes};
    OWNED(rows_view_release) RowsView *view = NULL;
    OWNED(text_close) Text put = {0};
    JsonWriter w = {.out = result};
    if (!index_lance_check(indexes, index, err) ||
        !index_rows_put(indexes, index, spec, &put, upkeep, err))
        return false;
    try_take_in(indexes, index);
    if (!work_find(&work, index, err)) return false;
    view = overlay_view(work.entry->overlay);
    jw_object(&w);
    jw_member_text(&w, "index", index);
    jw_member_int(&w, "appended", (int64_t)spec->rows->len);
    jw_member_int(&w, "rows", (int64_t)rows_view_live(view));
    jw_name(&w, "version");
    jw_raw(&w, work.entry->meta.build);
    jw_end(&w);
    return true;
}

/* Jobs. */

static bool job_is_cancelled(void *job) {
    return job && job_cancelled(job);
}

static Str row_text(const void *context, size_t row) {
    const Index *index = context;
    return index->ops->text(index, row);
}

static void job_share(void *job, double share) {
    if (job) job_progress(job, (int64_t)(share * 100), 100, "percent");
}

/* Words and statistics anew, under the name of other rows, for the version that meta->build says.
 */
static bool words_rebuild(LanceWork *work, IndexMeta *meta, Job *job, Err *err) {
    Store *store = bucket_store(work->bucket);
    const Index *before = work->entry->index;
    OWNED(index_close) Index *index = NULL;
    char path[PATH_MAX], name[UUID_SIZE];
    ObjectInfo info;
    Bytes statistics = before->ops->embedder(before);
    random_uuid(name);
    meta->vectors = arena_copy(&work->arena, str_from(name));
    if (statistics.size &&
        !store_write(store, meta_words_key(meta, &work->arena), statistics, NULL, err))
        return false;
    if (meta->text_column.len == 0) return true;
    if (!index_lance_open(store, meta, &index, err) || !store_staging(store, path, err))
        return false;
    TextRows rows = {.count = index->count,
                     .text = row_text,
                     .context = index,
                     .cancelled = job_is_cancelled,
                     .cancel_context = job};
    bool ok = text_index_write(&rows, path, err) &&
              store_adopt(store, path, meta_text_key(meta, &work->arena), NULL, &info, err);
    if (!ok) unlink(path);
    return ok;
}

static void words_remove(LanceWork *work, const IndexMeta *meta) {
    Err ignored = {0};
    store_remove(bucket_store(work->bucket), meta_words_key(meta, &work->arena), &ignored);
    store_remove(bucket_store(work->bucket), meta_text_key(meta, &work->arena), &ignored);
}

static bool words_publish(LanceWork *work, IndexMeta *meta, Job *job, Err *err) {
    LanceInfo info;
    lance_info(work->table, &info);
    meta->build = arena_print(&work->arena, "%llu", (unsigned long long)info.version);
    bool ok = words_rebuild(work, meta, job, err) && work_publish(work, meta, err);
    words_remove(work, ok ? &work->entry->meta : meta);
    return ok;
}

bool index_lance_index(Indexes *indexes, Str index, const LanceIndexSpec *spec, Job *job,
                       Text *result, Err *err) {
    OWNED(work_close) LanceWork work = {.indexes = indexes};
    LanceWatch watch = {job_is_cancelled, job_share, job};
    LanceVectorIndexOptions more = {.bits = (uint32_t)spec->num_bits,
                                    .iterations_max = (uint32_t)spec->max_iters};
    if (!work_change(&work, index, err)) return false;
    IndexMeta meta = meta_copy(&work.entry->meta, &work.arena);
    if (spec->num_partitions) meta.config.partitions = spec->num_partitions;
    if (spec->num_sub_vectors) meta.config.sub_vectors = spec->num_sub_vectors;
    int64_t started = clock_us();
    if (!index_lance_fits(work.table, work.entry->index->dimensions, err)) return false;
    if (!lance_docs_index(work.table, metric_of(meta.metric), &meta.config, &more, &watch, err))
        return false;
    meta.build_ms = (clock_us() - started) / 1000;
    if (!words_publish(&work, &meta, job, err)) return false;
    lance_docs_tidy(bucket_store(work.bucket), meta_lance_key(&meta, &work.arena));
    return index_write(indexes, index, &(JsonWriter){.out = result}, err);
}
