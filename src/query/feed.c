/* Rows that other threads make, as a table function that DuckDB's COPY reads from: lake_feed
 * (address), whose argument is where the RowFeed lies. It exists on the trusted instance, and on
 * one of the feeds' own where order does not matter; the SQL of both is all ours.
 *
 * Producers fill data chunks of DuckDB's own and queue them. A thread of the feed runs the COPY,
 * with as many of the engine's threads as there are; each takes a chunk from the queue, lends its
 * vectors to the pipeline without copying them, and puts the chunk back among the free ones when it
 * comes for the next: by then the pipeline has read what it was lent. (Measured with bench/feed.c:
 * on two busy cores 1.6 million rows a second of nine columns from one producer, 1.9 from two.)
 *
 * The queue is short, so that producers wait for the COPY and memory is a few batches and a row
 * group a thread. Whoever fails stops the other: a COPY that ends, for whatever reason, closes the
 * queue, and a closed or cancelled feed fails the COPY.
 *
 * Thread rule: everything in RowFeed that changes is under its lock. Batches belong to whoever took
 * them; the lock hands over what is in them, without relying on locks of DuckDB's that no tool of
 * ours can see. */
#include "query/engine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUED_PER_THREAD 2
#define FEEDING_MEMORY_PART                                                                        \
    4 /* of the engine's memory, which the other instances share in halves */

struct RowFeed {
    Engine *engine;
    FeedOptions options;
    duckdb_database unordered;  /* the instance to write on; NULL: the trusted one, in order */
    duckdb_logical_type *types; /* of the columns, and of a batch */
    const char **names;
    Arena arena;
    pthread_t thread; /* runs the COPY */
    Arena copy_arena; /* of that thread, like the next three until it is joined */
    bool written;
    DataFile file;
    Err err;
    pthread_mutex_t lock; /* over all below */
    pthread_cond_t given, room;
    RowBatch *first, **last, *free;
    size_t queued, queued_max;
    bool complete; /* no more batches come */
    bool stopped;  /* the COPY ended, or must */
    bool cancelled, joined;
    Err why; /* it was stopped, if our own reason */
};

/* ---- The queue; all with the lock held ---- */

static void stop(RowFeed *feed) {
    feed->stopped = true;
    pthread_cond_broadcast(&feed->given);
    pthread_cond_broadcast(&feed->room);
}

static void refuse_text(RowFeed *feed, size_t column) {
    if (feed->why.kind == LH_OK)
        err_code(&feed->why, LH_INVALID, "invalid_utf8",
                 "column '%.*s' has a text that is not UTF-8: read its bytes, as BLOB",
                 SHOW(feed->options.fed->fields[column].name));
    stop(feed);
}

static void put_free(RowFeed *feed, RowBatch *batch) {
    batch->next = feed->free;
    feed->free = batch;
}

static void push(RowFeed *feed, RowBatch *batch) {
    batch->next = NULL;
    *feed->last = batch;
    feed->last = &batch->next;
    feed->queued++;
    pthread_cond_signal(&feed->given);
}

static RowBatch *pop(RowFeed *feed) {
    RowBatch *batch = feed->first;
    feed->first = batch->next;
    if (!feed->first) feed->last = &feed->first;
    feed->queued--;
    pthread_cond_signal(&feed->room);
    return batch;
}

/* ---- The COPY's side ---- */

typedef struct Reader { /* one of the COPY's threads */
    RowFeed *feed;
    RowBatch *lent;
} Reader;

static void give_back(Reader *reader) {
    if (reader->lent) put_free(reader->feed, TAKE(reader->lent));
}

static void reader_close(void *data) {
    Reader *reader = data;
    pthread_mutex_lock(&reader->feed->lock);
    give_back(reader);
    pthread_mutex_unlock(&reader->feed->lock);
    free(reader);
}

static void on_bind(duckdb_bind_info info) {
    duckdb_value address = duckdb_bind_get_parameter(info, 0);
    RowFeed *feed = (RowFeed *)(uintptr_t)duckdb_get_uint64(address);
    duckdb_destroy_value(&address);
    duckdb_bind_set_bind_data(info, feed, NULL);
    for (size_t i = 0; i < feed->options.fed->len; i++)
        duckdb_bind_add_result_column(info, feed->names[i], feed->types[i]);
}

static void on_init(duckdb_init_info info) {
    RowFeed *feed = duckdb_init_get_bind_data(info);
    duckdb_init_set_max_threads(info,
                                feed->options.in_order ? 1 : (idx_t)feed->engine->options.threads);
}

static void on_thread(duckdb_init_info info) {
    Reader *reader = calloc(1, sizeof *reader);
    if (!reader) abort();
    reader->feed = duckdb_init_get_bind_data(info);
    duckdb_init_set_init_data(info, reader, reader_close);
}

/* NULL at the end, or once it was stopped. */
static RowBatch *next_batch(Reader *reader, bool *stopped) {
    RowFeed *feed = reader->feed;
    pthread_mutex_lock(&feed->lock);
    give_back(reader);
    while (!feed->first && !feed->complete && !feed->stopped)
        pthread_cond_wait(&feed->given, &feed->lock);
    *stopped = feed->stopped;
    if (feed->first && !feed->stopped) reader->lent = pop(feed);
    pthread_mutex_unlock(&feed->lock);
    return reader->lent;
}

static void on_rows(duckdb_function_info info, duckdb_data_chunk chunk) {
    bool stopped;
    RowBatch *batch = next_batch(duckdb_function_get_local_init_data(info), &stopped);
    if (stopped) return duckdb_function_set_error(info, "the rows were stopped");
    if (!batch) return duckdb_data_chunk_set_size(chunk, 0);
    for (size_t i = 0; i < batch->column_count; i++)
        duckdb_vector_reference_vector(duckdb_data_chunk_get_vector(chunk, i),
                                       duckdb_data_chunk_get_vector(batch->chunk, i));
    duckdb_data_chunk_set_size(chunk, batch->rows);
}

bool feed_setup(duckdb_connection connection, Err *err) {
    const TableFunction function = {.name = "lake_feed",
                                    .bind = on_bind,
                                    .init = on_init,
                                    .thread = on_thread,
                                    .rows = on_rows};
    return table_function_add(connection, &function, err);
}

/* DuckDB has one setting for the order of rows an instance, so that feeds have an instance of their
 * own. What it holds is a row group a thread: it does with less memory than the others. */
static bool feeding_open(Engine *engine, duckdb_database *out, Err *err) {
    duckdb_connection connection;
    char limit[64];
    if (!instance_open(engine, "feeding", out, err)) return false;
    resolve_setup(*out);
    if (duckdb_connect(*out, &connection) != DuckDBSuccess)
        return err_set(err, LH_BUG, "the SQL engine takes no connection");
    snprintf(limit, sizeof limit, "SET memory_limit='%lldB'",
             (long long)engine->options.memory_bytes / FEEDING_MEMORY_PART);
    bool ok = instance_run(connection, STR(RESOLVE_MACRO), err) &&
              instance_run(connection, str_from(limit), err) &&
              instance_run(connection, STR("SET preserve_insertion_order=false"), err) &&
              feed_setup(connection, err);
    duckdb_disconnect(&connection);
    return ok;
}

static bool feeding_instance(Engine *engine, duckdb_database *out, Err *err) {
    duckdb_database made = NULL;
    pthread_mutex_lock(&engine->lock);
    bool ok = engine->feeding || feeding_open(engine, &made, err);
    if (ok && made) engine->feeding = TAKE(made);
    if (ok) *out = engine->feeding;
    pthread_mutex_unlock(&engine->lock);
    if (made) duckdb_close(&made);
    return ok;
}

/* Asked by the watcher every 20 ms: also what wakes readers and producers of a feed whose caller
 * gave up. */
static bool is_over(void *context) {
    RowFeed *feed = context;
    bool cancelled = feed->options.cancelled && feed->options.cancelled(feed->options.context);
    pthread_mutex_lock(&feed->lock);
    feed->cancelled |= cancelled;
    if (cancelled) stop(feed);
    bool over = feed->stopped;
    pthread_mutex_unlock(&feed->lock);
    return over;
}

static void make_select(const RowFeed *feed, Text *sql) {
    text_add(sql, STR("SELECT "));
    if (!feed->options.projection) text_add_byte(sql, '*');
    for (size_t i = 0; feed->options.projection && i < feed->options.written->len; i++)
        text_print(sql, "%s%.*s", i ? ", " : "", SHOW(feed->options.projection[i]));
    text_print(sql, " FROM lake_feed(%llu::UBIGINT) AS fed", (unsigned long long)(uintptr_t)feed);
    if (feed->options.filter.len) text_print(sql, " WHERE %.*s", SHOW(feed->options.filter));
}

static void *run_copy(void *context) {
    RowFeed *feed = context;
    OWNED(text_close) Text select = {0};
    const CopyOptions options = {.schema = feed->options.written,
                                 .path = feed->options.path,
                                 .unordered = feed->unordered,
                                 .cancelled = is_over,
                                 .context = feed};
    make_select(feed, &select);
    feed->written = copy_parquet(feed->engine, text_str(&select), &options, &feed->copy_arena,
                                 &feed->file, &feed->err);
    pthread_mutex_lock(&feed->lock);
    stop(feed);
    pthread_mutex_unlock(&feed->lock);
    return NULL;
}

/* ---- The producers' side ---- */

static RowFeed *feed_new(Engine *engine, const FeedOptions *options) {
    RowFeed *feed = calloc(1, sizeof *feed);
    if (!feed) abort();
    feed->engine = engine;
    feed->options = *options;
    feed->queued_max = (size_t)engine->options.threads * QUEUED_PER_THREAD;
    feed->last = &feed->first;
    feed->types = arena_array(&feed->arena, duckdb_logical_type, options->fed->len);
    feed->names = arena_array(&feed->arena, const char *, options->fed->len);
    for (size_t i = 0; i < options->fed->len; i++) {
        feed->types[i] = batch_type(&options->fed->fields[i].type);
        feed->names[i] = arena_cstr(&feed->arena, options->fed->fields[i].name);
    }
    pthread_mutex_init(&feed->lock, NULL);
    pthread_cond_init(&feed->given, NULL);
    pthread_cond_init(&feed->room, NULL);
    return feed;
}

static bool is_fed(const Type *type) {
    if (type->kind == TYPE_LIST) return is_fed(&type->fields[0].type);
    return type->kind != TYPE_STRUCT && type->kind != TYPE_MAP;
}

bool feed_open(Engine *engine, const FeedOptions *options, RowFeed **out, Err *err) {
    assert(duckdb_vector_size() == FEED_BATCH_ROWS);
    assert(options->projection || options->fed->len == options->written->len);
    for (size_t i = 0; i < options->fed->len; i++)
        if (!is_fed(&options->fed->fields[i].type))
            return err_set(err, LH_INVALID, "column '%.*s' has a type that no rows can be made of",
                           SHOW(options->fed->fields[i].name));
    duckdb_database unordered = NULL;
    if (!options->in_order && !feeding_instance(engine, &unordered, err)) return false;
    RowFeed *feed = feed_new(engine, options);
    feed->unordered = unordered;
    feed->joined = true; /* until there is a thread */
    if (pthread_create(&feed->thread, NULL, run_copy, feed)) {
        feed_close(&feed);
        return err_set(err, LH_BUSY, "the system gives no thread to write with");
    }
    feed->joined = false;
    *out = feed;
    return true;
}

RowBatch *feed_take(RowFeed *feed) {
    pthread_mutex_lock(&feed->lock);
    bool stopped = feed->stopped;
    RowBatch *batch = stopped ? NULL : feed->free;
    if (batch) feed->free = batch->next;
    pthread_mutex_unlock(&feed->lock);
    if (stopped) return NULL;
    if (!batch) batch = batch_open(feed->options.fed, feed->types);
    batch_clear(batch);
    return batch;
}

bool feed_ended(RowFeed *feed) {
    pthread_mutex_lock(&feed->lock);
    bool ended = feed->stopped;
    pthread_mutex_unlock(&feed->lock);
    return ended;
}

void feed_give(RowFeed *feed, RowBatch *batch, size_t rows) {
    size_t bad = batch->column_count;
    assert(rows <= FEED_BATCH_ROWS);
    batch->rows = rows;
    duckdb_data_chunk_set_size(batch->chunk, rows);
    if (rows && !batch_is_utf8(batch)) bad = batch_bad_column(batch);
    pthread_mutex_lock(&feed->lock);
    if (bad < batch->column_count) refuse_text(feed, bad);
    while (rows && feed->queued >= feed->queued_max && !feed->stopped)
        pthread_cond_wait(&feed->room, &feed->lock);
    if (rows && !feed->stopped)
        push(feed, batch);
    else
        put_free(feed, batch);
    pthread_mutex_unlock(&feed->lock);
}

static void join(RowFeed *feed) {
    if (!feed->joined) pthread_join(feed->thread, NULL);
    feed->joined = true;
}

static DataFile file_copy(const DataFile *file, Arena *arena) {
    DataFile copy = *file;
    copy.columns = arena_array(arena, ColumnStats, file->column_count);
    for (size_t i = 0; i < file->column_count; i++) {
        copy.columns[i] = file->columns[i];
        copy.columns[i].lower = arena_copy(arena, file->columns[i].lower);
        copy.columns[i].upper = arena_copy(arena, file->columns[i].upper);
    }
    return copy;
}

bool feed_finish(RowFeed *feed, Arena *arena, DataFile *out, Err *err) {
    pthread_mutex_lock(&feed->lock);
    feed->complete = true;
    pthread_cond_broadcast(&feed->given);
    pthread_mutex_unlock(&feed->lock);
    join(feed);
    if (feed->written) return *out = file_copy(&feed->file, arena), true;
    if (feed->cancelled) return err_set(err, LH_CANCELLED, "writing was cancelled");
    return *err = feed->why.kind ? feed->why : feed->err, false;
}

void feed_close(RowFeed **feed) {
    RowFeed *f = TAKE(*feed);
    if (!f) return;
    pthread_mutex_lock(&f->lock);
    stop(f);
    pthread_mutex_unlock(&f->lock);
    join(f);
    batches_close(f->first);
    batches_close(f->free);
    for (size_t i = 0; i < f->options.fed->len; i++) duckdb_destroy_logical_type(&f->types[i]);
    pthread_cond_destroy(&f->room);
    pthread_cond_destroy(&f->given);
    pthread_mutex_destroy(&f->lock);
    arena_close(&f->copy_arena);
    arena_close(&f->arena);
    free(f);
}
