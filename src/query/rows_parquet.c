/* A result as one Parquet file without a name. The user's statement runs in the sandbox as any
 * other; its batches are handed, without copying, to a COPY of the trusted instance through a table
 * function, lake_result(address), whose argument is where the Transfer lies. Memory is a row group.
 */
#include "query/engine.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Transfer {
    Rows *rows;
    int64_t limit; /* 0: all */
    RowsWritten done;
    bool failed, ended;
    Err err;
} Transfer;

static void on_bind(duckdb_bind_info info) {
    duckdb_value address = duckdb_bind_get_parameter(info, 0);
    Transfer *transfer = (Transfer *)(uintptr_t)duckdb_get_uint64(address);
    duckdb_destroy_value(&address);
    duckdb_bind_set_bind_data(info, transfer, NULL);
    for (size_t i = 0; i < transfer->rows->column_count; i++) {
        duckdb_logical_type type = duckdb_column_logical_type(&transfer->rows->result, i);
        duckdb_bind_add_result_column(info, duckdb_column_name(&transfer->rows->result, i), type);
        duckdb_destroy_logical_type(&type);
    }
}

static void on_init(duckdb_init_info info) {
    duckdb_init_set_max_threads(info, 1); /* one result, in its order */
}

static size_t within_limit(Transfer *transfer, size_t count) {
    int64_t left = transfer->limit - transfer->done.rows;
    if (transfer->limit == 0 || (int64_t)count <= left) return count;
    transfer->done.truncated = transfer->ended = true;
    return (size_t)left;
}

static void on_rows(duckdb_function_info info, duckdb_data_chunk chunk) {
    Transfer *transfer = duckdb_function_get_bind_data(info);
    size_t count = 0;
    if (!transfer->ended && !rows_next(transfer->rows, &count, &transfer->err)) {
        transfer->failed = true;
        return duckdb_function_set_error(info, "the query failed");
    }
    count = within_limit(transfer, count);
    transfer->ended |= count == 0;
    transfer->done.rows += (int64_t)count;
    for (size_t i = 0; count && i < transfer->rows->column_count; i++)
        duckdb_vector_reference_vector(duckdb_data_chunk_get_vector(chunk, i),
                                       duckdb_data_chunk_get_vector(transfer->rows->chunk, i));
    duckdb_data_chunk_set_size(chunk, count);
}

bool parquet_setup(duckdb_connection connection, Err *err) {
    const TableFunction function = {
        .name = "lake_result", .bind = on_bind, .init = on_init, .rows = on_rows};
    return table_function_add(connection, &function, err);
}

static bool copy_out(Transfer *transfer, const char *path, Err *err) {
    OWNED(text_close) Text sql = {0};
    OWNED(rows_close) Rows *copied = NULL;
    size_t count;
    text_print(&sql, "COPY (SELECT * FROM lake_result(%llu::UBIGINT)) TO ",
               (unsigned long long)(uintptr_t)transfer);
    sql_quote_text(&sql, str_from(path));
    text_add(&sql, STR(" (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"));
    const Watched *watched = &transfer->rows->watched;
    return engine_run(transfer->rows->engine, text_str(&sql), watched->cancelled, watched->context,
                      &copied, err) &&
           rows_next(copied, &count, err);
}

static bool open_result(const char *path, int *fd, uint64_t *size, Err *err) {
    OWNED(fd_close) int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (file < 0 || fstat(file, &info)) return err_errno(err, "cannot open the result");
    *size = (uint64_t)info.st_size;
    *fd = file;
    file = -1;
    return true;
}

bool rows_parquet(Rows *rows, int64_t limit, int *fd, uint64_t *size, RowsWritten *out, Err *err) {
    Transfer transfer = {.rows = rows, .limit = limit};
    char path[PATH_MAX], uuid[UUID_SIZE];
    random_uuid(uuid);
    int len =
        snprintf(path, sizeof path, "%s/trusted/result-%s.parquet", rows->engine->spill_dir, uuid);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, LH_TOO_BIG, "the spill folder's path is too long");
    bool ok = copy_out(&transfer, path, err) && open_result(path, fd, size, err);
    unlink(path);
    if (transfer.failed) *err = transfer.err;
    if (ok) *out = transfer.done;
    return ok;
}
