/* Making an index: read the dataset, cut texts into chunks, embed them (or take the dataset's own
 * vectors), build the graph, write one index file and one Parquet of what was embedded, and publish
 * both by writing meta.json. A failure or a crash before that leaves nothing that anybody sees.
 *
 * Memory is bounded by a batch of rows plus about 450 bytes a chunk for the graph; vectors and
 * texts go to files as they come. */
#include "vector/index_file.h"
#include "vector/indexes.h"
#include "vector/temp_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EMBED_GRAIN 32

const Option index_options[] = {
    {"index",             LH_TEXT, AT(IndexSpec, index), REQUIRED, "name of the index"},
    {"dataset",       LH_TEXT, AT(IndexSpec, dataset), REQUIRED, "dataset to index"},
    {"id_column",           LH_TEXT, AT(IndexSpec, id_column), NULL,
     "column that names a document; 'id' or 'doc_id' where there is one"},
    {"text_column",                   LH_TEXT, AT(IndexSpec, text_column), NULL, "column with the text to embed"},
    {"vector_column",      LH_TEXT, AT(IndexSpec, vector_column), NULL,
     "column with vectors of your own: lists of floats of one length"},
    {"chunk",           LH_JSON, AT(IndexSpec, chunk), NULL, "{\"size\":1000,\"overlap\":200}, in bytes"},
    {"model", LH_TEXT, AT(IndexSpec, model), "builtin", "model that embeds the text"},
    {"bucket",         LH_TEXT, AT(IndexSpec, bucket), "primary", "home of the index"},
    {"vector_backend",       LH_TEXT, AT(IndexSpec, vector_backend), "parquet",
     "in-memory graph over Parquet", .choices = "parquet"},
    {"metric",               LH_TEXT, AT(IndexSpec, metric), "cosine", "similarity", .choices = "cosine|l2|dot"},
    {"m",                   LH_INT, AT(IndexSpec, m), "16", "links that a row chooses", .min = 2, .max = GRAPH_M_MAX},
    {"ef_construction",LH_INT, AT(IndexSpec, ef_construction), "200", "effort of the build",
     .min = 10, .max = 2000},
    {0      },
};

/* One build under way. */
typedef struct Build {
    Indexes *indexes;
    Job *job; /* NULL: nobody watches */
    Arena arena;
    IndexMeta meta;
    Metric metric;
    Bucket *bucket;
    Table *table;
    Embedder *embedder;
    IndexFileWriter writer;
    bool writing;
    TempFile ids, texts;
    Text id_ends, text_ends, chunks, bias;
    size_t stride, count;
    float *rows; /* stride floats for each of a batch's chunks */
    size_t rows_cap;
    char vectors_path[PATH_MAX];
} Build;

static void build_close(Build *b) {
    if (b->writing) {
        unlink(b->writer.path);
        index_writer_close(&b->writer);
    }
    if (b->vectors_path[0]) unlink(b->vectors_path);
    temp_file_close(&b->ids);
    temp_file_close(&b->texts);
    text_close(&b->id_ends);
    text_close(&b->text_ends);
    text_close(&b->chunks);
    text_close(&b->bias);
    free(b->rows);
    embedder_close(&b->embedder);
    table_release(&b->table);
    bucket_release(&b->bucket);
    arena_close(&b->arena);
}

static bool name_check(Str name, Err *err) {
    bool ok =
        name.len > 0 && name.len <= INDEX_NAME_MAX && name.data[0] != '.' && name.data[0] != '-';
    for (size_t i = 0; ok && i < name.len; i++) {
        char c = name.data[i];
        ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
    }
    return ok || err_code(err, LH_INVALID, "bad_index_name",
                          "'%.*s' is no index name: 1 to %d of a-z 0-9 _ - . that begin with a "
                          "letter, a digit or _",
                          (int)MIN(name.len, 80), name.data, INDEX_NAME_MAX);
}

static bool column_check(const Table *table, const char *what, Str column, const Field **out,
                         Err *err) {
    *out = schema_find(table_schema(table), column);
    return *out || err_code(err, LH_IMPOSSIBLE, "unknown_column",
                            "dataset '%.*s' has no column '%.*s' (%s)", SHOW(table_name(table)),
                            (int)MIN(column.len, 80), column.data, what);
}

static bool choose_id_column(Build *b, Str wanted, Err *err) {
    const Field *field;
    b->meta.id_column = wanted;
    if (wanted.len) return column_check(b->table, "id_column", wanted, &field, err);
    const Schema *schema = table_schema(b->table);
    if (schema_find(schema, STR("id"))) b->meta.id_column = STR("id");
    if (schema_find(schema, STR("doc_id"))) b->meta.id_column = STR("doc_id");
    return b->meta.id_column.len > 0 ||
           err_code(err, LH_IMPOSSIBLE, "id_column_missing",
                    "dataset '%.*s' has no column 'id' or 'doc_id': name one as id_column",
                    SHOW(table_name(b->table)));
}

static bool check_columns(Build *b, Err *err) {
    const Field *text = NULL, *vector = NULL;
    if (b->meta.text_column.len == 0 && b->meta.vector_column.len == 0)
        return err_code(err, LH_INVALID, "missing_field",
                        "name a text_column to embed or a vector_column to take");
    if (b->meta.text_column.len &&
        !column_check(b->table, "text_column", b->meta.text_column, &text, err))
        return false;
    if (text && text->type.kind != TYPE_STRING)
        return err_code(err, LH_IMPOSSIBLE, "wrong_type", "text_column '%.*s' is not text",
                        SHOW(text->name));
    if (b->meta.vector_column.len == 0) return true;
    if (!column_check(b->table, "vector_column", b->meta.vector_column, &vector, err)) return false;
    bool list = vector->type.kind == TYPE_LIST &&
                vector->type.fields[0].type.kind <= TYPE_DECIMAL &&
                vector->type.fields[0].type.kind != TYPE_BOOLEAN;
    return list || err_code(err, LH_IMPOSSIBLE, "wrong_type",
                            "vector_column '%.*s' is not a list of numbers", SHOW(vector->name));
}

/* Everything that a request can get wrong, before any work. */
static bool build_plan(Build *b, const IndexSpec *spec, Err *err) {
    b->meta = (IndexMeta){.index = spec->index,
                          .dataset = spec->dataset,
                          .text_column = spec->text_column,
                          .vector_column = spec->vector_column,
                          .bucket = spec->bucket,
                          .vector_backend = spec->vector_backend,
                          .metric = spec->metric,
                          .m = spec->m,
                          .ef_construction = spec->ef_construction,
                          .ef_search = INDEX_EF_SEARCH};
    b->metric = metric_of(spec->metric);
    const Json none = {.kind = JSON_OBJECT};
    if (!options_read(chunk_options, spec->chunk ? spec->chunk : &none, &b->meta.chunk, err))
        return err_while(err, "chunk");
    if (!name_check(spec->index, err)) return false;
    if (!catalog_load(b->indexes->catalog, spec->dataset, 0, &b->table, err)) return false;
    if (!choose_id_column(b, spec->id_column, err) || !check_columns(b, err)) return false;
    if (!bucket_find(b->indexes->buckets, spec->bucket, &b->bucket, err)) return false;
    b->meta.dataset_version = table_version(b->table);
    if (spec->vector_column.len) return true;
    b->meta.model = spec->model;
    if (!embedder_open(spec->model, &b->embedder, err)) return false;
    b->meta.dimensions = (int64_t)embedder_dimensions(b->embedder);
    return true;
}

static bool build_cancelled(void *context) {
    const Build *b = context;
    return b->job && job_cancelled(b->job);
}

static bool query_rows(Build *b, Str columns, Rows **out, Err *err) {
    Text sql = {0};
    text_print(&sql, "SELECT %.*s FROM ", SHOW(columns));
    sql_quote_trusted(&sql, table_name(b->table));
    Str text = arena_copy(&b->arena, text_str(&sql));
    text_close(&sql);
    Str as_of = arena_print(&b->arena, "{\"%.*s\":%lld}", SHOW(table_name(b->table)),
                            (long long)b->meta.dataset_version);
    Query query = {.sql = text, .trusted = true, .cancelled = build_cancelled, .context = b};
    return (b->meta.dataset_version == 0 || json_read(as_of, &b->arena, &query.as_of, err)) &&
           query_open(b->indexes->engine, &query, out, err);
}

static Str quoted(Build *b, Str column) {
    Text text = {0};
    sql_quote_name(&text, column);
    Str copy = arena_copy(&b->arena, text_str(&text));
    text_close(&text);
    return copy;
}

static void progress(Build *b, int64_t done) {
    if (b->job) job_progress(b->job, done, table_rows(b->table), "rows");
}

/* First pass over the texts: how rare each word is. */
static bool observe_texts(Build *b, Err *err) {
    OWNED(rows_close) Rows *rows = NULL;
    size_t count;
    if (!b->embedder) return true;
    if (!query_rows(b, quoted(b, b->meta.text_column), &rows, err)) return false;
    for (;;) {
        if (!rows_next(rows, &count, err)) return false;
        if (count == 0) return true;
        for (size_t i = 0; i < count; i++)
            if (!rows_is_null(rows, 0, i) &&
                !embedder_observe(b->embedder, rows_text(rows, 0, i), err))
                return false;
    }
}

/* Chunks of a batch, waiting to be embedded. */
typedef struct Batch {
    Build *build;
    Str *texts, *ids;
    uint32_t *chunks;
    size_t count, cap;
    Err err; /* the first that a range met */
    pthread_mutex_t lock;
} Batch;

static void batch_close(Batch *batch) {
    free(batch->texts);
    free(batch->ids);
    free(batch->chunks);
    pthread_mutex_destroy(&batch->lock);
}

static void batch_add(Batch *batch, Str id, uint32_t chunk, Str text) {
    if (batch->count == batch->cap) {
        batch->cap = MAX(batch->cap * 2, 1024);
        batch->texts = realloc(batch->texts, batch->cap * sizeof *batch->texts);
        batch->ids = realloc(batch->ids, batch->cap * sizeof *batch->ids);
        batch->chunks = realloc(batch->chunks, batch->cap * sizeof *batch->chunks);
        if (!batch->texts || !batch->ids || !batch->chunks) abort();
    }
    batch->texts[batch->count] = text;
    batch->ids[batch->count] = id;
    batch->chunks[batch->count++] = chunk;
}

static void embed_range(void *context, size_t from, size_t to) {
    Batch *batch = context;
    Build *b = batch->build;
    Err err = {0};
    for (size_t i = from; i < to; i++) {
        if (embedder_embed(b->embedder, &batch->texts[i], 1, b->rows + i * b->stride, &err))
            continue;
        pthread_mutex_lock(&batch->lock);
        if (batch->err.kind == LH_OK) batch->err = err;
        pthread_mutex_unlock(&batch->lock);
        return;
    }
}

/* The batch's vectors, zeroed. */
static void rows_reserve(Build *b, size_t count) {
    if (count * b->stride > b->rows_cap) {
        free(b->rows);
        b->rows_cap = count * b->stride;
        b->rows = malloc(b->rows_cap * sizeof *b->rows);
        if (!b->rows) abort();
    }
    memset(b->rows, 0, count * b->stride * sizeof *b->rows);
}

static void text_add_u64(Text *out, uint64_t value) {
    text_add(out, (Str){(const char *)&value, sizeof value});
}

static bool row_write(Build *b, float *vector, Str id, uint32_t chunk, Str text, Err *err) {
    metric_prepare(b->metric, vector, (size_t)b->meta.dimensions);
    float bias = 0;
    for (size_t i = 0; b->metric == METRIC_L2 && i < b->stride; i++)
        bias += vector[i] * vector[i] / 2;
    text_add(&b->bias, (Str){(const char *)&bias, sizeof bias});
    text_add(&b->chunks, (Str){(const char *)&chunk, sizeof chunk});
    text_add_u64(&b->id_ends, b->ids.size + id.len);
    text_add_u64(&b->text_ends, b->texts.size + text.len);
    b->count++;
    return temp_file_add(&b->ids, bytes_of(id), err) &&
           temp_file_add(&b->texts, bytes_of(text), err) &&
           index_writer_add(&b->writer, (Bytes){(uint8_t *)vector, b->stride * sizeof(float)}, err);
}

static bool too_many(size_t count, Err *err) {
    return err_set(err, LH_TOO_BIG, "the index would have %zu vectors, at most %u fit", count,
                   GRAPH_ROWS_MAX);
}

static bool batch_write(Batch *batch, Err *err) {
    Build *b = batch->build;
    if (b->count + batch->count > GRAPH_ROWS_MAX) return too_many(b->count + batch->count, err);
    rows_reserve(b, batch->count);
    parallel_for(parallel_threads(), batch->count, EMBED_GRAIN, embed_range, batch);
    if (batch->err.kind != LH_OK) return *err = batch->err, false;
    for (size_t i = 0; i < batch->count; i++)
        if (!row_write(b, b->rows + i * b->stride, batch->ids[i], batch->chunks[i], batch->texts[i],
                       err))
            return false;
    batch->count = 0;
    return true;
}

/* One row of the dataset: its chunks join the batch. A row without an id or a text is skipped. */
static void add_document(Batch *batch, const Rows *rows, size_t row) {
    Build *b = batch->build;
    uint32_t chunk = 0;
    Str text;
    if (!rows_is_null(rows, 0, row) && !rows_is_null(rows, 1, row)) {
        Chunker chunks = chunker(rows_text(rows, 1, row), &b->meta.chunk);
        while (chunk_next(&chunks, &text)) batch_add(batch, rows_text(rows, 0, row), chunk++, text);
    }
    b->meta.documents += chunk > 0;
    b->meta.skipped += chunk == 0;
}

static bool embed_texts(Build *b, Err *err) {
    OWNED(rows_close) Rows *rows = NULL;
    OWNED(batch_close) Batch batch = {.build = b, .lock = PTHREAD_MUTEX_INITIALIZER};
    Str columns =
        arena_print(&b->arena, "CAST(%.*s AS VARCHAR), %.*s", SHOW(quoted(b, b->meta.id_column)),
                    SHOW(quoted(b, b->meta.text_column)));
    size_t count;
    if (!query_rows(b, columns, &rows, err)) return false;
    for (int64_t done = 0;; done += (int64_t)count) {
        progress(b, done);
        if (!rows_next(rows, &count, err)) return false;
        if (count == 0) return true;
        for (size_t i = 0; i < count; i++) add_document(&batch, rows, i);
        if (!batch_write(&batch, err)) return false;
    }
}

static bool vector_check(const float *vector, size_t len, size_t dimensions, Str id, Err *err) {
    if (len != dimensions || len == 0 || len > EMBED_DIMENSIONS_MAX)
        return err_code(err, LH_IMPOSSIBLE, "wrong_dimension",
                        "the vector of '%.*s' has %zu numbers, the first has %zu (1 to %d fit)",
                        (int)MIN(id.len, 80), id.data, len, dimensions, EMBED_DIMENSIONS_MAX);
    for (size_t i = 0; i < len; i++)
        if (!isfinite(vector[i]))
            return err_code(err, LH_IMPOSSIBLE, "not_finite",
                            "the vector of '%.*s' holds a number that is not finite",
                            (int)MIN(id.len, 80), id.data);
    return true;
}

static size_t stride_of(size_t dimensions) {
    return (dimensions + 15) / 16 * 16; /* KERNEL_LANES */
}

static bool take_vector(Build *b, const Rows *rows, size_t row, Err *err) {
    size_t len;
    if (rows_is_null(rows, 0, row) || rows_is_null(rows, 1, row)) {
        b->meta.skipped++;
        return true;
    }
    Str id = rows_text(rows, 0, row);
    const float *vector = rows_floats(rows, 1, row, &len);
    if (b->meta.dimensions == 0) b->meta.dimensions = (int64_t)len;
    if (!vector_check(vector, len, (size_t)b->meta.dimensions, id, err)) return false;
    if (b->count == GRAPH_ROWS_MAX) return too_many(b->count + 1, err);
    b->stride = stride_of(len);
    rows_reserve(b, 1);
    memcpy(b->rows, vector, len * sizeof *vector);
    b->meta.documents++;
    bool text = b->meta.text_column.len && !rows_is_null(rows, 2, row);
    return row_write(b, b->rows, id, 0, text ? rows_text(rows, 2, row) : (Str){0}, err);
}

static bool take_vectors(Build *b, Err *err) {
    OWNED(rows_close) Rows *rows = NULL;
    size_t count;
    Str columns =
        arena_print(&b->arena, "CAST(%.*s AS VARCHAR), CAST(%.*s AS FLOAT[])%s%.*s",
                    SHOW(quoted(b, b->meta.id_column)), SHOW(quoted(b, b->meta.vector_column)),
                    b->meta.text_column.len ? ", " : "",
                    SHOW(b->meta.text_column.len ? quoted(b, b->meta.text_column) : (Str){0}));
    if (!query_rows(b, columns, &rows, err)) return false;
    for (int64_t done = 0;; done += (int64_t)count) {
        progress(b, done);
        if (!rows_next(rows, &count, err)) return false;
        if (count == 0) break;
        for (size_t i = 0; i < count; i++)
            if (!take_vector(b, rows, i, err)) return false;
    }
    return b->count > 0 ||
           err_code(err, LH_IMPOSSIBLE, "no_vectors", "column '%.*s' of '%.*s' holds no vector",
                    SHOW(b->meta.vector_column), SHOW(b->meta.dataset));
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

static bool add_links(Build *b, const float *vectors, Err *err) {
    OWNED(text_close) Text links = {0}, entries = {0};
    GraphBuild graph = {
        .vectors = {vectors, (const float *)b->bias.data, b->count, b->stride},
        .m = (int)b->meta.m,
        .ef_construction = (int)b->meta.ef_construction,
        .threads = parallel_threads(),
        .cancelled = build_cancelled,
        .context = b
    };
    size_t size = b->count * graph_degree(graph.m) * sizeof(uint32_t);
    text_reserve(&links, size);
    if (!graph_build(&graph, (uint32_t *)links.data, &entries, err)) return false;
    return add_section(b, (Bytes){(const uint8_t *)links.data, size}, err) &&
           add_section(b, text_bytes(&entries), err);
}

static bool add_statistics(Build *b, Err *err) {
    OWNED(text_close) Text statistics = {0};
    if (b->embedder) {
        embedder_statistics(b->embedder, &statistics);
        b->meta.model_digest = arena_copy(&b->arena, embedder_digest(b->embedder));
    }
    return add_section(b, text_bytes(&statistics), err);
}

static bool write_sections(Build *b, const float *vectors, Bytes ids, Bytes texts, Err *err) {
    b->writer.header.dimensions = (uint32_t)b->meta.dimensions;
    b->writer.header.stride = (uint32_t)b->stride;
    b->writer.header.degree = (uint32_t)graph_degree((int)b->meta.m);
    b->writer.header.count = b->count;
    return index_writer_next(&b->writer, err) && add_section(b, text_bytes(&b->bias), err) &&
           add_links(b, vectors, err) && add_section(b, text_bytes(&b->chunks), err) &&
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

/* Index file and Parquet become objects, then meta.json makes them an index. */
static bool publish(Build *b, Err *err) {
    OWNED(text_close) Text text = {0};
    Store *store = bucket_store(b->bucket);
    ObjectInfo idx, parquet;
    JsonWriter w = {.out = &text};
    Str idx_key = meta_build_key(&b->meta, &b->arena);
    Str parquet_key = meta_vectors_key(&b->meta, &b->arena);
    const PutCondition fresh = {.if_absent = true};
    Err ignored;
    if (build_cancelled(b)) return err_set(err, LH_CANCELLED, "cancelled");
    if (!store_adopt(store, b->writer.path, idx_key, &fresh, &idx, err)) return false;
    bool ok = store_adopt(store, b->vectors_path, parquet_key, &fresh, &parquet, err);
    if (ok) {
        b->meta.bytes = (int64_t)(idx.size + parquet.size);
        jw_object(&w);
        meta_write(&b->meta, &w);
        jw_end(&w);
        ok = store_write(store, meta_key(b->meta.index, "meta.json", &b->arena), text_bytes(&text),
                         &fresh, err);
        if (ok) return true;
        if (err->kind == LH_OFFLINE) return false; /* it may be there: keep what it names */
        store_remove(store, parquet_key, &ignored);
    }
    store_remove(store, idx_key, &ignored);
    return false;
}

static bool build_run(Build *b, Err *err) {
    int64_t started = clock_us();
    Bytes ids, texts;
    char build[UUID_SIZE];
    const void *vectors;
    size_t size;
    b->stride = stride_of((size_t)b->meta.dimensions);
    if (!open_files(b, err) || !observe_texts(b, err)) return false;
    if (!(b->embedder ? embed_texts(b, err) : take_vectors(b, err))) return false;
    if (!index_writer_map(&b->writer, SECTION_VECTORS, &vectors, &size, err)) return false;
    random_uuid(build);
    b->meta.build = arena_copy(&b->arena, str_from(build));
    b->meta.rows = (int64_t)b->count;
    b->meta.created_ms = b->meta.updated_ms = clock_now_ms();
    bool ok = temp_file_map(&b->ids, &ids, err) && temp_file_map(&b->texts, &texts, err) &&
              write_sections(b, vectors, ids, texts, err) &&
              write_parquet(b, vectors, ids, texts, err);
    index_writer_unmap(vectors, size);
    b->meta.build_ms = (clock_us() - started) / 1000;
    return ok && publish(b, err);
}

bool index_check(Indexes *indexes, const IndexSpec *spec, Err *err) {
    OWNED(build_close)
    Build b = {.indexes = indexes, .ids = TEMP_FILE_EMPTY, .texts = TEMP_FILE_EMPTY};
    if (!build_plan(&b, spec, err)) return false;
    if (!indexes_reserve(indexes, spec->index, err)) return false;
    indexes_unreserve(indexes, spec->index);
    return true;
}

bool index_create(Indexes *indexes, const IndexSpec *spec, Job *job, Text *result, Err *err) {
    OWNED(build_close)
    Build b = {.indexes = indexes, .job = job, .ids = TEMP_FILE_EMPTY, .texts = TEMP_FILE_EMPTY};
    if (!build_plan(&b, spec, err) || !indexes_reserve(indexes, spec->index, err)) return false;
    bool ok = build_run(&b, err);
    if (ok) indexes_publish(indexes, index_entry_open(indexes, &b.meta));
    indexes_unreserve(indexes, spec->index);
    if (!ok) return false;
    return index_write(indexes, spec->index, &(JsonWriter){.out = result}, err);
}
