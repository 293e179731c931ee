#include "kit/engine.h"
#include "query/query.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define MINUTES                                                                                    \
    "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 7"

static Err err;

static Engine *engine;

static Engine *open_engine(void) {
    if (!engine) engine = kit_engine(NULL, 200 << 20, 40 << 20);
    return engine;
}

static bool discard(void *context, Bytes data, Err *e) {
    (void)context, (void)data, (void)e;
    return true;
}

static bool run(const Query *query, Err *e) {
    OWNED(rows_close) Rows *rows = NULL;
    RowsWritten written;
    return query_open(open_engine(), query, &rows, e) &&
           rows_write(rows, ROWS_JSON, 0, discard, NULL, &written, e);
}

static int64_t ask_int(const char *sql, const char *params) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(rows_close) Rows *rows = NULL;
    Query query = {.sql = str_from(sql)};
    size_t count;
    if (params) CHECK_OK(json_read(str_from(params), &arena, &query.params, &err));
    CHECK_OK(query_open(open_engine(), &query, &rows, &err));
    CHECK_OK(rows_next(rows, &count, &err));
    CHECK_INT(count, 1);
    return rows_int(rows, 0, 0);
}

TEST("a query that would run for minutes ends at its time limit, and the engine goes on") {
    Query query = {.sql = STR(MINUTES), .timeout_ms = 150};
    for (int i = 0; i < 5; i++) {
        int64_t start = clock_us();
        CHECK(!run(&query, &err));
        CHECK(err.kind == LH_TIMEOUT && strstr(err.message, "150 ms"));
        CHECK(clock_us() - start < 2000000);
        CHECK_INT(ask_int("SELECT 41 + 1", NULL), 42);
    }
}

static bool is_set(void *context) {
    return atomic_load((atomic_int *)context);
}

static void *set_later(void *context) {
    usleep(100000);
    atomic_store((atomic_int *)context, 1);
    return NULL;
}

TEST("a query whose client is gone ends with LH_CANCELLED") {
    atomic_int gone = 0;
    pthread_t thread;
    Query query = {.sql = STR(MINUTES), .cancelled = is_set, .context = &gone};
    int64_t start = clock_us();
    pthread_create(&thread, NULL, set_later, &gone);
    CHECK(!run(&query, &err));
    pthread_join(thread, NULL);
    CHECK(err.kind == LH_CANCELLED);
    CHECK(clock_us() - start < 2000000);
}

TEST("a result that is closed half-way leaves its connection usable") {
    for (int i = 0; i < 30; i++) {
        OWNED(rows_close) Rows *rows = NULL;
        size_t count;
        Query query = {
            .sql = STR("SELECT a.range, 'x' || b.range FROM range(10000) a, range(10000) b")};
        CHECK_OK(query_open(open_engine(), &query, &rows, &err));
        if (i % 2) CHECK_OK(rows_next(rows, &count, &err));
        rows_close(&rows);
        CHECK_INT(ask_int("SELECT count(*) FROM range(1000)", NULL), 1000);
    }
}

TEST("a limit on a result without end stops it") {
    OWNED(rows_close) Rows *rows = NULL;
    RowsWritten written;
    Query query = {.sql = STR("SELECT a.range FROM range(1000) b, range(1000000000) a")};
    CHECK_OK(query_open(open_engine(), &query, &rows, &err));
    CHECK_OK(rows_write(rows, ROWS_NDJSON, 10, discard, NULL, &written, &err));
    CHECK(written.rows == 10 && written.truncated);
}

TEST("a query beyond memory and spill is refused with what it ran into, and leaves no spill file") {
    Query query = {.sql = STR("SELECT list(range) FROM range(100000000)")};
    CHECK(!run(&query, &err));
    CHECK(err.kind == LH_TOO_BIG || err.kind == LH_FULL);
    query.sql = STR("SELECT r FROM (SELECT md5(range::VARCHAR) r FROM "
                    "range(8000000)) ORDER BY r DESC");
    CHECK(!run(&query, &err));
    CHECK(err.kind == LH_TOO_BIG || err.kind == LH_FULL);
    CHECK_INT(ask_int("SELECT 7", NULL), 7);
}

TEST("texts that multiply beyond the machine's memory fail, and the engine goes on") {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct rlimit before, tight;
    Query query = {
        .sql = STR("SELECT max(length(s)) FROM (SELECT s||s||s||s||s||s||s||s||s||s||i AS s FROM "
                   "(SELECT s||s||s||s||s||s||s||s||s||s AS s FROM (SELECT s||s||s||s||s||s||s||s "
                   "AS s FROM (SELECT repeat('a', 1000) AS s))), range(100000) r(i))"),
        .timeout_ms = 20000};
    open_engine();
    CHECK(getrlimit(RLIMIT_DATA, &before) == 0 && before.rlim_cur != RLIM_INFINITY);
    tight = before;
    tight.rlim_cur = 1500u << 20; /* so that the test need not fill the machine */
    CHECK(setrlimit(RLIMIT_DATA, &tight) == 0);
    bool ran = run(&query, &err);
    setrlimit(RLIMIT_DATA, &before);
    CHECK(!ran && err.kind == LH_TOO_BIG);
    CHECK_INT(ask_int("SELECT 7", NULL), 7);
#endif
}

TEST("parameters bind by position, by number, and by type") {
    CHECK_INT(ask_int("SELECT $2 - $1", "[1, 5]"), 4);
    CHECK_INT(ask_int("SELECT (? || ?)::BIGINT", "[\"4\", \"2\"]"), 42);
    CHECK_INT(ask_int("SELECT count(*) FROM range(10) t(n) WHERE n < ?", "[3]"), 3);
    CHECK_INT(ask_int("SELECT len(?)", "[[1.5, 2, 3]]"), 3);
    CHECK_INT(ask_int("SELECT len($1::VARCHAR[])", "[[\"a\", \"b\"]]"), 2);
    CHECK_INT(ask_int("SELECT CASE WHEN ? THEN 1 ELSE 0 END", "[true]"), 1);
    CHECK_INT(ask_int("SELECT CASE WHEN ?::INT IS NULL THEN 1 ELSE 0 END", "[null]"), 1);
    CHECK_INT(ask_int("SELECT count(*) WHERE DATE '2024-02-01' > ?", "[\"2024-01-01\"]"), 1);
}

TEST("parameters that do not fit the statement are refused") {
    OWNED(arena_close) Arena arena = {0};
    Query query = {.sql = STR("SELECT ? + ?")};
    CHECK(!run(&query, &err) && err.kind == LH_INVALID && strstr(err.message, "2 parameters, 0"));
    CHECK_OK(json_read(STR("[1,2,3]"), &arena, &query.params, &err));
    CHECK(!run(&query, &err) && strstr(err.message, "2 parameters, 3"));
    CHECK_OK(json_read(STR("[1,{\"a\":2}]"), &arena, &query.params, &err));
    CHECK(!run(&query, &err) && strstr(err.message, "parameter 2"));
    CHECK_OK(json_read(STR("{\"a\":2}"), &arena, &query.params, &err));
    CHECK(!run(&query, &err) && strstr(err.message, "'params' must be an array"));
}

static void *hold_slot(void *context) {
    atomic_int *stop = context;
    Err e;
    Query query = {.sql = STR(MINUTES), .cancelled = is_set, .context = stop};
    run(&query, &e);
    return NULL;
}

TEST("more queries than slots wait, and trusted SQL needs no slot") {
    atomic_int stop = 0;
    pthread_t threads[KIT_ENGINE_SLOTS], stopper;
    OWNED(rows_close) Rows *rows = NULL;
    for (int i = 0; i < KIT_ENGINE_SLOTS; i++) pthread_create(&threads[i], NULL, hold_slot, &stop);
    usleep(50000);
    CHECK_OK(engine_run(open_engine(), STR("SELECT 1"), NULL, NULL, &rows, &err));
    pthread_create(&stopper, NULL, set_later, &stop);
    int64_t start = clock_us();
    CHECK_INT(ask_int("SELECT 5", NULL), 5);
    CHECK(clock_us() - start > 20000);
    for (int i = 0; i < KIT_ENGINE_SLOTS; i++) pthread_join(threads[i], NULL);
    pthread_join(stopper, NULL);
}

static void *ask_many(void *context) {
    Err e = {0};
    for (int i = 0; i < 100; i++) {
        Query query = {.sql = STR("SELECT sum(n) FROM range(1000) t(n)"), .timeout_ms = 60000};
        if (!run(&query, &e)) *(Err *)context = e;
    }
    return NULL;
}

TEST("threads ask side by side") {
    pthread_t threads[4];
    Err errors[4] = {0};
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, ask_many, &errors[i]);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) CHECK_STR(str_from(errors[i].message), "");
}

TEST("an unknown table without a catalog is an error of the statement") {
    Query query = {.sql = STR("SELECT * FROM nowhere")};
    CHECK(!run(&query, &err) && err.kind == LH_INVALID && strstr(err.message, "nowhere"));
    query.sql = STR("SELECT * FROM a.nowhere x JOIN \"B\" . \"Nowhere\" USING (id)");
    CHECK(!run(&query, &err) && err.kind == LH_INVALID);
}

/* DuckDB must be closed before exit() takes the thread's own variables away. */
TEST("the engine closes") {
    engine_close(&engine);
    CHECK(engine == NULL);
}
