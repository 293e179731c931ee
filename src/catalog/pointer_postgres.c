/* Pointers as rows in PostgreSQL: the two tables of the Iceberg JDBC catalog, so that Spark, Trino
 * or PyIceberg can attach to the same catalog. A row names the current metadata document by its
 * address; a swap is an UPDATE that finds the address it started from, and of several that race one
 * does. Source: Iceberg, JdbcUtil (schema version 1).
 *
 * Connections are kept, most recently used first. Every statement has a deadline of its own, since
 * a server that stands still would otherwise hold a request for ever. When the answer to a swap is
 * lost, the same swap is made again: the row's lock lets it wait for the first, and then either it
 * is made now or the row tells who was there. */
#include "catalog/pointer.h"

#include "base/base.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_S "5"
#define STATEMENT_MS 10000
#define IDLE_MAX 8
#define SWAP_TRIES_MAX 3
#define PARAMS_MAX 6
#define ADDRESS_MAX 1000 /* of the JDBC catalog's columns */

typedef struct PostgresPointers {
    Pointers pointers;
    char *dsn, *name;
    pthread_mutex_t lock;
    PGconn *idle[IDLE_MAX];
    size_t idle_count;
    bool has_tables;
} PostgresPointers;

/* Connections. */

static void conn_close(PGconn **conn) {
    if (*conn) PQfinish(*conn);
    *conn = NULL;
}

static void result_close(PGresult **result) {
    PQclear(*result);
    *result = NULL;
}

/* The server's words in one line, without what libpq puts before and after. */
static Str said(const char *message) {
    Str rest = str_from(message), line = str_trim(str_until(&rest, '\n'));
    return str_starts(line, STR("ERROR:")) ? str_trim(str_slice(line, 6, line.len)) : line;
}

static bool offline(const char *message, Err *err) {
    Str words = said(message);
    return err_code(err, LH_OFFLINE, "catalog_unreachable",
                    "the catalog's PostgreSQL is out of reach: %.*s", SHOW(words));
}

/* libpq expands the DSN where dbname stands; later words win, so that the user's own do. */
static PGconn *dial(const PostgresPointers *postgres) {
    const char *const names[] = {"connect_timeout", "keepalives_idle", "application_name", "dbname",
                                 NULL};
    const char *const values[] = {CONNECT_TIMEOUT_S, "10", "lakehouse", postgres->dsn, NULL};
    return PQconnectdbParams(names, values, 1);
}

/* Notices are for people at a prompt. */
static void ignore_notice(void *context, const PGresult *result) {
    (void)context, (void)result;
}

static bool conn_take(PostgresPointers *postgres, PGconn **out, bool *kept, Err *err) {
    pthread_mutex_lock(&postgres->lock);
    PGconn *conn = postgres->idle_count ? postgres->idle[--postgres->idle_count] : NULL;
    pthread_mutex_unlock(&postgres->lock);
    *kept = conn != NULL;
    if (!conn) conn = dial(postgres);
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    if (PQstatus(conn) == CONNECTION_OK) return *out = conn, true;
    offline(PQerrorMessage(conn), err);
    PQfinish(conn);
    return false;
}

static void conn_give(PostgresPointers *postgres, PGconn *conn) {
    pthread_mutex_lock(&postgres->lock);
    bool keep = PQstatus(conn) == CONNECTION_OK && postgres->idle_count < IDLE_MAX;
    if (keep) postgres->idle[postgres->idle_count++] = conn;
    pthread_mutex_unlock(&postgres->lock);
    if (!keep) PQfinish(conn);
}

/* Statements. */

typedef struct Statement {
    const char *sql;
    const char *params[PARAMS_MAX]; /* text; NULL: none more, no statement here passes SQL's NULL */
} Statement;

static int param_count(const Statement *statement) {
    int count = 0;
    while (count < PARAMS_MAX && statement->params[count]) count++;
    return count;
}

static bool await(PGconn *conn, int64_t deadline_us, Err *err) {
    while (PQisBusy(conn)) {
        struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};
        int64_t left_ms = (deadline_us - clock_us()) / 1000;
        if (left_ms <= 0 || poll(&fd, 1, (int)left_ms) == 0)
            return offline("no answer within 10 seconds", err);
        if (!PQconsumeInput(conn)) return offline(PQerrorMessage(conn), err);
    }
    return true;
}

/* False with LH_OFFLINE: the connection is spent, and the statement may have been run. */
static bool conn_run(PGconn *conn, const Statement *statement, PGresult **out, Err *err) {
    int64_t deadline_us = clock_us() + STATEMENT_MS * 1000;
    if (!PQsendQueryParams(conn, statement->sql, param_count(statement), NULL, statement->params,
                           NULL, NULL, 0))
        return offline(PQerrorMessage(conn), err);
    OWNED(result_close) PGresult *result = NULL;
    for (;;) {
        if (!await(conn, deadline_us, err)) return false;
        PGresult *next = PQgetResult(conn);
        if (!next) break;
        result_close(&result);
        result = next;
    }
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) return *out = TAKE(result), true;
    if (PQstatus(conn) != CONNECTION_OK) return offline(PQerrorMessage(conn), err);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state && (str_starts(str_from(state), STR("53")) || str_starts(str_from(state), STR("57"))))
        return offline(PQresultErrorMessage(result), err); /* out of resources, shutting down */
    Str words = said(PQresultErrorMessage(result));
    return err_set(err, LH_BUG, "the catalog's PostgreSQL refuses: %.*s", SHOW(words));
}

static bool run_once(PostgresPointers *postgres, const Statement *statement, PGresult **out,
                     bool *kept, Err *err) {
    PGconn *conn = NULL;
    if (!conn_take(postgres, &conn, kept, err)) return false;
    bool ok = conn_run(conn, statement, out, err);
    if (!ok && err->kind == LH_OFFLINE) return conn_close(&conn), false;
    conn_give(postgres, conn);
    return ok;
}

/* For statements that may be run twice. A kept connection may have died meanwhile (the server was
 * restarted), and so may all others that were kept: a fresh one decides. */
static bool run(PostgresPointers *postgres, const Statement *statement, PGresult **out, Err *err) {
    for (int tries = 0; tries <= IDLE_MAX; tries++) {
        bool kept;
        if (run_once(postgres, statement, out, &kept, err)) return true;
        if (!kept || err->kind != LH_OFFLINE) return false;
        *err = (Err){0};
    }
    return offline("its connections keep breaking", err);
}

/* The catalog's tables, when somebody else has not made them. */
static bool make_tables(PostgresPointers *postgres, Err *err) {
    static const char *const statements[] = {
        "CREATE TABLE IF NOT EXISTS iceberg_tables ("
        "catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, "
        "table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), "
        "previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5), "
        "PRIMARY KEY (catalog_name, table_namespace, table_name))",
        "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties ("
        "catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, "
        "property_key VARCHAR(255), property_value VARCHAR(1000), "
        "PRIMARY KEY (catalog_name, namespace, property_key))",
        /* A database whose tables are of the older form gets the column, as JdbcCatalog does. */
        "ALTER TABLE iceberg_tables ADD COLUMN IF NOT EXISTS iceberg_type VARCHAR(5)",
    };
    for (size_t i = 0; i < COUNT(statements); i++) {
        OWNED(result_close) PGresult *result = NULL;
        Statement statement = {.sql = statements[i]};
        if (run(postgres, &statement, &result, err)) continue;
        /* Two servers that start together may both try: the second finds it made. */
        OWNED(result_close) PGresult *again = NULL;
        *err = (Err){0};
        if (!run(postgres, &statement, &again, err)) return err_while(err, "making its tables");
    }
    return true;
}

/* Looked for first: a user who may not make tables can use those that are there. */
static bool has_tables(PostgresPointers *postgres, bool *out, Err *err) {
    OWNED(result_close) PGresult *result = NULL;
    Statement select = {.sql = "SELECT to_regclass('iceberg_namespace_properties') IS NOT NULL AND "
                               "EXISTS (SELECT FROM pg_attribute WHERE attname = 'iceberg_type' "
                               "AND attrelid = to_regclass('iceberg_tables'))"};
    if (!run(postgres, &select, &result, err)) return false;
    *out = str_is(str_from(PQgetvalue(result, 0, 0)), "t");
    return true;
}

static bool ready(PostgresPointers *postgres, Err *err) {
    pthread_mutex_lock(&postgres->lock);
    bool has = postgres->has_tables;
    pthread_mutex_unlock(&postgres->lock);
    if (has) return true;
    if (!has_tables(postgres, &has, err)) return false;
    if (!has && !make_tables(postgres, err)) return false;
    pthread_mutex_lock(&postgres->lock);
    postgres->has_tables = true;
    pthread_mutex_unlock(&postgres->lock);
    return true;
}

/* Names and addresses. */

typedef struct RowName {
    char space[DATASET_NAME_MAX + 1], table[DATASET_NAME_MAX + 1];
} RowName;

/* From warehouse/<namespace>/<table>. */
static RowName row_name(const char *table_key) {
    RowName out;
    Str rest = str_from(table_key);
    str_until(&rest, '/');
    Str space = str_until(&rest, '/');
    snprintf(out.space, sizeof out.space, "%.*s", SHOW(space));
    snprintf(out.table, sizeof out.table, "%.*s", SHOW(rest));
    return out;
}

static bool address_of(Bucket *bucket, const char *table_key, Str metadata,
                       char out[ADDRESS_MAX + 1], Err *err) {
    Str location = store_location(bucket_store(bucket));
    int len =
        snprintf(out, ADDRESS_MAX + 1, "%.*s/%s/%.*s", SHOW(location), table_key, SHOW(metadata));
    return len <= ADDRESS_MAX ||
           err_set(err, LH_TOO_BIG, "the address of a metadata document has %d bytes, at most %d",
                   len, ADDRESS_MAX);
}

/* Iceberg's convention: the document's name begins with its number, from 0. */
static int64_t number_of(Str metadata) {
    uint64_t number;
    Str rest = metadata;
    str_until(&rest, '/');
    Str digits = str_until(&rest, '-');
    return str_to_u64(digits, &number) && number < INT64_MAX ? (int64_t)number + 1 : 1;
}

/* Which of our buckets the address lies in. */
static bool place_address(PostgresPointers *postgres, const DatasetName *name, Str address,
                          Arena *arena, Head *out, Err *err) {
    size_t count;
    Str *names = bucket_names(postgres->pointers.buckets, arena, &count);
    Str silent = {0};
    for (size_t i = 0; i < count; i++) {
        OWNED(bucket_release) Bucket *bucket = NULL;
        Err why = {0};
        if (!bucket_find(postgres->pointers.buckets, names[i], &bucket, &why)) {
            silent = names[i];
            continue;
        }
        Str location = store_location(bucket_store(bucket));
        Str prefix = arena_print(arena, "%.*s/%s/", SHOW(location), name->key);
        if (!str_starts(address, prefix)) continue;
        Str metadata = arena_copy(arena, str_slice(address, prefix.len, address.len));
        if (!key_check(metadata, err)) return false;
        *out = (Head){TAKE(bucket), number_of(metadata), metadata};
        return true;
    }
    if (silent.len)
        return err_code(err, LH_OFFLINE, DATASET_UNREACHABLE,
                        "dataset '%s' lies in no bucket that answers; '%.*s' is out of reach",
                        name->shown, SHOW(silent));
    return err_code(err, LH_IMPOSSIBLE, "dataset_elsewhere",
                    "dataset '%s' is in the catalog, but its files lie in none of the buckets: "
                    "'%.*s'",
                    name->shown, (int)MIN(address.len, (size_t)200), address.data);
}

/* Operations. */

#define THE_ROW " WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3"
#define A_TABLE " AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)"

/* The address and the one before it; both empty when there is no row. */
static bool read_row(PostgresPointers *postgres, const char *table_key, Arena *arena, Str *address,
                     Str *before, Err *err) {
    OWNED(result_close) PGresult *result = NULL;
    RowName row = row_name(table_key);
    Statement select = {
        .sql = "SELECT metadata_location, previous_metadata_location "
               "FROM iceberg_tables" THE_ROW A_TABLE,
        .params = {postgres->name, row.space, row.table}
    };
    *address = *before = (Str){0};
    if (!ready(postgres, err) || !run(postgres, &select, &result, err)) return false;
    if (PQntuples(result) == 0) return true;
    *address = arena_copy(arena, str_from(PQgetvalue(result, 0, 0)));
    *before = arena_copy(arena, str_from(PQgetvalue(result, 0, 1)));
    return true;
}

static bool postgres_find(Pointers *base, const DatasetName *name, const Table *known, Arena *arena,
                          Head *out, Err *err) {
    PostgresPointers *postgres = (PostgresPointers *)base;
    Str address, before;
    (void)known;
    if (!read_row(postgres, name->key, arena, &address, &before, err)) return false;
    return address.len == 0 || place_address(postgres, name, address, arena, out, err);
}

static bool postgres_is_newest(Pointers *base, const Table *table, bool *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    char ours[ADDRESS_MAX + 1];
    Str address, before;
    if (!read_row((PostgresPointers *)base, table->key, &arena, &address, &before, err) ||
        !address_of(table->document->bucket, table->key, table_document(table), ours, err))
        return false;
    *out = str_is(address, ours);
    return true;
}

/* A dropped table leaves no row. */
static bool postgres_start(Pointers *base, const DatasetName *name, Bucket *bucket, int64_t *number,
                           Err *err) {
    (void)base, (void)name, (void)bucket, (void)err;
    *number = 0;
    return true;
}

/* Other engines list a namespace only when it says that it exists. */
static bool make_namespace(PostgresPointers *postgres, const RowName *row, Err *err) {
    OWNED(result_close) PGresult *result = NULL;
    Statement insert = {
        .sql = "INSERT INTO iceberg_namespace_properties "
               "(catalog_name, namespace, property_key, property_value) "
               "VALUES ($1, $2, 'exists', 'true') ON CONFLICT DO NOTHING",
        .params = {postgres->name, row->space}
    };
    return run(postgres, &insert, &result, err);
}

static Statement swap_statement(const PostgresPointers *postgres, const RowName *row,
                                const char *from, const char *to) {
    if (!to)
        return (Statement){
            "DELETE FROM iceberg_tables" THE_ROW A_TABLE " AND metadata_location = $4",
            {postgres->name, row->space, row->table, from}
        };
    if (!from)
        return (Statement){
            "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, "
            "metadata_location, iceberg_type) VALUES ($1, $2, $3, $4, 'TABLE') "
            "ON CONFLICT DO NOTHING",
            {postgres->name, row->space, row->table, to}
        };
    return (Statement){
        "UPDATE iceberg_tables SET metadata_location = $5, "
        "previous_metadata_location = $4" THE_ROW A_TABLE " AND metadata_location = $4",
        {postgres->name, row->space, row->table, from, to}
    };
}

/* No row was there to swap, and an earlier try may have been made: whose is the row now? */
static PointerResult settle(PostgresPointers *postgres, const char *table_key, const char *to,
                            Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Str address, before;
    if (!read_row(postgres, table_key, &arena, &address, &before, err)) return POINTER_UNKNOWN;
    if (to ? str_is(address, to) || str_is(before, to) : address.len == 0) return POINTER_WON;
    err_code(err, LH_OFFLINE, "catalog_unreachable",
             "the connection to the catalog's PostgreSQL broke, and others have committed since");
    return POINTER_UNKNOWN;
}

static PointerResult swap(PostgresPointers *postgres, const char *table_key, const char *from,
                          const char *to, Err *err) {
    RowName row = row_name(table_key);
    Statement statement = swap_statement(postgres, &row, from, to);
    bool unclear = false;
    for (int tries = 0; tries < SWAP_TRIES_MAX + IDLE_MAX; tries++) {
        OWNED(result_close) PGresult *result = NULL;
        bool kept = false;
        Err why = {0};
        if (run_once(postgres, &statement, &result, &kept, &why)) {
            if (str_is(str_from(PQcmdTuples(result)), "1")) return POINTER_WON;
            return unclear ? settle(postgres, table_key, to, err) : POINTER_LOST;
        }
        *err = why;
        if (why.kind != LH_OFFLINE) return unclear ? POINTER_UNKNOWN : POINTER_FAILED;
        unclear = true;
        if (!kept && tries >= SWAP_TRIES_MAX) break;
    }
    return POINTER_UNKNOWN;
}

static PointerResult postgres_swap(Pointers *base, const DatasetName *name, const Head *from,
                                   Str metadata, Err *err) {
    PostgresPointers *postgres = (PostgresPointers *)base;
    char before[ADDRESS_MAX + 1], after[ADDRESS_MAX + 1];
    bool has = from->metadata.len > 0, drops = metadata.len == 0;
    RowName row = row_name(name->key);
    if ((has && !address_of(from->bucket, name->key, from->metadata, before, err)) ||
        (!drops && !address_of(from->bucket, name->key, metadata, after, err)) ||
        !ready(postgres, err) || (!has && !make_namespace(postgres, &row, err)))
        return POINTER_FAILED;
    return swap(postgres, name->key, has ? before : NULL, drops ? NULL : after, err);
}

static bool postgres_names(Pointers *base, Arena *arena, PointerName *seen, void *context,
                           Str *silent, Err *err) {
    PostgresPointers *postgres = (PostgresPointers *)base;
    OWNED(result_close) PGresult *result = NULL;
    Statement select = {.sql = "SELECT table_namespace, table_name FROM iceberg_tables "
                               "WHERE catalog_name = $1" A_TABLE,
                        .params = {postgres->name}};
    (void)arena, (void)silent;
    if (!ready(postgres, err) || !run(postgres, &select, &result, err)) return false;
    for (int i = 0; i < PQntuples(result); i++)
        seen(context, str_from(PQgetvalue(result, i, 0)), str_from(PQgetvalue(result, i, 1)));
    return true;
}

static void postgres_close(Pointers *base) {
    PostgresPointers *postgres = (PostgresPointers *)base;
    while (postgres->idle_count > 0) PQfinish(postgres->idle[--postgres->idle_count]);
    pthread_mutex_destroy(&postgres->lock);
    free(postgres->dsn);
    free(postgres->name);
    free(postgres);
}

/* libpq's own words would repeat the DSN, and with it the password. */
static bool dsn_check(const char *dsn, Err *err) {
    char *words = NULL;
    PQconninfoOption *options = PQconninfoParse(dsn, &words);
    bool ok = options != NULL;
    PQconninfoFree(options);
    PQfreemem(words);
    return ok || err_set(err, LH_INVALID,
                         "the dsn of [catalog] is neither postgresql://user@host/database nor "
                         "host=... dbname=...");
}

bool pointers_postgres(Buckets *buckets, const CatalogOptions *options, Pointers **out, Err *err) {
    static const PointerOps ops = {
        .find = postgres_find,
        .is_newest = postgres_is_newest,
        .start = postgres_start,
        .swap = postgres_swap,
        .names = postgres_names,
        .close = postgres_close,
    };
    OWNED(arena_close) Arena arena = {0};
    const char *dsn = arena_cstr(&arena, options->postgres_dsn);
    Str name = options->name.len ? options->name : STR("lakehouse");
    if (!dsn_check(dsn, err)) return false;
    PostgresPointers *postgres = calloc(1, sizeof *postgres);
    if (!postgres) abort();
    postgres->pointers = (Pointers){&ops, buckets};
    postgres->dsn = strdup(dsn);
    postgres->name = strndup(name.data, name.len);
    if (!postgres->dsn || !postgres->name) abort();
    pthread_mutex_init(&postgres->lock, NULL);
    *out = &postgres->pointers;
    return true;
}
