/* The dataset's rows into vectors: texts are read twice, once to learn how rare each word is and
 * once to cut them into chunks and embed these by all threads, a batch at a time; vectors of the
 * dataset's own are taken as they are. */
#include "vector/build.h"

#include <stdlib.h>
#include <string.h>

#define EMBED_THREADS_WAITING 8
#define EMBED_GRAIN 64 /* texts in one call of the embedder */

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
    atomic_llong embedded, reused;
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

/* The vector of the same chunk with the same text in what is refreshed, or NULL. */
static const float *known_vector(const Build *b, Str id, uint32_t chunk, Str text) {
    if (!b->previous) return NULL;
    const Index *index = b->previous->index;
    const DocTable *docs = index_entry_docs(b->previous);
    uint32_t row = doc_table_first(docs, id);
    while (row != GRAPH_NONE && index->ops->chunk(index, row) != chunk)
        row = doc_table_next(docs, row);
    return row != GRAPH_NONE && str_equal(index->ops->text(index, row), text)
               ? index->ops->vector(index, row)
               : NULL;
}

static void batch_fail(Batch *batch, const Err *err) {
    pthread_mutex_lock(&batch->lock);
    if (batch->err.kind == LH_OK) batch->err = *err;
    pthread_mutex_unlock(&batch->lock);
}

static bool batch_failed(Batch *batch) {
    pthread_mutex_lock(&batch->lock);
    bool failed = batch->err.kind != LH_OK;
    pthread_mutex_unlock(&batch->lock);
    return failed;
}

/* Which document the model does not take: one by one, those that it took come from its cache. */
static void name_refused(Batch *batch, const size_t *places, size_t count, float *row, Err *err) {
    for (size_t i = 0; i < count; i++) {
        size_t at = places[i];
        Err why = {0};
        if (embedder_embed(batch->build->embedder, &batch->texts[at], 1, row, &why)) continue;
        *err = why;
        err_while(err, "document '%.*s', chunk %u", (int)MIN(batch->ids[at].len, 80),
                  batch->ids[at].data, batch->chunks[at]);
        return;
    }
}

/* The texts at these places, in one call: a model server takes many at once. */
static void embed_places(Batch *batch, const size_t *places, size_t count) {
    OWNED(arena_close) Arena arena = {0};
    Build *b = batch->build;
    size_t dimensions = (size_t)b->meta.dimensions;
    Str *texts = arena_array(&arena, Str, count);
    float *rows = arena_array(&arena, float, count *dimensions);
    Err err = {0};
    for (size_t i = 0; i < count; i++) texts[i] = batch->texts[places[i]];
    if (!embedder_embed(b->embedder, texts, count, rows, &err)) {
        Str code = str_from(err.code);
        if (str_is(code, "model_refused") || str_is(code, "text_too_long"))
            name_refused(batch, places, count, rows, &err);
        batch_fail(batch, &err);
        return;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(b->rows + places[i] * b->stride, rows + i * dimensions, dimensions * sizeof *rows);
}

static void embed_range(void *context, size_t from, size_t to) {
    Batch *batch = context;
    Build *b = batch->build;
    size_t places[EMBED_GRAIN], count = 0;
    for (size_t i = from; i < to; i++) {
        const float *known = known_vector(b, batch->ids[i], batch->chunks[i], batch->texts[i]);
        if (known)
            memcpy(b->rows + i * b->stride, known, b->stride * sizeof *known);
        else
            places[count++] = i;
    }
    atomic_fetch_add(&batch->reused, (long long)(to - from - count));
    atomic_fetch_add(&batch->embedded, (long long)count);
    if (count && !batch_failed(batch)) embed_places(batch, places, count);
}

/* A model server's are spent waiting, so that the machine's cores do not count; how many may ask at
 * once is the embedder's own rule. */
static int embed_threads(const Build *b) {
    int cores = parallel_threads();
    return embedder_learns(b->embedder) ? cores : MAX(cores, EMBED_THREADS_WAITING);
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

/* A vector that is prepared, of b->stride floats. */
static bool row_add(Build *b, const float *vector, Str id, uint32_t chunk, Str text, Err *err) {
    text_add(&b->chunks, (Str){(const char *)&chunk, sizeof chunk});
    text_add_u64(&b->id_ends, b->ids.size + id.len);
    text_add_u64(&b->text_ends, b->texts.size + text.len);
    b->count++;
    return temp_file_add(&b->ids, bytes_of(id), err) &&
           temp_file_add(&b->texts, bytes_of(text), err) &&
           index_writer_add(&b->writer, (Bytes){(const uint8_t *)vector, b->stride * sizeof(float)},
                            err);
}

static bool row_write(Build *b, float *vector, Str id, uint32_t chunk, Str text, Err *err) {
    if (!metric_prepare(b->metric, vector, (size_t)b->meta.dimensions, err))
        return err_while(err, "document '%.*s'", (int)MIN(id.len, 80), id.data);
    return row_add(b, vector, id, chunk, text, err);
}

static bool too_many(size_t count, Err *err) {
    return err_set(err, LH_TOO_BIG, "the index would have %zu vectors, at most %u fit", count,
                   GRAPH_ROWS_MAX);
}

static bool batch_write(Batch *batch, Err *err) {
    Build *b = batch->build;
    if (batch->count == 0) return true; /* its documents are skipped or by hand */
    if (b->count + batch->count > GRAPH_ROWS_MAX) return too_many(b->count + batch->count, err);
    rows_reserve(b, batch->count);
    parallel_for(embed_threads(b), batch->count, EMBED_GRAIN, embed_range, batch);
    if (batch->err.kind != LH_OK) return *err = batch->err, false;
    for (size_t i = 0; i < batch->count; i++)
        if (!row_write(b, b->rows + i * b->stride, batch->ids[i], batch->chunks[i], batch->texts[i],
                       err))
            return false;
    batch->count = 0;
    return true;
}

/* Put or deleted by hand: the dataset does not decide on it. */
static bool is_by_hand(const Build *b, Str id) {
    size_t at;
    return b->by_hand && rows_view_find(b->by_hand, id, &at);
}

/* One row of the dataset: its chunks join the batch. A row without an id or a text is skipped. */
static void add_document(Batch *batch, const Rows *rows, size_t row) {
    Build *b = batch->build;
    uint32_t chunk = 0;
    Str text;
    if (!rows_is_null(rows, 0, row) && is_by_hand(b, rows_text(rows, 0, row))) return;
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
        if (count == 0) break;
        for (size_t i = 0; i < count; i++) add_document(&batch, rows, i);
        if (!batch_write(&batch, err)) return false;
    }
    b->embedded = atomic_load(&batch.embedded);
    b->reused = atomic_load(&batch.reused);
    return true;
}

static bool dimension_check(size_t len, size_t dimensions, Str id, Err *err) {
    return (len == dimensions && len > 0 && len <= EMBED_DIMENSIONS_MAX) ||
           err_code(err, LH_IMPOSSIBLE, "wrong_dimension",
                    "the vector of '%.*s' has %zu numbers, the first has %zu (1 to %d fit)",
                    (int)MIN(id.len, 80), id.data, len, dimensions, EMBED_DIMENSIONS_MAX);
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
    if (!dimension_check(len, (size_t)b->meta.dimensions, id, err)) return false;
    if (is_by_hand(b, id)) return true;
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
    return true;
}

static bool add_view_row(Build *b, const RowsView *view, size_t row, Err *err) {
    if (b->count == GRAPH_ROWS_MAX) return too_many(b->count + 1, err);
    return row_add(b, rows_view_vector(view, row), rows_view_id(view, row),
                   rows_view_chunk(view, row), rows_view_text(view, row), err);
}

#define LOOK_ROWS 4096 /* rows between looks at whether it is cancelled */

static bool take_view(Build *b, const RowsView *view, Err *err) {
    size_t rows = rows_view_rows(view);
    for (size_t row = 0; row < rows; row++) {
        if (row % LOOK_ROWS == 0 && build_cancelled(b))
            return err_set(err, LH_CANCELLED, "cancelled");
        bool alive = row < view->base_count ? rows_view_base_alive(view, row)
                                            : rowset_has(&view->live, row - view->base_count);
        if (alive && !add_view_row(b, view, row, err)) return false;
    }
    return true;
}

bool build_wrong_dimension(const Build *b, int64_t by_hand, Err *err) {
    return err_code(err, LH_IMPOSSIBLE, "wrong_dimension",
                    "the dataset's vectors have %lld numbers now, rows put into index '%.*s' "
                    "have %lld: delete these, or make another index",
                    (long long)b->meta.dimensions, SHOW(b->meta.index), (long long)by_hand);
}

/* What was put by hand, after the dataset's rows. */
static bool take_by_hand(Build *b, Err *err) {
    const RowsView *view = b->by_hand;
    int64_t dimensions = view->live.count ? (int64_t)b->log->options.dimensions : 0;
    if (dimensions && b->meta.dimensions && b->meta.dimensions != dimensions)
        return build_wrong_dimension(b, dimensions, err);
    if (dimensions) b->meta.dimensions = dimensions, b->stride = stride_of((size_t)dimensions);
    b->meta.documents += (int64_t)view->live_documents;
    return take_view(b, view, err);
}

bool build_rows(Build *b, Err *err) {
    if (b->fold) return take_view(b, b->fold, err);
    /* A refresh keeps the statistics, so that the vectors that stay mean the same. */
    bool learns = b->embedder && !b->previous && embedder_learns(b->embedder);
    bool ok = b->embedder ? (!learns || observe_texts(b, err)) && embed_texts(b, err)
                          : take_vectors(b, err);
    if (!ok || (b->by_hand && !take_by_hand(b, err))) return false;
    return b->meta.dimensions > 0 ||
           err_code(err, LH_IMPOSSIBLE, "no_vectors", "column '%.*s' of '%.*s' holds no vector",
                    SHOW(b->meta.vector_column), SHOW(b->meta.dataset));
}
