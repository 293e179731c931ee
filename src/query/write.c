/* Rows that code of ours makes on the caller's thread, cell by cell: a feed that keeps their order.
 */
#include "query/engine.h"

#include <string.h>

bool table_function_add(duckdb_connection connection, const TableFunction *what, Err *err) {
    duckdb_table_function function = duckdb_create_table_function();
    duckdb_logical_type argument =
        duckdb_create_logical_type(what->arguments ? DUCKDB_TYPE_ANY : DUCKDB_TYPE_UBIGINT);
    duckdb_table_function_set_name(function, what->name);
    for (size_t i = 0; i < MAX(what->arguments, 1); i++)
        duckdb_table_function_add_parameter(function, argument);
    duckdb_table_function_set_bind(function, what->bind);
    duckdb_table_function_set_init(function, what->init);
    if (what->thread) duckdb_table_function_set_local_init(function, what->thread);
    duckdb_table_function_set_function(function, what->rows);
    bool ok = duckdb_register_table_function(connection, function) == DuckDBSuccess;
    duckdb_destroy_logical_type(&argument);
    duckdb_destroy_table_function(&function);
    return ok || err_set(err, LH_BUG, "the SQL engine takes no table function '%s'", what->name);
}

size_t batch_capacity(const RowBatch *batch) {
    (void)batch;
    return FEED_BATCH_ROWS;
}

void batch_text(RowBatch *batch, size_t column, size_t row, Str value) {
    vector_bytes(batch_vector(batch, column), row, value);
}

void batch_int(RowBatch *batch, size_t column, size_t row, int64_t value) {
    BatchVector *vector = batch_vector(batch, column);
    if (vector->kind == TYPE_INT)
        ((int32_t *)vector->values)[row] = (int32_t)value;
    else
        ((int64_t *)vector->values)[row] = value;
    vector_set_valid(vector, row);
}

void batch_real(RowBatch *batch, size_t column, size_t row, double value) {
    BatchVector *vector = batch_vector(batch, column);
    ((double *)vector->values)[row] = value;
    vector_set_valid(vector, row);
}

void batch_finish(RowBatch *batch, size_t rows) {
    batch->rows = MIN(rows, FEED_BATCH_ROWS);
}

/* Whether all rows were given, or writing ended early for a reason that feed_finish knows. */
static bool give_rows(RowFeed *feed, RowSource *source, void *context, Err *err) {
    RowBatch *batch;
    size_t rows = 1;
    while (rows && (batch = feed_take(feed))) {
        bool ok = source(context, batch, err);
        rows = ok ? batch->rows : 0;
        feed_give(feed, batch, rows);
        if (!ok) return false;
    }
    return true;
}

bool engine_write_parquet(Engine *engine, const Schema *schema, RowSource *source, void *context,
                          const char *path, Arena *arena, DataFile *out, Err *err) {
    OWNED(feed_close) RowFeed *feed = NULL;
    const FeedOptions options = {.fed = schema, .written = schema, .path = path, .in_order = true};
    return feed_open(engine, &options, &feed, err) && give_rows(feed, source, context, err) &&
           feed_finish(feed, arena, out, err);
}
