#include "ingest/ingest.h"
#include "kit/engine.h"

#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

static Err err;
static Arena arena;
static Buckets *buckets;
static Catalog *catalog;
static Engine *engine;
static char root[128];

static void open_lake(void) {
    if (engine) return;
    snprintf(root, sizeof root, "%s/lake", kit_dir());
    BucketOptions primary = {STR("primary"), STR("local"), str_from(root)};
    CHECK_OK(buckets_open(&(BucketsOptions){.items = &primary, .count = 1}, &buckets, &err));
    CHECK_OK(catalog_open(buckets, NULL, &catalog, &err));
    engine = kit_engine(catalog, 1 << 30, 1 << 28);
}

typedef struct Body {
    Str rest;
    size_t fail_after; /* bytes; 0: never */
} Body;

static bool give(void *context, void *buffer, size_t size, size_t *got, Err *e) {
    Body *body = context;
    Str part = str_slice(body->rest, 0, MIN(size, 1000));
    if (body->fail_after && part.len >= body->fail_after)
        return err_set(e, LH_CANCELLED, "the client went away");
    if (part.len) memcpy(buffer, part.data, part.len);
    body->fail_after -= body->fail_after ? part.len : 0;
    body->rest = str_slice(body->rest, part.len, body->rest.len);
    *got = part.len;
    return true;
}

static const Json *result;

static bool ingest(const char *dataset, const char *format, const char *mode, Str text) {
    OWNED(text_close) Text json = {0};
    Body body = {text, 0};
    IngestFile file = {.dataset = str_from(dataset),
                       .format = str_from(format),
                       .mode = str_from(mode),
                       .source_system = "http",
                       .source = STR("test body")};
    open_lake();
    if (!ingest_file(catalog, engine, buckets, &file, give, &body, &json, &err)) return false;
    CHECK_OK(json_read(text_str(&json), &arena, &result, &err));
    return true;
}

/* The single value of a query, as CSV writes it. */
static bool keep(void *context, Bytes data, Err *e) {
    (void)e;
    text_add(context, str_of(data));
    return true;
}

static Str ask(const char *sql) {
    OWNED(rows_close) Rows *rows = NULL;
    OWNED(text_close) Text csv = {0};
    RowsWritten written;
    Query query = {.sql = str_from(sql)};
    CHECK_OK(query_open(engine, &query, &rows, &err));
    CHECK_OK(rows_write(rows, ROWS_CSV, 0, keep, &csv, &written, &err));
    Str rest = arena_copy(&arena, text_str(&csv));
    str_until(&rest, '\n');
    return str_trim(rest);
}

static Str types_of(const char *dataset) {
    OWNED(table_release) Table *table = NULL;
    OWNED(text_close) Text out = {0};
    CHECK_OK(catalog_load(catalog, str_from(dataset), 0, &table, &err));
    const Schema *schema = table_schema(table);
    for (size_t i = 0; i < schema->len; i++)
        text_print(&out, "%s%.*s:%.*s", i ? " " : "", SHOW(schema->fields[i].name),
                   SHOW(type_sql(&schema->fields[i].type, &arena)));
    return arena_copy(&arena, text_str(&out));
}

/* Every file of the lake with its size, but for the lock and the journals. */
static Str listing(void) {
    OWNED(text_close) Text out = {0};
    char command[256], line[512];
    snprintf(command, sizeof command, "find %s -type f -printf '%%P %%s\\n' | LC_ALL=C sort", root);
    FILE *pipe = popen(command, "r");
    while (pipe && fgets(line, sizeof line, pipe)) text_add(&out, str_from(line));
    if (pipe) pclose(pipe);
    return arena_copy(&arena, text_str(&out));
}

static size_t warnings(void) {
    return json_get(result, "warnings")->len;
}

TEST("a CSV becomes a dataset with types that lose nothing") {
    CHECK_OK(ingest(
        "people", "csv", "create",
        STR("id,name,zip,score,day,at,ok\r\n"
            "1,\"Doe, Jane\",01234,1.5,2024-01-31,2024-01-01T10:00:00,true\r\n"
            "2,\"two\r\nlines \"\"q\"\"\",98765,-2,2024-02-29,2024-01-01 10:00:00.5,FALSE\r\n"
            "3,,,,,,\r\n")));
    CHECK_STR(types_of("people"), "id:BIGINT name:VARCHAR zip:VARCHAR score:DOUBLE day:DATE "
                                  "at:TIMESTAMP ok:BOOLEAN");
    CHECK_STR(ask("SELECT zip || '|' || name FROM people WHERE id = 1"), "\"01234|Doe, Jane\"");
    CHECK_STR(ask("SELECT name = E'two\\r\\nlines \"q\"' AS v FROM people WHERE id = 2"), "true");
    CHECK_STR(ask("SELECT count(*) FROM people WHERE name IS NULL AND zip IS NULL AND ok IS NULL"),
              "1");
    CHECK_INT(json_get_int(result, "rows", 0), 3);
    CHECK_INT(json_get_int(result, "columns", 0), 7);
    CHECK_INT(json_get_int(result, "version", 0), 1);
    CHECK_INT(json_get_int(result, "files", 0), 1);
    CHECK(json_get_int(result, "bytes", 0) > 0 && json_get(result, "rows_per_s"));
    CHECK_STR(json_get_text(json_get(result, "lineage"), "source", (Str){0}), "test body");
    CHECK_STR(json_get_text(json_get(result, "lineage"), "source_system", (Str){0}), "http");
    CHECK_INT(json_get(result, "agent_enqueued")->len, 0);
    CHECK_INT(warnings(), 0);
}

TEST("a late value that is no number makes the column text, and nothing is lost") {
    OWNED(text_close) Text csv = {0};
    text_add(&csv, STR("a,b\n"));
    for (int i = 0; i < 60000; i++) text_print(&csv, "%d,%d\n", i, i);
    text_add(&csv, STR("5.7,n/a\n"));
    CHECK_OK(ingest("late", "csv", "create", text_str(&csv)));
    CHECK_STR(types_of("late"), "a:DOUBLE b:VARCHAR");
    CHECK_STR(ask("SELECT a FROM late WHERE b = 'n/a'"), "5.7");
    CHECK_STR(ask("SELECT sum(a)::BIGINT FROM late"), "1799970006");
}

TEST("tabs, semicolons and byte order marks under auto") {
    CHECK_OK(ingest("semicolons", "auto", "create",
                    STR("\xef\xbb\xbf"
                        "a;b\n1,5;x\n2,5;y\n")));
    CHECK_STR(types_of("semicolons"), "a:VARCHAR b:VARCHAR");
    CHECK_STR(ask("SELECT a FROM semicolons WHERE b = 'x'"), "\"1,5\"");
    CHECK_OK(ingest("semicolons", "csv", "replace", STR("a;b\n1;2\n")));
    CHECK_STR(types_of("semicolons"), "a:BIGINT b:BIGINT");
    CHECK_OK(ingest("semicolons", "csv", "replace", STR("a;x,b\n1;y,2\n")));
    CHECK_STR(types_of("semicolons"), "a;x:VARCHAR b:BIGINT");
    CHECK_OK(ingest("tabs", "tsv", "create", STR("a\tb\n1\tx, y\n")));
    CHECK_STR(ask("SELECT b FROM tabs"), "\"x, y\"");
    CHECK_OK(ingest("tabs", "auto", "replace", STR("c\td\n1\t2\n")));
    CHECK_STR(types_of("tabs"), "c:BIGINT d:BIGINT");
}

TEST("a compressed body is a body, whether its encoding was named or not") {
    OWNED(text_close) Text csv = {0};
    text_add(&csv, STR("a,b\n"));
    for (int i = 0; i < 30000; i++) text_print(&csv, "%d,text %d\n", i, i);
    size_t bound = ZSTD_compressBound(csv.len);
    char *zstd = arena_alloc(&arena, bound);
    size_t size = ZSTD_compress(zstd, bound, csv.data, csv.len, 3);
    CHECK_OK(ingest("packed", "auto", "create", (Str){zstd, size}));
    CHECK_STR(ask("SELECT sum(a) FROM packed"), "449985000");
    CHECK(!ingest("packed", "auto", "replace", (Str){zstd, size - 7}));
    CHECK_STR(str_from(err_word(&err)), "truncated_body");
    CHECK_STR(ask("SELECT count(*) FROM packed"), "30000");
}

TEST("an all-text file keeps its first line as names; odd ones are warned of") {
    CHECK_OK(ingest("words", "csv", "create", STR("name,city\nann,rome\nbob,oslo\n")));
    CHECK_STR(ask("SELECT string_agg(name, ' ' ORDER BY name) FROM words"), "ann bob");
    CHECK_INT(warnings(), 0);
    CHECK_OK(ingest("odd", "csv", "create", STR("a,,7\n1,2,3\n")));
    CHECK_STR(types_of("odd"), "a:BIGINT column_2:BIGINT 7:BIGINT");
    CHECK_INT(warnings(), 2);
    CHECK_STR(ask("SELECT column_2 + \"7\" FROM odd"), "5");
}

TEST("mixed line ends, blank lines and a missing last newline are read as one expects") {
    CHECK_OK(ingest("mixed", "csv", "create", STR("\n\na,b\r\n1,2\n\n3,\"x\r\ny\"\r\n5,6")));
    CHECK_STR(ask("SELECT count(*) || ' ' || sum(a) FROM mixed"), "3 9");
    CHECK_STR(ask("SELECT b = E'x\\r\\ny' AS v FROM mixed WHERE a = 3"), "true");
}

TEST("a header without rows makes a dataset with 0 rows") {
    CHECK_OK(ingest("none", "csv", "create", STR("a,b\n")));
    CHECK_INT(json_get_int(result, "rows", -1), 0);
    CHECK_INT(json_get_int(result, "files", -1), 0);
    CHECK_STR(ask("SELECT count(*) FROM none WHERE a = b"), "0");
}

TEST("JSON and NDJSON keep nesting, late keys and exact text") {
    CHECK_OK(ingest(
        "events", "ndjson", "create",
        STR("{\"id\": 1, \"tags\": [\"a\", \"b\"], \"geo\": {\"lat\": 1.5}, \"z\": \"007\"}\n"
            "{\"id\": 2, \"late\": true}\n")));
    CHECK_STR(types_of("events"),
              "id:BIGINT tags:VARCHAR[] geo:STRUCT(lat DOUBLE) z:VARCHAR late:BOOLEAN");
    CHECK_STR(ask("SELECT tags[2] || geo.lat || z FROM events WHERE id = 1"), "b1.5007");
    CHECK_OK(ingest("listed", "auto", "create", STR(" [{\"a\": 1}, {\"a\": 2.5}]")));
    CHECK_STR(ask("SELECT sum(a) FROM listed"), "3.5");
}

TEST("Parquet comes in as it is, and its types map to the table's") {
    OWNED(rows_close) Rows *rows = NULL;
    Bytes bytes;
    char path[128];
    size_t count;
    open_lake();
    snprintf(path, sizeof path, "%s/p.parquet", kit_dir());
    Str sql = arena_print(
        &arena,
        "COPY (SELECT n::UTINYINT AS small, n::HUGEINT AS huge, n::UBIGINT AS u, [n::FLOAT] AS v, "
        "'x' || n AS t FROM range(10) r(n)) TO '%s' (FORMAT parquet)",
        path);
    CHECK_OK(engine_run(engine, sql, NULL, NULL, &rows, &err));
    CHECK_OK(rows_next(rows, &count, &err));
    CHECK_OK(file_read(path, 1 << 20, &arena, &bytes, &err));
    CHECK_OK(ingest("parq", "auto", "create", str_of(bytes)));
    CHECK_STR(
        ask("SELECT sum(small) || ' ' || sum(u) || ' ' || sum(v[1]) || ' ' || max(t) FROM parq"),
        "45 45 45.0 x9");
    CHECK(!ingest("parq2", "parquet", "create", str_slice(str_of(bytes), 0, bytes.size / 2)));
    CHECK(err.kind == LH_INVALID && !strcmp(err_word(&err), "bad_parquet"));
    CHECK(!strstr(err.message, root));
}

TEST("personal data is found, told and kept with the dataset, and an append only adds to it") {
    OWNED(text_close) Text csv = {0};
    text_add(&csv, STR("id,email,note\n"));
    for (int i = 0; i < 20000; i++) text_print(&csv, "%d,user%d@example.com,nothing\n", i, i);
    CHECK_OK(ingest("pii", "csv", "create", text_str(&csv)));
    const Json *pii = json_get(result, "pii");
    CHECK_INT(pii->len, 1);
    CHECK_STR(json_get_text(&pii->items[0], "column", (Str){0}), "email");
    CHECK_STR(json_get_text(&pii->items[0], "kind", (Str){0}), "email");
    CHECK_INT(json_get_int(&pii->items[0], "sampled", 0), PII_SAMPLE_ROWS);
    CHECK_OK(ingest("pii", "csv", "append",
                    STR("note,id,email\n+49 30 1234567,7,\n+49 30 7654321,8,\n")));
    OWNED(table_release) Table *table = NULL;
    CHECK_OK(catalog_load(catalog, STR("pii"), 0, &table, &err));
    size_t at;
    CHECK(str_find(table_property(table, PROPERTY_PII), STR("\"email\":{\"kind\":\"email\""), &at));
    CHECK(str_find(table_property(table, PROPERTY_PII), STR("\"note\":{\"kind\":\"phone\""), &at));
}

TEST("create, append and replace, with columns in another order and types kept") {
    CHECK_OK(ingest("modes", "csv", "create", STR("id,zip,x\n1,01234,1.5\n")));
    CHECK(!ingest("modes", "csv", "create", STR("id\n1\n")) && err.kind == LH_CONFLICT);
    CHECK_STR(str_from(err_word(&err)), "dataset_exists");
    CHECK_OK(ingest("modes", "csv", "append", STR("x,zip,id\n2,99999,2\n")));
    CHECK_STR(types_of("modes"), "id:BIGINT zip:VARCHAR x:DOUBLE");
    CHECK_STR(ask("SELECT string_agg(zip, ' ' ORDER BY id) || sum(x) FROM modes"),
              "01234 999993.5");
    CHECK(!ingest("modes", "csv", "append", STR("id,zip,extra\nx,1,2\n")) &&
          err.kind == LH_CONFLICT);
    CHECK_STR(str_from(err_word(&err)), "schema_mismatch");
    CHECK(strstr(err.message, "id") && strstr(err.message, "extra"));
    CHECK_OK(ingest("modes", "csv", "replace", STR("y\nnew\n")));
    CHECK_STR(types_of("modes"), "y:VARCHAR");
    CHECK_INT(json_get_int(result, "version", 0), 3);
    CHECK(!ingest("never_was", "csv", "append", STR("a\n1\n")) && err.kind == LH_MISSING);
}

/* Every way to fail, by its word. */
static const struct {
    const char *format;
    Str body;
    ErrKind kind;
    const char *code, *message;
} faults[] = {
    {"csv",     {"", 0},                           LH_INVALID, "empty_file",       "empty"          },
    {"csv",     {"\n \r\n", 4},                    LH_INVALID, "empty_file",       "empty"          },
    {"csv",     {"a,b\n1,2\n3\n", 10},             LH_INVALID, "ragged_row",       "line 3"         },
    {"csv",     {"a,b\n1,\"2\n", 9},               LH_INVALID, "bad_quote",        "line 2"         },
    {"csv",     {"a,A\n1,2\n", 8},                 LH_INVALID, "duplicate_column", "columns 1 and 2"},
    {"csv",     {"a\ncaf\xe9\n", 7},               LH_INVALID, "invalid_utf8",     "byte 5"         },
    {"csv",
     {"\xff\xfe"
      "a\0,\0b\0\n\0",
      10},
     LH_INVALID,                                               "invalid_utf8",
     "byte 0"                                                                                       },
    {"ndjson",  {"{\"a\":1}\n{\"a\":oops}\n", 19}, LH_INVALID, "bad_json",         "line"           },
    {"json",    {"[{\"a\":1}", 8},                 LH_INVALID, "bad_json",         ""               },
    {"json",    {"[]", 2},                         LH_INVALID, "empty_file",       "no row"         },
    {"json",    {"{\"a\":\"\xc3\"}", 9},           LH_INVALID, "invalid_utf8",     "byte 6"         },
    {"parquet", {"PAR1 not really", 15},           LH_INVALID, "bad_parquet",      ""               },
    {"parquet", {"a,b\n1,2\n", 8},                 LH_INVALID, "bad_parquet",      ""               },
    {"csv",     {"\x1f\x8b\x08\0\0\0\0\0", 8},     LH_INVALID, "truncated_body",   "gzip"           },
    {"csv",     {"\x28\xb5\x2f\xfd\x24", 5},       LH_INVALID, "truncated_body",   "zstd"           },
    {"xlsx",    {"a\n", 2},                        LH_INVALID, "bad_format",       "xlsx"           },
};

TEST("each bad body is refused with its word and leaves the lake as it was") {
    open_lake();
    Str before = listing();
    for (size_t i = 0; i < COUNT(faults); i++) {
        CHECK(!ingest("faulty", faults[i].format, "create", faults[i].body));
        if (err.kind != faults[i].kind || strcmp(err_word(&err), faults[i].code) != 0 ||
            !strstr(err.message, faults[i].message) || strstr(err.message, root))
            kit_fail(__FILE__, __LINE__, "fault %zu: %s: %s", i, err_word(&err), err.message);
    }
    CHECK(!ingest("faulty", "csv", "upsert", STR("a\n1\n")) && !strcmp(err_word(&err), "bad_mode"));
    CHECK(!ingest("Not A Name", "csv", "create", STR("a\n1\n")) && err.kind == LH_INVALID);
    CHECK_STR(listing(), before.data);
}

TEST("a client that goes away, at whatever byte, leaves the lake as it was") {
    OWNED(text_close) Text csv = {0}, json = {0};
    open_lake();
    Str before = listing();
    text_add(&csv, STR("a,b\n"));
    for (int i = 0; i < 3000; i++) text_print(&csv, "%d,text\n", i);
    for (size_t at = 1; at < csv.len; at += 5000) {
        Body body = {text_str(&csv), at};
        IngestFile file = {.dataset = STR("gone"), .source_system = "http"};
        CHECK(!ingest_file(catalog, engine, buckets, &file, give, &body, &json, &err));
        CHECK(err.kind == LH_CANCELLED);
    }
    CHECK_STR(listing(), before.data);
}

static bool cancel_at(void *context) {
    return --*(int *)context < 0;
}

TEST("a cancel at whatever step leaves the lake as it was") {
    OWNED(text_close) Text csv = {0}, json = {0};
    open_lake();
    Str before = listing();
    text_add(&csv, STR("a,b\n"));
    for (int i = 0; i < 200000; i++) text_print(&csv, "%d,text %d\n", i, i);
    for (int step = 0; step < 12; step++) {
        int left = step;
        Body body = {text_str(&csv), 0};
        IngestFile file = {.dataset = STR("cancelled"),
                           .source_system = "http",
                           .cancelled = cancel_at,
                           .context = &left};
        if (ingest_file(catalog, engine, buckets, &file, give, &body, &json, &err)) {
            CHECK(step > 0);
            return;
        }
        CHECK(err.kind == LH_CANCELLED);
        CHECK_STR(listing(), before.data);
    }
}

TEST("the lake closes") {
    engine_close(&engine);
    catalog_close(&catalog);
    buckets_close(&buckets);
    arena_close(&arena);
    CHECK(!engine && !catalog && !buckets);
}
