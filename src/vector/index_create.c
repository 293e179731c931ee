/* Making an index: read the dataset, cut texts into chunks, embed them (or take the dataset's own
 * vectors), build the graph, write one index file and one Parquet of what was embedded, and publish
 * both by writing meta.json. A failure or a crash before that leaves nothing that anybody sees.
 *
 * Memory is bounded by a batch of rows plus graph_build_bytes; vectors and
 * texts go to files as they come. */
#include "vector/build.h"
#include "vector/index_lance.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void build_close(Build *b) {
    if (b->writing) {
        unlink(b->writer.path);
        index_writer_close(&b->writer);
    }
    if (b->vectors_path[0]) unlink(b->vectors_path);
    if (b->text_path[0]) unlink(b->text_path);
    temp_file_close(&b->ids);
    temp_file_close(&b->texts);
    text_close(&b->id_ends);
    text_close(&b->text_ends);
    text_close(&b->chunks);
    free(b->rows);
    embedder_close(&b->embedder);
    table_release(&b->table);
    rows_view_release(&b->fold);
    rows_view_release(&b->by_hand);
    overlay_close(&b->log);
    index_entry_release(&b->previous);
    bucket_release(&b->bucket);
    arena_close(&b->arena);
}

bool build_cancelled(void *context) {
    const Build *b = context;
    return b->job && job_cancelled(b->job);
}

static bool stage(Build *b, char path[PATH_MAX], Err *err) {
    return store_staging(bucket_store(b->bucket), path, err);
}

static bool open_files(Build *b, Err *err) {
    char path[PATH_MAX];
    if (!stage(b, path, err) || !temp_file_open(path, &b->ids, err)) return false;
    if (!stage(b, path, err) || !temp_file_open(path, &b->texts, err)) return false;
    if (!stage(b, path, err) || !index_writer_open(path, &b->writer, err)) return false;
    b->writing = true;
    return true;
}

static bool add_section(Build *b, Bytes data, Err *err) {
    return index_writer_add(&b->writer, data, err) && index_writer_next(&b->writer, err);
}

/* Refused before any memory is taken. */
static bool check_memory(const Build *b, Err *err) {
    int64_t needed = graph_build_bytes(b->count, (size_t)b->meta.dimensions, (int)b->meta.config.m,
                                       (int)b->meta.config.ef_construction);
    int64_t most = b->indexes->build_bytes_max;
    return needed <= most ||
           err_code(err, LH_TOO_BIG, "too_much_memory",
                    "a graph over %zu vectors of %lld dimensions takes %lld MiB to build, "
                    "[limits] index_build_mib allows %lld: raise it, or take a smaller m",
                    b->count, (long long)b->meta.dimensions, (long long)(needed >> 20),
                    (long long)(most >> 20));
}

static void graph_progress(void *context, double share) {
    const Build *b = context;
    if (b->job)
        job_progress(b->job, (int64_t)(share * (double)b->count), (int64_t)b->count, "vectors");
}

static bool add_graph(Build *b, const float *vectors, Err *err) {
    OWNED(graph_parts_close) GraphParts parts = {0};
    GraphBuild graph = {
        .vectors = {vectors, b->count, (size_t)b->meta.dimensions, b->stride,
                    b->metric == METRIC_L2},
        .m = (int)b->meta.config.m,
        .ef_construction = (int)b->meta.config.ef_construction,
        .threads = parallel_threads(),
        .cancelled = build_cancelled,
        .progress = graph_progress,
        .context = b
    };
    return check_memory(b, err) && graph_build(&graph, &parts, err) &&
           index_writer_graph(&b->writer, &parts, err);
}

static bool add_statistics(Build *b, Err *err) {
    OWNED(text_close) Text statistics = {0};
    if (b->embedder) {
        embedder_statistics(b->embedder, &statistics);
        Str digest = embedder_digest(b->embedder); /* of a fold, which asks no model: not known */
        if (digest.len) b->meta.model_digest = arena_copy(&b->arena, digest);
    }
    return add_section(b, text_bytes(&statistics), err);
}

static bool write_sections(Build *b, const float *vectors, Bytes ids, Bytes texts, Err *err) {
    b->writer.header.dimensions = (uint32_t)b->meta.dimensions;
    b->writer.header.stride = (uint32_t)b->stride;
    b->writer.header.count = b->count;
    b->writer.header.l2 = b->metric == METRIC_L2;
    return index_writer_next(&b->writer, err) && add_graph(b, vectors, err) &&
           add_section(b, text_bytes(&b->chunks), err) &&
           add_section(b, text_bytes(&b->id_ends), err) && add_section(b, ids, err) &&
           add_section(b, text_bytes(&b->text_ends), err) && add_section(b, texts, err) &&
           add_statistics(b, err) && index_writer_finish(&b->writer, err);
}

/* The rows once more, for the Parquet that other engines read. */
typedef struct Export {
    const Build *build;
    const float *vectors;
    Bytes ids, texts;
    size_t next;
} Export;

static Str export_text(const Text *ends, Bytes all, size_t row) {
    const uint64_t *end = (const uint64_t *)ends->data;
    uint64_t from = row ? end[row - 1] : 0;
    return (Str){(const char *)all.data + from, end[row] - from};
}

static bool export_rows(void *context, RowBatch *batch, Err *err) {
    Export *export = context;
    const Build *b = export->build;
    size_t count = MIN(batch_capacity(batch), b->count - export->next);
    (void)err;
    for (size_t i = 0; i < count; i++) {
        size_t row = export->next + i;
        Str vector = {(const char *)(export->vectors + row * b->stride),
                      (size_t)b->meta.dimensions * sizeof(float)};
        batch_text(batch, 0, i, export_text(&b->id_ends, export->ids, row));
        batch_int(batch, 1, i, ((const uint32_t *)b->chunks.data)[row]);
        batch_text(batch, 2, i, export_text(&b->text_ends, export->texts, row));
        batch_text(batch, 3, i, vector);
    }
    export->next += count;
    batch_finish(batch, count);
    return true;
}

static bool write_parquet(Build *b, const float *vectors, Bytes ids, Bytes texts, Err *err) {
    static Field fields[] = {
        {.id = 1, .name = STR("doc_id"), .type = {.kind = TYPE_STRING}},
        {.id = 2, .name = STR("chunk"),  .type = {.kind = TYPE_INT}   },
        {.id = 3, .name = STR("text"),   .type = {.kind = TYPE_STRING}},
        {.id = 4, .name = STR("vector"), .type = {.kind = TYPE_BINARY}}
    };
    static const Schema schema = {.fields = fields, .len = COUNT(fields)};
    Export export = {.build = b, .vectors = vectors, .ids = ids, .texts = texts};
    char path[PATH_MAX];
    DataFile file;
    if (!stage(b, path, err)) return false;
    memcpy(b->vectors_path, path, sizeof path);
    return engine_write_parquet(b->indexes->engine, &schema, export_rows, &export, path, &b->arena,
                                &file, err);
}

typedef struct BuildTexts {
    const Text *ends;
    Bytes all;
} BuildTexts;

static Str build_text(const void *context, size_t row) {
    const BuildTexts *texts = context;
    return export_text(texts->ends, texts->all, row);
}

static bool write_text(Build *b, Bytes texts, Err *err) {
    const BuildTexts context = {&b->text_ends, texts};
    const TextRows rows = {.count = b->count,
                           .text = build_text,
                           .context = &context,
                           .cancelled = build_cancelled,
                           .cancel_context = b};
    return b->meta.text_column.len == 0 ||
           (stage(b, b->text_path, err) && text_index_write(&rows, b->text_path, err));
}

static bool changes_length(const Build *b) {
    return b->previous && b->previous->meta.dimensions != b->meta.dimensions;
}

static bool has_length(void *context, const RowBatch *batch, Err *err) {
    const Build *b = context;
    int64_t length = (int64_t)batch->dimensions;
    return batch->put_count == 0 || length == b->meta.dimensions ||
           build_wrong_dimension(b, length, err);
}

/* Rows of the old length that were put during the build would have no place in it. While the index
 * is marked none are acknowledged (place.c), here for the row lock: then the log is looked at. */
static bool swap_length(Build *b, Store *store, Err *err) {
    OWNED(entry_log_close) EntryLog log = {0};
    const IndexMeta *was = &b->previous->meta;
    IndexMeta marked = *was;
    uint64_t known = (uint64_t)b->meta.rows_after;
    Err why = {0};
    marked.moving_to = was->bucket;
    if (!entry_log_open(b->indexes, was, &log, err) || !index_swap_meta(store, was, &marked, err))
        return false;
    if (row_log_replay(&log.log, &known, has_length, b, err) &&
        index_swap_meta(store, &marked, &b->meta, err))
        return true;
    if (err->kind != LH_OFFLINE && !index_swap_meta(store, &marked, was, &why))
        log_warn("index '%.*s' stays marked for a while: %s", SHOW(was->index), why.message);
    return false;
}

/* meta.json makes an index of the objects. Its name alone is one that another server may take too.
 */
static bool write_meta(Build *b, Store *store, Err *err) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    const PutCondition fresh = {.if_absent = true};
    if (changes_length(b)) return swap_length(b, store, err);
    if (b->previous) return index_swap_meta(store, &b->previous->meta, &b->meta, err);
    jw_object(&w);
    meta_write(&b->meta, &w);
    jw_end(&w);
    return store_write(store, meta_key(b->meta.index, "meta.json", &b->arena), text_bytes(&text),
                       &fresh, err);
}

static void remove_objects(Store *store, const IndexMeta *meta, Arena *arena) {
    Err ignored;
    store_remove(store, meta_build_key(meta, arena), &ignored);
    store_remove(store, meta_vectors_key(meta, arena), &ignored);
    store_remove(store, meta_text_key(meta, arena), &ignored);
    store_remove(store, meta_words_key(meta, arena), &ignored);
}

/* Under names that are new each time. */
static bool adopt(Build *b, Store *store, const char *path, Str key, Err *err) {
    ObjectInfo info;
    if (!path[0]) return true;
    if (!store_adopt(store, path, key, NULL, &info, err)) return false;
    b->meta.bytes += (int64_t)info.size;
    return true;
}

static bool put_in_force(Build *b, Store *store, Err *err) {
    bool ok = write_meta(b, store, err);
    /* After an unknown outcome meta.json may be there: what it names is kept. */
    if (!ok && err->kind != LH_OFFLINE) remove_objects(store, &b->meta, &b->arena);
    if (!ok) return false;
    IndexEntry *entry = index_entry_open(b->indexes, &b->meta);
    return changes_length(b) ? indexes_publish_locked(b->indexes, entry, true, err)
                             : indexes_publish(b->indexes, entry, b->previous, err);
}

/* The files become objects, then these an index; what it replaces goes. */
static bool publish(Build *b, Err *err) {
    pthread_mutex_t *rows = changes_length(b) ? indexes_row_lock(b->indexes, b->meta.index) : NULL;
    Store *store = bucket_store(b->bucket);
    if (build_cancelled(b)) return err_set(err, LH_CANCELLED, "cancelled");
    bool lance = str_is(b->meta.vector_backend, "lance"), ok = true;
    b->meta.bytes = lance ? b->lance_bytes : 0;
    ok = (lance || adopt(b, store, b->writer.path, meta_build_key(&b->meta, &b->arena), err)) &&
         adopt(b, store, b->vectors_path, meta_vectors_key(&b->meta, &b->arena), err) &&
         adopt(b, store, b->text_path, meta_text_key(&b->meta, &b->arena), err);
    if (!ok) {
        remove_objects(store, &b->meta, &b->arena);
        return false;
    }
    if (rows) pthread_mutex_lock(rows);
    ok = put_in_force(b, store, err);
    if (rows) pthread_mutex_unlock(rows);
    if (!ok) return false;
    if (b->previous) remove_objects(store, &b->previous->meta, &b->arena);
    if (lance) lance_docs_tidy(store, meta_lance_key(&b->meta, &b->arena));
    return true;
}

bool build_run(Build *b, Err *err) {
    int64_t started = clock_us();
    Bytes ids, texts;
    char build[UUID_SIZE];
    const void *vectors;
    size_t size;
    b->stride = stride_of((size_t)b->meta.dimensions);
    if (!open_files(b, err) || !build_rows(b, err)) return false;
    if (!index_writer_map(&b->writer, SECTION_VECTORS, &vectors, &size, err)) return false;
    random_uuid(build);
    b->meta.build = b->meta.vectors = arena_copy(&b->arena, str_from(build));
    b->meta.rows = (int64_t)b->count;
    b->meta.updated_ms = clock_now_ms();
    if (!b->previous) {
        b->meta.created_ms = b->meta.updated_ms;
        b->meta.row_log = b->meta.build;
    }
    bool ok = temp_file_map(&b->ids, &ids, err) && temp_file_map(&b->texts, &texts, err) &&
              (str_is(b->meta.vector_backend, "lance")
                   ? build_lance(b, vectors, ids, texts, err)
                   : write_sections(b, vectors, ids, texts, err) &&
                         write_parquet(b, vectors, ids, texts, err)) &&
              write_text(b, texts, err);
    index_writer_unmap(vectors, size);
    b->meta.build_ms = (clock_us() - started) / 1000;
    return ok && publish(b, err);
}

bool index_create(Indexes *indexes, const IndexSpec *spec, Job *job, Text *result, Err *err) {
    OWNED(build_close)
    Build b = BUILD_EMPTY(indexes, job);
    if (!build_plan(&b, spec, err) || !indexes_reserve(indexes, spec->index, err)) return false;
    bool ok = build_run(&b, err);
    indexes_unreserve(indexes, spec->index);
    if (!ok) return false;
    return index_write(indexes, spec->index, &(JsonWriter){.out = result}, err);
}
