#include "kit/engine.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HITS 5000 /* more than a batch of DuckDB's has */

static Err err;

/* A search that answers numbers, and remembers what it was asked. */
typedef struct Numbers {
    atomic_int calls, checks;
    bool waits;        /* until it is cancelled */
    const char *inner; /* a statement to ask for in the middle of it; NULL: none */
    Err inner_err;
    char arguments[256];
} Numbers;

static Engine *engine;
static Numbers numbers;

static bool ask_inner(Numbers *n, const VectorCall *call, Err *e) {
    OWNED(rows_close) Rows *rows = NULL;
    Query query = {
        .sql = str_from(n->inner), .cancelled = call->cancelled, .context = call->context};
    return query_open(engine, &query, &rows, e) || (n->inner_err = *e, false);
}

static bool find_numbers(void *context, const VectorCall *call, Arena *arena, VectorHits *out,
                         Err *e) {
    Numbers *n = context;
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    jw_json(&w, call->arguments);
    snprintf(n->arguments, sizeof n->arguments, "%.*s", SHOW(text_str(&text)));
    n->calls++;
    n->checks += call->check;
    while (n->waits && !call->cancelled(call->context)) usleep(1000);
    if (n->waits) return err_set(e, LH_CANCELLED, "gave up");
    if (n->inner && !ask_inner(n, call, e)) return false;
    *out = (VectorHits){arena_array(arena, VectorHit, HITS), HITS};
    for (int i = 0; i < HITS; i++)
        out->items[i] = (VectorHit){.doc_id = arena_print(arena, "document number %d", i),
                                    .text = i % 2 ? STR("odd") : (Str){0},
                                    .chunk = i,
                                    .score = (float)-i};
    return true;
}

static void open_engine(void) {
    if (!engine) engine = kit_engine(NULL, 200 << 20, 40 << 20);
    numbers = (Numbers){0};
    engine_set_vector_search(engine, find_numbers, &numbers);
}

static bool ask(const Query *query, int64_t *out, Err *e) {
    OWNED(rows_close) Rows *rows = NULL;
    size_t count;
    if (!query_open(engine, query, &rows, e) || !rows_next(rows, &count, e)) return false;
    CHECK_INT(count, 1);
    return *out = rows_int(rows, 0, 0), true;
}

static int64_t ask_int(const char *sql) {
    Query query = {.sql = str_from(sql)};
    int64_t value = -1;
    CHECK_OK(ask(&query, &value, &err));
    return value;
}

static bool is_refused(const char *sql, const char *code) {
    Query query = {.sql = str_from(sql)};
    int64_t value;
    return !ask(&query, &value, &err) && err.code && strcmp(err.code, code) == 0;
}

TEST("hits come in their order, all of them, and NULL where there is no text") {
    OWNED(rows_close) Rows *rows = NULL;
    Query query = {.sql = STR("SELECT * FROM vector_search('i', 'x')")};
    size_t count;
    int64_t at = 0;
    open_engine();
    CHECK_OK(query_open(engine, &query, &rows, &err));
    do {
        CHECK_OK(rows_next(rows, &count, &err));
        for (size_t i = 0; i < count; i++, at++) {
            CHECK_INT(rows_int(rows, 1, i), at);
            CHECK(rows_real(rows, 2, i) == (double)-at);
            CHECK_INT(rows_is_null(rows, 3, i), at % 2 == 0);
        }
    } while (count);
    CHECK_INT(at, HITS);
    CHECK_INT(ask_int("SELECT count(DISTINCT doc_id) FROM vector_search('i', 'x')"), HITS);
}

TEST("the search is given the arguments that are not NULL, by their names and kinds") {
    open_engine();
    ask_int("SELECT count(*) FROM vector_search('i', 'it''s', 5, exact := true, ef := NULL, "
            "filter := 'a = 1')");
    CHECK_STR(str_from(numbers.arguments),
              "{\"index\":\"i\",\"query\":\"it's\",\"k\":5,\"filter\":\"a = 1\",\"exact\":true}");
    ask_int("SELECT count(*) FROM vector_search('i', [1, 2.5, -3e-2])");
    CHECK_STR(str_from(numbers.arguments), "{\"index\":\"i\",\"vector\":[1,2.5,-0.03]}");
}

TEST("the same search of a statement is run once, however often it is bound") {
    OWNED(arena_close) Arena arena = {0};
    Query query = {.sql = STR("SELECT count(*) FROM vector_search('i', $1) a, "
                              "vector_search('i', $1, 3) b, vector_search('i', $1) c "
                              "WHERE a.chunk = b.chunk AND b.chunk = c.chunk")};
    int64_t value;
    open_engine();
    CHECK_OK(json_read(STR("[\"words\"]"), &arena, &query.params, &err));
    CHECK_OK(ask(&query, &value, &err));
    CHECK_INT(value, HITS);
    CHECK_INT(numbers.calls, 2);
    ask_int("SELECT count(*) FROM vector_search('i', 'x')");
    CHECK_INT(numbers.calls, 3);
}

TEST("a statement that is only checked asks for a check") {
    OWNED(rows_close) Rows *rows = NULL;
    Query query = {.sql = STR("SELECT * FROM vector_search('i', 'x')"), .check = true};
    open_engine();
    CHECK_OK(query_open(engine, &query, &rows, &err));
    CHECK(numbers.calls == 1 && numbers.checks == 1);
}

TEST("a search that takes long is told when its statement's time is over") {
    Query query = {.sql = STR("SELECT count(*) FROM vector_search('i', 'x')"), .timeout_ms = 100};
    int64_t start = clock_us(), value;
    open_engine();
    numbers.waits = true;
    CHECK(!ask(&query, &value, &err));
    CHECK(err.kind == LH_TIMEOUT && strcmp(err.code, "query_timeout") == 0);
    CHECK(clock_us() - start < 2000000);
    numbers.waits = false;
    CHECK_INT(ask_int("SELECT 41 + 1"), 42);
}

TEST("a search may ask statements of its own, in the slot of the one that asked") {
    open_engine();
    numbers.inner = "SELECT 1";
    CHECK_INT(ask_int("SELECT count(*) FROM vector_search('i', 'x'), range(2)"), 2 * HITS);
    CHECK_INT(numbers.calls, 1);
}

TEST("but none that search") {
    open_engine();
    numbers.inner = "SELECT * FROM vector_search('i', 'y')";
    CHECK(is_refused("SELECT * FROM vector_search('i', 'x')", "sql_forbidden"));
    CHECK(strcmp(numbers.inner_err.code, "sql_forbidden") == 0);
    CHECK_INT(numbers.calls, 1);
}

TEST("an engine without vectors says so") {
    open_engine();
    engine_set_vector_search(engine, NULL, NULL);
    CHECK(is_refused("SELECT * FROM vector_search('i', 'x')", "no_vector_search"));
}

TEST("the engine closes") {
    engine_close(&engine);
}
