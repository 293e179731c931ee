/* Incremental runs of real databases that end half-way, and what the next run does: every row is
 * there once, whichever call failed, with many rows of one cursor value and with rows of none. */
#include "storage/fault.h"

#include "ingest/ingest.h"
#include "kit/engine.h"
#include "kit/service.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <unistd.h>

#define ROWS 3000

static Err err;
static Arena arena;
static Buckets *buckets;
static Catalog *catalog;
static Engine *engine;

static void open_lake(void) {
    if (engine) return;
    BucketOptions primary = {STR("primary"), STR("local"), str_from(kit_dir())};
    CHECK_OK(buckets_open(&(BucketsOptions){.items = &primary, .count = 1}, &buckets, &err));
    CHECK_OK(catalog_open(buckets, NULL, &catalog, &err));
    engine = kit_engine(catalog, 1 << 30, 1 << 28);
}

/* ---- The databases ---- */

static const char *dsn_of(DatabaseKind kind) {
    return kit_service(kind == DATABASE_POSTGRES ? "postgres" : "mariadb", NULL);
}

static void postgres_sql(const char *text) {
    PGconn *conn = PQconnectdb(dsn_of(DATABASE_POSTGRES));
    PGresult *result = PQexec(conn, text);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        kit_fail(__FILE__, __LINE__, "%s", PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

static void maria_sql(const char *text) {
    const char *dir;
    kit_service("mariadb", &dir);
    Str command =
        arena_print(&arena, "mariadb --no-defaults -uroot -S %s/my.sock lake >/dev/null", dir);
    FILE *to = popen(command.data, "w");
    if (!to || fputs(text, to) < 0 || pclose(to))
        kit_fail(__FILE__, __LINE__, "the client refuses: %s", text);
}

static void sql(DatabaseKind kind, const char *text) {
    if (kind == DATABASE_POSTGRES)
        postgres_sql(text);
    else
        maria_sql(text);
}

/* Rows 1..ROWS: the cursor c is NULL of the first 100, then each value is that of 70 rows, but of
 * 900 in the middle. */
static void make_table(DatabaseKind kind, const char *table, const char *key) {
    const char *numbers = kind == DATABASE_POSTGRES
                              ? "generate_series(1, 3000) AS n(i)"
                              : "(SELECT CAST(seq AS SIGNED) AS i FROM seq_1_to_3000) AS n";
    sql(kind,
        arena_print(&arena,
                    "CREATE TABLE %s (id int NOT NULL, c int, v varchar(20)%s); "
                    "INSERT INTO %s SELECT i, CASE WHEN i <= 100 THEN NULL WHEN i BETWEEN 1000 "
                    "AND 1900 THEN 1000 ELSE i - i %% 70 END, concat('v', i) FROM %s",
                    table, key, table, numbers)
            .data);
}

/* ---- Runs ---- */

static bool exists(Str dataset) {
    OWNED(table_release) Table *table = NULL;
    Err ignored;
    return catalog_load(catalog, dataset, 0, &table, &ignored);
}

static const Json *result;

static bool run(DatabaseKind kind, const char *table, Str dataset, int64_t chunk_rows) {
    OWNED(text_close) Text text = {0};
    DatabaseIngest what = {
        .dsn = str_from(dsn_of(kind)),
        .table = str_from(table),
        .dataset = dataset,
        .mode = exists(dataset) ? STR("append") : STR("create"),
        .batch_rows = 64,
        .parallel = 1,
        .chunk_rows = chunk_rows,
        .limits = {.connect_timeout_ms = 5000, .idle_timeout_ms = 20000}
    };
    CHECK_OK(json_read(STR("{\"column\":\"c\"}"), &arena, &what.incremental, &err));
    if (!ingest_database(catalog, engine, buckets, kind, &what, &text, &err)) return false;
    CHECK_OK(json_read(arena_copy(&arena, text_str(&text)), &arena, &result, &err));
    return true;
}

static Str ask(const char *format, const char *dataset) {
    OWNED(rows_close) Rows *rows = NULL;
    Query query = {.sql = arena_print(&arena, format, dataset)};
    size_t count;
    CHECK_OK(query_open(engine, &query, &rows, &err));
    CHECK_OK(rows_next(rows, &count, &err));
    return arena_copy(&arena, rows_text(rows, 0, 0));
}

static void check_all(const char *dataset) {
    CHECK_STR(
        ask("SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || sum(id) || ' ' || count(c) "
            "|| ' ' || count(DISTINCT v) FROM %s",
            dataset),
        "3000 3000 4501500 2900 3000");
}

static void fail_each_call(DatabaseKind kind, const char *table, int step) {
    bool met = true;
    int failed = 0, half = 0;
    for (int n = 1; met; n += step) {
        Str dataset = arena_print(&arena, "%s_%d_%d", table, kind, n);
        fault_in = n;
        bool ok = run(kind, table, dataset, 1000);
        met = fault_in == 0;
        fault_in = 0;
        failed += !ok;
        half += !ok && exists(dataset);
        if (!ok) CHECK_OK(run(kind, table, dataset, 1000));
        check_all(dataset.data);
    }
    CHECK(failed >= 4 && half >= 2);
}

TEST("PostgreSQL with a key: whichever call fails, the next run completes and each row is there "
     "once") {
    open_lake();
    make_table(DATABASE_POSTGRES, "keyed", ", PRIMARY KEY (id)");
    fail_each_call(DATABASE_POSTGRES, "keyed", 11);
}

TEST("PostgreSQL without a key: the same") {
    open_lake();
    make_table(DATABASE_POSTGRES, "keyless", "");
    fail_each_call(DATABASE_POSTGRES, "keyless", 19);
}

TEST("MariaDB with a key: the same") {
    open_lake();
    make_table(DATABASE_MYSQL, "keyed", ", PRIMARY KEY (id)");
    fail_each_call(DATABASE_MYSQL, "keyed", 11);
}

TEST("MariaDB without a key: the same") {
    open_lake();
    make_table(DATABASE_MYSQL, "keyless", "");
    fail_each_call(DATABASE_MYSQL, "keyless", 19);
}

/* ---- Where chunks end, and what counts as read already ---- */

static void check_chunks(DatabaseKind kind, const char *table, const char *sizes) {
    OWNED(text_close) Text seen = {0};
    Str dataset = arena_print(&arena, "chunks_%s_%d", table, kind);
    CHECK_OK(run(kind, table, dataset, 400));
    CHECK_INT(json_get_int(result, "rows", 0), ROWS);
    int64_t versions = json_get_int(result, "version", 0);
    CHECK_INT(json_get_int(result, "files", 0), versions);
    for (int64_t v = 1; v <= versions; v++) {
        OWNED(table_release) Table *at = NULL;
        CHECK_OK(catalog_load(catalog, dataset, v, &at, &err));
        OWNED(rows_close) Rows *rows = NULL;
        Query query = {
            .sql = arena_print(&arena, "SELECT count(*)::VARCHAR FROM %.*s", SHOW(dataset))};
        Str as_of = arena_print(&arena, "{\"%.*s\":%lld}", SHOW(dataset), (long long)v);
        size_t count;
        CHECK_OK(json_read(as_of, &arena, &query.as_of, &err));
        CHECK_OK(query_open(engine, &query, &rows, &err));
        CHECK_OK(rows_next(rows, &count, &err));
        text_print(&seen, "%s%.*s", v > 1 ? " " : "", SHOW(rows_text(rows, 0, 0)));
    }
    CHECK_STR(text_str(&seen), sizes);
    check_all(dataset.data);
}

TEST("a chunk ends past the NULLs anywhere with a key, and else where the cursor's value changes") {
    for (int kind = DATABASE_POSTGRES; kind <= DATABASE_MYSQL; kind++) {
        check_chunks(kind, "keyed", "400 800 1200 1600 2000 2400 2800 3000");
        check_chunks(kind, "keyless", "419 839 1900 2309 2729 3000");
    }
}

TEST("rows at the bound are known by their key, and without one by all columns") {
    for (int kind = DATABASE_POSTGRES; kind <= DATABASE_MYSQL; kind++) {
        Str keyed = arena_print(&arena, "bound_%d", kind),
            keyless = arena_print(&arena, "same_%d", kind);
        sql(kind,
            "CREATE TABLE bound (id int PRIMARY KEY, c int, v varchar(20)); CREATE TABLE same (id "
            "int, c int, v varchar(20)); INSERT INTO bound VALUES (1, 1, 'a'), (2, 2, 'b'); "
            "INSERT INTO same VALUES (1, 1, 'a'), (2, 2, 'b')");
        CHECK_OK(run(kind, "bound", keyed, 0));
        CHECK_OK(run(kind, "same", keyless, 0));
        sql(kind,
            "UPDATE bound SET v = 'new' WHERE id = 2; UPDATE same SET v = 'new' WHERE id = 2; "
            "INSERT INTO bound VALUES (3, 2, 'b'); INSERT INTO same VALUES (3, 2, 'b')");
        CHECK_OK(run(kind, "bound", keyed, 0));
        CHECK_OK(run(kind, "same", keyless, 0));
        const char *all = "SELECT string_agg(id || v, ' ' ORDER BY id, v) FROM %s";
        CHECK_STR(ask(all, keyed.data), "1a 2b 3b");
        CHECK_STR(ask(all, keyless.data), "1a 2b 2new 3b");
    }
}

TEST("what was open is closed") {
    engine_close(&engine);
    catalog_close(&catalog);
    buckets_close(&buckets);
    arena_close(&arena);
}
