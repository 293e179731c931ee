/* What the tests of the PostgreSQL connector share: the server of tests/kit, statements on it, and
 * a source pulled by its parts' threads into a Parquet file, which DuckDB then reads. */
#pragma once

#include "ingest/source.h"
#include "kit/engine.h"
#include "kit/kit.h"
#include "kit/service.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static Err err;
static Arena arena;
static Engine *pg_engine_kept;

static inline Engine *pg_engine(void) {
    if (!pg_engine_kept) pg_engine_kept = kit_engine(NULL, 1 << 30, 1 << 30);
    return pg_engine_kept;
}

static inline const char *pg_dsn(void) {
    return kit_service("postgres", NULL);
}

static inline PGconn *pg_connect(void) {
    PGconn *conn = PQconnectdb(pg_dsn());
    if (PQstatus(conn) != CONNECTION_OK) kit_fail(__FILE__, __LINE__, "%s", PQerrorMessage(conn));
    PQclear(PQexec(conn, "SET client_min_messages = error; SET timezone = 'UTC';"
                         "SET intervalstyle = 'iso_8601'"));
    return conn;
}

/* Until the server lets us in. */
static inline void pg_wait(void) {
    for (int tries = 0; tries < 500; tries++) {
        PGconn *conn = PQconnectdb(pg_dsn());
        bool ok = PQstatus(conn) == CONNECTION_OK;
        PQfinish(conn);
        if (ok) return;
        usleep(20000);
    }
}

/* The first value that the statements give, in the arena. */
static inline Str pg_sql(const char *sql) {
    PGconn *conn = pg_connect();
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        kit_fail(__FILE__, __LINE__, "%.200s: %s", sql, PQresultErrorMessage(result));
    Str out = {0};
    if (status == PGRES_TUPLES_OK && PQntuples(result) > 0 && !PQgetisnull(result, 0, 0))
        out = arena_copy(&arena, str_from(PQgetvalue(result, 0, 0)));
    PQclear(result);
    PQfinish(conn);
    return out;
}

static inline SourceRequest pg_request(const char *table, const char *query) {
    return (SourceRequest){.dsn = str_from(pg_dsn()),
                           .table = str_from(table),
                           .query = str_from(query),
                           .connect_timeout_ms = 5000,
                           .idle_timeout_ms = 5000,
                           .parallel = 1};
}

/* A source and where its rows went. */
typedef struct Pulled {
    Source *source;
    const char *path; /* of the Parquet file */
    DataFile file;
    atomic_llong moved_rows, moved_bytes;
    Err errors[SOURCE_PARTS_MAX]; /* of the parts */
    RowFeed *feed;
    void (*first)(void *context); /* called once, when the first batch went */
    void *first_context;
    atomic_llong batch_bytes_max;
} Pulled;

static inline void pulled_close(Pulled *pulled) {
    feed_close(&pulled->feed);
    source_close(&pulled->source);
}

typedef struct PulledPart {
    Pulled *pulled;
    size_t part;
    bool ok;
    pthread_t thread;
} PulledPart;

static inline void *pulled_run(void *context) {
    PulledPart *part = context;
    Source *source = part->pulled->source;
    part->ok = source->ops->pull(source, part->part, part->pulled->feed,
                                 &part->pulled->errors[part->part]);
    if (!part->ok) source->ops->cancel(source);
    return NULL;
}

static inline void pulled_moved(void *context, int64_t rows, int64_t bytes) {
    Pulled *pulled = context;
    bool is_first = atomic_fetch_add(&pulled->moved_rows, rows) == 0;
    if (is_first && pulled->first) pulled->first(pulled->first_context);
    if (bytes > pulled->batch_bytes_max) pulled->batch_bytes_max = bytes;
    atomic_fetch_add(&pulled->moved_bytes, bytes);
}

static inline Schema *pulled_schema(const Source *source) {
    Schema *schema = arena_new(&arena, Schema);
    int32_t last_id = 0;
    schema->len = source->column_count;
    schema->fields = arena_array(&arena, Field, schema->len);
    for (size_t i = 0; i < schema->len; i++)
        schema->fields[i] =
            (Field){.name = source->columns[i].name, .type = source->columns[i].type};
    schema_assign_ids(schema, &last_id);
    return schema;
}

/* All parts of an open source, each by a thread. The error is the first part's that has one which
 * is not "cancelled". */
static inline bool pulled_all(Pulled *pulled, Err *why) {
    PulledPart parts[SOURCE_PARTS_MAX];
    Source *source = pulled->source;
    static int number;
    const Schema *schema = pulled_schema(source);
    pulled->path = arena_print(&arena, "%s/%d.parquet", kit_dir(), number++).data;
    FeedOptions options = {.fed = schema, .written = schema, .path = pulled->path};
    if (!feed_open(pg_engine(), &options, &pulled->feed, why)) return false;
    source->moved = pulled_moved;
    source->moved_context = pulled;
    for (size_t i = 0; i < source->parts; i++) {
        parts[i] = (PulledPart){.pulled = pulled, .part = i};
        pthread_create(&parts[i].thread, NULL, pulled_run, &parts[i]);
    }
    bool ok = true;
    for (size_t i = 0; i < source->parts; i++) {
        pthread_join(parts[i].thread, NULL);
        if (parts[i].ok) continue;
        if (ok || why->kind == LH_CANCELLED) *why = pulled->errors[i];
        ok = false;
    }
    return ok && feed_finish(pulled->feed, &arena, &pulled->file, why);
}

static inline bool pull(const SourceRequest *request, Pulled *out, Err *why) {
    return source_postgres(request, &out->source, why) && pulled_all(out, why);
}

/* The one value of a SELECT over the rows, "FROM rows" being them, as text. */
static inline Str pulled_ask(const Pulled *pulled, const char *select) {
    OWNED(rows_close) Rows *rows = NULL;
    size_t count;
    Str sql = arena_print(&arena,
                          "WITH rows AS (FROM read_parquet('%s')) SELECT CAST((%s) AS "
                          "VARCHAR)",
                          pulled->path, select);
    CHECK_OK(engine_run(pg_engine(), sql, NULL, NULL, &rows, &err));
    CHECK_OK(rows_next(rows, &count, &err));
    CHECK_INT(count, 1);
    return rows_is_null(rows, 0, 0) ? (Str){0} : arena_copy(&arena, rows_text(rows, 0, 0));
}

/* Of a column's warnings, "count what" each. */
static inline Str pulled_warnings(const Source *source, const char *column) {
    Str out = {"", 0};
    for (size_t i = 0; i < source->warning_count; i++) {
        const SourceWarning *warning = &source->warnings[i];
        if (!str_is(source->columns[warning->column].name, column)) continue;
        out = arena_print(&arena, "%.*s%s%lld %.*s", SHOW(out), out.len ? "; " : "",
                          (long long)warning->count, SHOW(warning->what));
    }
    return out;
}
