/* From a statement to an open, streamed result. Execution happens inside rows_next, on DuckDB's
 * threads and the caller's; the watcher interrupts it. A result that is closed early is
 * interrupted and drained first: DuckDB may hang in the next statement of a connection whose
 * unfinished result was thrown away. */
#include "query/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PARAMS_MAX 1000
#define HELD_ROWS_MAX 50000
#define HELD_BYTES_MAX (8 << 20)  /* of the files: what is held may be some ten times more */
#define NARROWED_ROWS_MAX 1000000 /* the same where a WHERE or GROUP BY leaves less of it */
#define NARROWED_BYTES_MAX (64 << 20)
#define SANDBOX_TRIES 3 /* others may replace the sandbox in between */

static bool take_slot(Engine *engine, int64_t wait_ms, Err *err) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    pthread_mutex_lock(&engine->lock);
    int limit = MAX(engine->options.queries_max, 1), timed_out = 0;
    while (engine->running >= limit && !timed_out)
        timed_out = pthread_cond_timedwait(&engine->slot_free, &engine->lock, &until);
    bool ok = engine->running < limit;
    engine->running += ok;
    pthread_mutex_unlock(&engine->lock);
    if (ok) return true;
    return err_code(err, LH_BUSY, "too_many_queries", "%d queries are running, none ended in time",
                    limit);
}

static void give_slot(Engine *engine) {
    pthread_mutex_lock(&engine->lock);
    engine->running--;
    pthread_cond_signal(&engine->slot_free);
    pthread_mutex_unlock(&engine->lock);
}

/* Interrupted means that the watcher had a reason. */
static bool fail(Rows *rows, const char *message, Err *err) {
    ErrKind why = watch_why(&rows->watched);
    if (why == LH_TIMEOUT)
        return err_code(err, LH_TIMEOUT, "query_timeout", "the query took longer than %lld ms",
                        (long long)rows->watched.timeout_ms);
    if (why == LH_CANCELLED) return err_set(err, LH_CANCELLED, "the query was cancelled");
    if (rows->plan.failed) return *err = rows->plan.err, false;
    sql_error(message, rows->sql, err);
    if (err->kind == LH_OFFLINE && !plan_check_files(&rows->plan, err)) return false;
    rows->broken = err->kind == LH_BUG;
    return false;
}

static duckdb_value list_value(const Json *param) {
    bool texts = param->len && param->items[0].kind == JSON_TEXT;
    duckdb_logical_type type =
        duckdb_create_logical_type(texts ? DUCKDB_TYPE_VARCHAR : DUCKDB_TYPE_DOUBLE);
    duckdb_value *values = calloc(MAX(param->len, 1), sizeof *values), list = NULL;
    size_t made = 0;
    if (!values) abort();
    for (; made < param->len; made++) {
        const Json *item = &param->items[made];
        double number;
        if (texts && item->kind == JSON_TEXT)
            values[made] = duckdb_create_varchar_length(item->text.data, item->text.len);
        else if (!texts && json_number(item, &number))
            values[made] = duckdb_create_double(number);
        else
            break;
    }
    if (made == param->len) list = duckdb_create_list_value(type, values, made);
    for (size_t i = 0; i < made; i++) duckdb_destroy_value(&values[i]);
    free(values);
    duckdb_destroy_logical_type(&type);
    return list;
}

static duckdb_value param_value(const Json *param) {
    switch (param->kind) {
    case JSON_NULL:
        return duckdb_create_null_value();
    case JSON_FLAG:
        return duckdb_create_bool(param->flag);
    case JSON_INT:
        return duckdb_create_int64(param->integer);
    case JSON_UINT:
        return duckdb_create_uint64(param->natural);
    case JSON_REAL:
        return duckdb_create_double(param->real);
    case JSON_TEXT:
        return duckdb_create_varchar_length(param->text.data, param->text.len);
    case JSON_ARRAY:
        return list_value(param);
    default:
        return NULL;
    }
}

static bool bind_params(Rows *rows, const Json *params, Err *err) {
    size_t wanted = duckdb_nparams(rows->statement);
    if (params && params->kind == JSON_NULL) params = NULL;
    if (params && params->kind != JSON_ARRAY)
        return err_set(err, LH_INVALID, "'params' must be an array");
    size_t given = params ? params->len : 0;
    if (wanted != given || given > PARAMS_MAX)
        return err_code(err, LH_INVALID, "sql_error",
                        "the statement has %zu parameters, %zu were given (at most %d)", wanted,
                        given, PARAMS_MAX);
    for (size_t i = 0; i < given; i++) {
        duckdb_value value = param_value(&params->items[i]);
        bool ok = value && duckdb_bind_value(rows->statement, i + 1, value) == DuckDBSuccess;
        duckdb_destroy_value(&value);
        if (!ok)
            return err_code(err, LH_INVALID, "sql_error",
                            "parameter %zu cannot be bound: a scalar, an array of numbers or an "
                            "array of texts is taken",
                            i + 1);
    }
    return true;
}

static bool prepare(Rows *rows, duckdb_connection connection, Str sql, Err *err) {
    const char *text = arena_cstr(&rows->arena, sql);
    duckdb_destroy_prepare(&rows->statement);
    if (duckdb_prepare(connection, text, &rows->statement) == DuckDBSuccess) return true;
    return fail(rows, duckdb_prepare_error(rows->statement), err);
}

static bool open_columns(Rows *rows, Err *err) {
    bool ok = true;
    rows->column_count = duckdb_column_count(&rows->result);
    rows->columns = arena_array(&rows->arena, Cells, rows->column_count);
    for (size_t i = 0; i < rows->column_count; i++) {
        duckdb_logical_type type = duckdb_column_logical_type(&rows->result, i);
        ok = ok && cells_open(&rows->columns[i], type, &rows->arena, err);
        duckdb_destroy_logical_type(&type);
        const char *name = duckdb_column_name(&rows->result, i);
        rows->columns[i].name = arena_copy(&rows->arena, str_from(name));
        if (!ok) return err_while(err, "column '%.*s'", SHOW(rows->columns[i].name));
    }
    return true;
}

static bool start(Rows *rows, const Json *params, Err *err) {
    if (!bind_params(rows, params, err)) return false;
    rows->has_result = true;
    if (duckdb_execute_prepared_streaming(rows->statement, &rows->result) == DuckDBSuccess)
        return open_columns(rows, err);
    rows->ended = true;
    return fail(rows, duckdb_result_error(&rows->result), err);
}

/* All of the result, held by DuckDB. */
static bool run_at_once(Rows *rows, duckdb_connection connection, Str sql, Err *err) {
    const char *text = arena_cstr(&rows->arena, sql);
    rows->has_result = rows->held = true;
    if (duckdb_query(connection, text, &rows->result) == DuckDBSuccess) return true;
    fail(rows, duckdb_result_error(&rows->result), err);
    duckdb_destroy_result(&rows->result);
    rows->has_result = rows->held = false;
    return false;
}

static Rows *rows_new(Engine *engine, const Query *query) {
    Rows *rows = calloc(1, sizeof *rows);
    if (!rows) abort();
    rows->engine = engine;
    rows->sql = arena_copy(&rows->arena, query->sql);
    rows->plan = (Plan){.engine = engine,
                        .arena = &rows->arena,
                        .as_of = query->as_of,
                        .only = query->only,
                        .only_count = query->only_count,
                        .scope = query->scope,
                        .check = query->check,
                        .nested = plan_current() != NULL,
                        .watched = &rows->watched};
    rows->watched = (Watched){
        .deadline_us = query->timeout_ms > 0 ? clock_us() + query->timeout_ms * 1000 : 0,
        .timeout_ms = query->timeout_ms,
        .cancelled = query->cancelled,
        .context = query->context,
    };
    return rows;
}

static void watch(Rows *rows, duckdb_connection connection) {
    rows->watched.connection = connection;
    watch_add(rows->engine, &rows->watched);
}

static bool open_on(Rows *rows, duckdb_database instance, const Query *query, Err *err) {
    if (duckdb_connect(instance, &rows->connection) != DuckDBSuccess)
        return err_set(err, LH_BUG, "the SQL engine takes no connection");
    watch(rows, rows->connection);
    return prepare(rows, rows->connection, query->sql, err) &&
           (query->check || start(rows, query->params, err));
}

/* DuckDB binds a prepared statement over Parquet twice, once to prepare it and once to run it, and
 * only prepared statements can be streamed. For a lookup in one dataset the second time costs more
 * than the work; a result that cannot be large is therefore held, not streamed. */
static bool is_small(Rows *rows, const Query *query, const Shape *shape) {
    int64_t dataset_rows;
    Err ignored;
    bool params = query->params && query->params->kind != JSON_NULL;
    if (!rows->engine->catalog || query->check || params || shape->parameters || shape->grows ||
        shape->tables != 1 || !shape->table.len)
        return false;
    return plan_load(&rows->plan, shape->table, &dataset_rows, &ignored) &&
           dataset_rows <= (shape->narrows ? NARROWED_ROWS_MAX : HELD_ROWS_MAX) &&
           rows->plan.bytes <= (shape->narrows ? NARROWED_BYTES_MAX : HELD_BYTES_MAX);
}

static bool try_sandbox(Rows *rows, const Query *query, Str sql, bool small, Err *err) {
    duckdb_connection connection = rows->conn->handle;
    if (small) {
        if (run_at_once(rows, connection, sql, err)) return true;
        bool too_big = err->kind == LH_TOO_BIG || err->kind == LH_FULL;
        if (!too_big || rows->plan.uncovered_len) return false;
    }
    return prepare(rows, connection, sql, err) &&
           (rows->plan.uncovered_len || query->check || start(rows, query->params, err));
}

/* A dataset in a bucket that the sandbox does not know yet fails the first try. */
static bool open_sandboxed(Rows *rows, const Query *query, Err *err) {
    OWNED(text_close) Text sql = {0};
    Shape shape = {0};
    bool small = false;
    for (int tries = 0;; tries++) {
        if (!conn_acquire(rows->engine, &rows->conn, err)) return false;
        rows->plan.sandbox = rows->conn->sandbox;
        watch(rows, rows->conn->handle);
        if (tries == 0) {
            if (!policy_pass(rows->engine->passed, rows->conn, query->sql, &sql, &shape, err))
                return false;
            small = is_small(rows, query, &shape);
        }
        bool ok =
            rows->plan.uncovered_len == 0 && try_sandbox(rows, query, text_str(&sql), small, err);
        if (rows->plan.uncovered_len == 0 || tries == SANDBOX_TRIES)
            return ok && (!rows->held || open_columns(rows, err));
        watch_remove(rows->engine, &rows->watched);
        duckdb_destroy_prepare(&rows->statement);
        conn_release(rows->engine, &rows->conn, false);
        if (!sandbox_widen(rows->engine, rows->plan.uncovered, rows->plan.uncovered_len, err))
            return false;
        rows->plan.uncovered_len = 0;
    }
}

bool query_open(Engine *engine, const Query *query, Rows **out, Err *err) {
    OWNED(rows_close) Rows *rows = rows_new(engine, query);
    bool wants_slot = !query->trusted && !rows->plan.nested;
    if (!plan_check(&rows->plan, err)) return false;
    if (wants_slot && !take_slot(engine, QUERY_WAIT_MS, err)) return false;
    rows->has_slot = wants_slot;
    Plan *outer = plan_enter(&rows->plan);
    bool ok = query->trusted ? open_on(rows, engine->trusted, query, err)
                             : open_sandboxed(rows, query, err);
    plan_enter(outer);
    if (ok) *out = TAKE(rows);
    return ok;
}

bool engine_run(Engine *engine, Str sql, bool (*cancelled)(void *), void *context, Rows **out,
                Err *err) {
    Query query = {.sql = sql, .trusted = true, .cancelled = cancelled, .context = context};
    return query_open(engine, &query, out, err);
}

bool instance_query(Engine *engine, duckdb_database instance, Str sql, bool (*cancelled)(void *),
                    void *context, Rows **out, Err *err) {
    Query query = {.sql = sql, .trusted = true, .cancelled = cancelled, .context = context};
    OWNED(rows_close) Rows *rows = rows_new(engine, &query);
    Plan *outer = plan_enter(&rows->plan);
    bool ok = open_on(rows, instance, &query, err);
    plan_enter(outer);
    if (ok) *out = TAKE(rows);
    return ok;
}

static void drain(Rows *rows) {
    duckdb_destroy_data_chunk(&rows->chunk);
    if (!rows->has_result || rows->ended || rows->held) return;
    watch_drain(rows->engine, &rows->watched);
    while ((rows->chunk = duckdb_fetch_chunk(rows->result)))
        duckdb_destroy_data_chunk(&rows->chunk);
}

void rows_close(Rows **rows) {
    Rows *r = TAKE(*rows);
    if (!r) return;
    drain(r);
    watch_remove(r->engine, &r->watched);
    if (r->has_result) duckdb_destroy_result(&r->result);
    duckdb_destroy_prepare(&r->statement);
    conn_release(r->engine, &r->conn, r->broken);
    if (r->connection) duckdb_disconnect(&r->connection);
    plan_close(&r->plan);
    if (r->has_slot) give_slot(r->engine);
    arena_close(&r->arena);
    free(r);
}

bool rows_next(Rows *rows, size_t *count, Err *err) {
    duckdb_destroy_data_chunk(&rows->chunk);
    *count = 0;
    while (!rows->ended && *count == 0) {
        duckdb_destroy_data_chunk(&rows->chunk);
        rows->chunk = duckdb_fetch_chunk(rows->result);
        if (rows->chunk) {
            *count = duckdb_data_chunk_get_size(rows->chunk);
            continue;
        }
        rows->ended = true;
        const char *message = duckdb_result_error(&rows->result);
        if (message && *message) return fail(rows, message, err);
    }
    for (size_t i = 0; *count && i < rows->column_count; i++)
        cells_load(&rows->columns[i], duckdb_data_chunk_get_vector(rows->chunk, i));
    return true;
}

size_t rows_columns(const Rows *rows) {
    return rows->column_count;
}
Str rows_name(const Rows *rows, size_t column) {
    return rows->columns[column].name;
}
Str rows_type(const Rows *rows, size_t column) {
    return rows->columns[column].sql;
}
int64_t rows_scanned_bytes(const Rows *rows) {
    return rows->plan.bytes;
}
bool rows_is_null(const Rows *rows, size_t column, size_t row) {
    return cell_is_null(&rows->columns[column], row);
}
Str rows_text(const Rows *rows, size_t column, size_t row) {
    return cell_str(&rows->columns[column], row);
}
double rows_real(const Rows *rows, size_t column, size_t row) {
    const Cells *cells = &rows->columns[column];
    if (cells->type == DUCKDB_TYPE_FLOAT) return ((const float *)cells->data)[row];
    return ((const double *)cells->data)[row];
}

int64_t rows_int(const Rows *rows, size_t column, size_t row) {
    const Cells *cells = &rows->columns[column];
    switch (cells->type) {
    case DUCKDB_TYPE_BOOLEAN:
    case DUCKDB_TYPE_UTINYINT:
        return ((const uint8_t *)cells->data)[row];
    case DUCKDB_TYPE_TINYINT:
        return ((const int8_t *)cells->data)[row];
    case DUCKDB_TYPE_SMALLINT:
        return ((const int16_t *)cells->data)[row];
    case DUCKDB_TYPE_USMALLINT:
        return ((const uint16_t *)cells->data)[row];
    case DUCKDB_TYPE_INTEGER:
        return ((const int32_t *)cells->data)[row];
    case DUCKDB_TYPE_UINTEGER:
        return ((const uint32_t *)cells->data)[row];
    default:
        return ((const int64_t *)cells->data)[row];
    }
}

const float *rows_floats(const Rows *rows, size_t column, size_t row, size_t *len) {
    const Cells *cells = &rows->columns[column];
    const float *floats = cells->children[0].data;
    if (cells->type == DUCKDB_TYPE_ARRAY) {
        *len = cells->array_len;
        return floats + row * cells->array_len;
    }
    duckdb_list_entry entry = ((const duckdb_list_entry *)cells->data)[row];
    *len = entry.length;
    return floats + entry.offset;
}
