/* A result as an Arrow IPC stream: one record batch for each batch of DuckDB's. */
#include "query/arrow.h"
#include "query/engine.h"

#include <stdlib.h>

typedef struct Stream {
    Rows *rows;
    duckdb_arrow_options options;
    struct ArrowSchema schema;
    Text out;
} Stream;

static void stream_close(Stream *stream) {
    if (stream->schema.release) stream->schema.release(&stream->schema);
    if (stream->options) duckdb_destroy_arrow_options(&stream->options);
    text_close(&stream->out);
}

static bool check(duckdb_error_data error, Err *err) {
    bool failed = duckdb_error_data_has_error(error);
    if (failed)
        err_code(err, LH_IMPOSSIBLE, "arrow_type", "the result has no Arrow form: %.300s",
                 duckdb_error_data_message(error));
    duckdb_destroy_error_data(&error);
    return !failed;
}

static bool make_schema(Stream *stream, Err *err) {
    Rows *rows = stream->rows;
    size_t count = rows->column_count;
    duckdb_logical_type *types = arena_array(&rows->arena, duckdb_logical_type, count + 1);
    const char **names = arena_array(&rows->arena, const char *, count + 1);
    stream->options = duckdb_result_get_arrow_options(&rows->result);
    for (size_t i = 0; i < count; i++) {
        types[i] = duckdb_column_logical_type(&rows->result, i);
        names[i] = arena_cstr(&rows->arena, rows->columns[i].name);
    }
    bool ok =
        check(duckdb_to_arrow_schema(stream->options, types, names, count, &stream->schema), err);
    for (size_t i = 0; i < count; i++) duckdb_destroy_logical_type(&types[i]);
    return ok && arrow_write_schema(&stream->schema, &stream->out, err);
}

static bool write_chunk(Stream *stream, duckdb_data_chunk chunk, Err *err) {
    struct ArrowArray array = {0};
    if (!check(duckdb_data_chunk_to_arrow(stream->options, chunk, &array), err)) return false;
    bool ok = arrow_write_batch(&stream->schema, &array, &stream->out, err);
    array.release(&array);
    return ok;
}

static bool flush(Stream *stream, RowsSink *sink, void *context, Err *err) {
    bool ok = sink(context, text_bytes(&stream->out), err);
    text_clear(&stream->out);
    return ok;
}

bool rows_write_arrow(Rows *rows, int64_t limit, RowsSink *sink, void *context, RowsWritten *out,
                      Err *err) {
    OWNED(stream_close) Stream stream = {.rows = rows};
    RowsWritten done = {0};
    size_t count;
    if (!make_schema(&stream, err)) return false;
    while (!done.truncated) {
        if (!rows_next(rows, &count, err)) return false;
        if (count == 0) break;
        if (limit > 0 && done.rows + (int64_t)count > limit) {
            done.truncated = true;
            count = (size_t)(limit - done.rows);
            duckdb_data_chunk_set_size(rows->chunk, count);
        }
        done.rows += (int64_t)count;
        if (count > 0 && !write_chunk(&stream, rows->chunk, err)) return false;
        if (!flush(&stream, sink, context, err)) return false;
    }
    arrow_write_end(&stream.out);
    *out = done;
    return flush(&stream, sink, context, err);
}
