/* Rows that code of ours makes, as a table function that DuckDB's COPY reads from. There is one
 * function, lake_rows(address): its argument is where the Feed of the running write lies. It exists
 * on the trusted instance alone, whose SQL is all ours. */
#include "query/engine.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct RowBatch {
    duckdb_data_chunk chunk;
    size_t capacity, rows;
    duckdb_vector *vectors; /* per column, with what the setters write to */
    void **data;
    const TypeKind *kinds;
    size_t column_count;
};

typedef struct Feed {
    const Schema *schema;
    RowSource *source;
    void *context;
    RowBatch batch;
    Err err;
    bool failed, ended;
    Arena arena;
    pthread_mutex_t lock;
} Feed;

static duckdb_type stored_type(TypeKind kind) {
    switch (kind) {
    case TYPE_BOOLEAN:
        return DUCKDB_TYPE_BOOLEAN;
    case TYPE_INT:
        return DUCKDB_TYPE_INTEGER;
    case TYPE_LONG:
        return DUCKDB_TYPE_BIGINT;
    case TYPE_FLOAT:
        return DUCKDB_TYPE_FLOAT;
    case TYPE_DOUBLE:
        return DUCKDB_TYPE_DOUBLE;
    case TYPE_DATE:
        return DUCKDB_TYPE_DATE;
    case TYPE_TIMESTAMP:
        return DUCKDB_TYPE_TIMESTAMP;
    case TYPE_TIMESTAMPTZ:
        return DUCKDB_TYPE_TIMESTAMP_TZ;
    case TYPE_BINARY:
        return DUCKDB_TYPE_BLOB;
    default:
        return DUCKDB_TYPE_VARCHAR; /* COPY casts it to what the schema says */
    }
}

static void on_bind(duckdb_bind_info info) {
    duckdb_value address = duckdb_bind_get_parameter(info, 0);
    Feed *feed = (Feed *)(uintptr_t)duckdb_get_uint64(address);
    duckdb_destroy_value(&address);
    duckdb_bind_set_bind_data(info, feed, NULL);
    for (size_t i = 0; i < feed->schema->len; i++) {
        duckdb_logical_type type =
            duckdb_create_logical_type(stored_type(feed->schema->fields[i].type.kind));
        duckdb_bind_add_result_column(info, arena_cstr(&feed->arena, feed->schema->fields[i].name),
                                      type);
        duckdb_destroy_logical_type(&type);
    }
}

static void on_init(duckdb_init_info info) {
    duckdb_init_set_max_threads(info, 1); /* rows stay in the order they were made in */
}

static void load_batch(Feed *feed, duckdb_data_chunk chunk) {
    RowBatch *batch = &feed->batch;
    batch->chunk = chunk;
    batch->capacity = duckdb_vector_size();
    batch->rows = 0;
    for (size_t i = 0; i < batch->column_count; i++) {
        batch->vectors[i] = duckdb_data_chunk_get_vector(chunk, i);
        batch->data[i] = duckdb_vector_get_data(batch->vectors[i]);
        duckdb_vector_ensure_validity_writable(batch->vectors[i]);
        memset(duckdb_vector_get_validity(batch->vectors[i]), 0, batch->capacity / 8);
    }
}

static void next_rows(Feed *feed, duckdb_function_info info, duckdb_data_chunk chunk) {
    if (feed->ended) return duckdb_data_chunk_set_size(chunk, 0);
    load_batch(feed, chunk);
    if (!feed->source(feed->context, &feed->batch, &feed->err)) {
        feed->failed = true;
        return duckdb_function_set_error(info, "the source of rows failed");
    }
    feed->ended = feed->batch.rows == 0;
    duckdb_data_chunk_set_size(chunk, feed->batch.rows);
}

/* One call at a time, but each from any of the engine's threads: the lock hands over what the last
 * one left, without relying on locks of the engine that no tool of ours can see. */
static void on_rows(duckdb_function_info info, duckdb_data_chunk chunk) {
    Feed *feed = duckdb_function_get_bind_data(info);
    pthread_mutex_lock(&feed->lock);
    next_rows(feed, info, chunk);
    pthread_mutex_unlock(&feed->lock);
}

bool table_function_add(duckdb_connection connection, const char *name,
                        duckdb_table_function_bind_t bind, duckdb_table_function_init_t init,
                        duckdb_table_function_t rows, Err *err) {
    duckdb_table_function function = duckdb_create_table_function();
    duckdb_logical_type address = duckdb_create_logical_type(DUCKDB_TYPE_UBIGINT);
    duckdb_table_function_set_name(function, name);
    duckdb_table_function_add_parameter(function, address);
    duckdb_table_function_set_bind(function, bind);
    duckdb_table_function_set_init(function, init);
    duckdb_table_function_set_function(function, rows);
    bool ok = duckdb_register_table_function(connection, function) == DuckDBSuccess;
    duckdb_destroy_logical_type(&address);
    duckdb_destroy_table_function(&function);
    return ok || err_set(err, LH_BUG, "the SQL engine takes no table function '%s'", name);
}

bool write_setup(duckdb_connection connection, Err *err) {
    return table_function_add(connection, "lake_rows", on_bind, on_init, on_rows, err);
}

size_t batch_capacity(const RowBatch *batch) {
    return batch->capacity;
}

static void set_valid(RowBatch *batch, size_t column, size_t row) {
    duckdb_vector_get_validity(batch->vectors[column])[row / 64] |= 1ull << (row % 64);
}

void batch_text(RowBatch *batch, size_t column, size_t row, Str value) {
    duckdb_vector_assign_string_element_len(batch->vectors[column], row,
                                            value.data ? value.data : "", value.len);
    set_valid(batch, column, row);
}

void batch_int(RowBatch *batch, size_t column, size_t row, int64_t value) {
    void *data = batch->data[column];
    switch (stored_type(batch->kinds[column])) {
    case DUCKDB_TYPE_BOOLEAN:
        ((bool *)data)[row] = value != 0;
        break;
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_DATE:
        ((int32_t *)data)[row] = (int32_t)value;
        break;
    default:
        ((int64_t *)data)[row] = value;
    }
    set_valid(batch, column, row);
}

void batch_real(RowBatch *batch, size_t column, size_t row, double value) {
    if (batch->kinds[column] == TYPE_FLOAT)
        ((float *)batch->data[column])[row] = (float)value;
    else
        ((double *)batch->data[column])[row] = value;
    set_valid(batch, column, row);
}

void batch_finish(RowBatch *batch, size_t rows) {
    batch->rows = MIN(rows, batch->capacity);
}

static void rows_feed_open(Feed *feed) {
    size_t count = feed->schema->len;
    TypeKind *kinds = arena_array(&feed->arena, TypeKind, count);
    for (size_t i = 0; i < count; i++) kinds[i] = feed->schema->fields[i].type.kind;
    feed->batch.kinds = kinds;
    feed->batch.column_count = count;
    feed->batch.vectors = arena_array(&feed->arena, duckdb_vector, count);
    feed->batch.data = arena_array(&feed->arena, void *, count);
}

bool engine_write_parquet(Engine *engine, const Schema *schema, RowSource *source, void *context,
                          const char *path, Arena *arena, DataFile *out, Err *err) {
    Feed feed = {
        .schema = schema, .source = source, .context = context, .lock = PTHREAD_MUTEX_INITIALIZER};
    char select[64];
    rows_feed_open(&feed);
    snprintf(select, sizeof select, "SELECT * FROM lake_rows(%llu::UBIGINT)",
             (unsigned long long)(uintptr_t)&feed);
    bool ok =
        engine_copy_parquet(engine, str_from(select), schema, path, NULL, NULL, arena, out, err);
    pthread_mutex_lock(&feed.lock);
    if (!ok && feed.failed) *err = feed.err;
    pthread_mutex_unlock(&feed.lock);
    pthread_mutex_destroy(&feed.lock);
    arena_close(&feed.arena);
    return ok;
}
