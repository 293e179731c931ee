#include "storage/fault.h"

#include "ingest/source.h"
#include "kit/engine.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

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

/* ---- A source of made rows: column c of row n is n in the column's type ---- */

typedef struct Made {
    Source source;
    int64_t rows;                 /* of all parts */
    int fail_part;                /* -1: none */
    bool endless;                 /* until it is cancelled */
    bool stuck;                   /* part 0 waits, as for a network, until it is cancelled */
    atomic_bool cancelled, ended; /* ended: told so by the feed */
} Made;

static void set_text(BatchVector *vector, size_t row, const char *format, int64_t n) {
    char text[64];
    int len = snprintf(text, sizeof text, format, (long long)n);
    vector_bytes(vector, row, (Str){text, (size_t)len});
}

static void set_cell(BatchVector *vector, const Type *type, size_t row, int64_t n) {
    void *values = vector_values(vector);
    switch (type->kind) {
    case TYPE_INT:
        ((int32_t *)values)[row] = (int32_t)n;
        break;
    case TYPE_LONG:
        ((int64_t *)values)[row] = n;
        break;
    case TYPE_FLOAT:
        ((float *)values)[row] = (float)n;
        break;
    case TYPE_DOUBLE:
        ((double *)values)[row] = (double)n;
        break;
    case TYPE_DECIMAL: /* all of the tests' lie in 64 bits or in 32 */
        if (type->precision > 9)
            ((int64_t *)values)[row] = n;
        else
            ((int32_t *)values)[row] = (int32_t)n;
        break;
    case TYPE_BINARY:
        return set_text(vector, row, "b%lld", n);
    default:
        return set_text(vector, row, "person.%lld@example.com", n);
    }
    vector_set_valid(vector, row);
}

static bool end_part(Made *made, Err *e) {
    atomic_store(&made->ended, true);
    return err_set(e, LH_OFFLINE, "a part that nobody wanted complains");
}

static bool made_pull(Source *source, size_t part, RowFeed *feed, Err *e) {
    Made *made = (Made *)source;
    int64_t share = made->rows / (int64_t)source->parts, next = share * (int64_t)part;
    int64_t end = part + 1 == source->parts ? made->rows : next + share;
    while (made->stuck && part == 0 && !atomic_load(&made->cancelled)) usleep(1000);
    while ((next < end || made->endless) && !atomic_load(&made->cancelled)) {
        RowBatch *batch = feed_take(feed);
        if (!batch) return end_part(made, e);
        size_t rows = made->endless ? FEED_BATCH_ROWS : (size_t)MIN(end - next, FEED_BATCH_ROWS);
        for (size_t c = 0; c < source->column_count; c++)
            for (size_t r = 0; r < rows; r++)
                set_cell(batch_vector(batch, c), &source->columns[c].type, r, next + (int64_t)r);
        feed_give(feed, batch, rows);
        source->moved(source->moved_context, (int64_t)rows, (int64_t)rows * 10);
        next += (int64_t)rows;
        if (made->fail_part == (int)part)
            return err_code(e, LH_OFFLINE, "source_unreachable", "the other side hung up");
    }
    return !atomic_load(&made->cancelled) || end_part(made, e);
}

static void made_cancel(Source *source) {
    atomic_store(&((Made *)source)->cancelled, true);
}

static void made_close(Source *source) {
    (void)source;
}

static const SourceOps made_ops = {made_pull, made_cancel, made_close};

static Made make(SourceColumn *columns, size_t count, int64_t rows) {
    return (Made){
        .source = {.ops = &made_ops,
                   .system = "postgresql",
                   .locator = STR("postgresql://db.example.com/shop#t"),
                   .columns = columns,
                   .column_count = count,
                   .parts = 1,
                   .rows_estimate = -1},
        .rows = rows,
        .fail_part = -1
    };
}

#define COLUMN(n, k)                                                                               \
    {                                                                                              \
        .name = STR(n), .type = {.kind = k }                                                       \
    }
#define DECIMAL(n, p, s)                                                                           \
    {                                                                                              \
        .name = STR(n), .type = {.kind = TYPE_DECIMAL, .precision = p, .scale = s }                \
    }

static const Json *result;

static bool run(Made *made, TableIngest what) {
    OWNED(text_close) Text json = {0};
    open_lake();
    if (!ingest_table(catalog, engine, buckets, &made->source, &what, &json, &err)) return false;
    CHECK_OK(json_read(text_str(&json), &arena, &result, &err));
    return true;
}

static bool ingest(Made *made, const char *dataset, CommitMode mode) {
    return run(made, (TableIngest){.dataset = str_from(dataset), .mode = mode});
}

static bool keep(void *context, Bytes data, Err *e) {
    (void)e;
    text_add(context, str_of(data));
    return true;
}

/* The single value of a query, as CSV writes it. */
static Str ask_as_of(const char *sql, const char *as_of) {
    OWNED(rows_close) Rows *rows = NULL;
    OWNED(text_close) Text csv = {0};
    RowsWritten written;
    Query query = {.sql = str_from(sql)};
    if (as_of) CHECK_OK(json_read(str_from(as_of), &arena, &query.as_of, &err));
    CHECK_OK(query_open(engine, &query, &rows, &err));
    CHECK_OK(rows_write(rows, ROWS_CSV, 0, keep, &csv, &written, &err));
    Str rest = arena_copy(&arena, text_str(&csv));
    str_until(&rest, '\n');
    return str_trim(rest);
}

static Str ask(const char *sql) {
    return ask_as_of(sql, NULL);
}

static Str types_of(const char *dataset) {
    OWNED(table_release) Table *table = NULL;
    OWNED(text_close) Text out = {0};
    CHECK_OK(catalog_load(catalog, str_from(dataset), 0, &table, &err));
    const Schema *schema = table_schema(table);
    for (size_t i = 0; i < schema->len; i++) {
        Str type = type_sql(&schema->fields[i].type, &arena);
        text_print(&out, "%s%.*s:%.*s", i ? " " : "", SHOW(schema->fields[i].name), SHOW(type));
    }
    return arena_copy(&arena, text_str(&out));
}

/* All files but those of the error journal, which takes a note of each failure in its own time. */
static Str listing(void) {
    OWNED(text_close) Text out = {0};
    char command[320], line[512];
    Err ignored = {0};
    errors_flush(buckets_errors(buckets), &ignored);
    snprintf(command, sizeof command,
             "find %s -path '*/_lakehouse/errors' -prune -o -type f -printf '%%P %%s\n' | "
             "LC_ALL=C sort",
             root);
    FILE *pipe = popen(command, "r");
    while (pipe && fgets(line, sizeof line, pipe)) text_add(&out, str_from(line));
    if (pipe) pclose(pipe);
    return arena_copy(&arena, text_str(&out));
}

static SourceColumn people[] = {COLUMN("id", TYPE_LONG), COLUMN("mail", TYPE_STRING)};

TEST("sixteen parts become one version, with its lineage, its warnings and what is personal") {
    Made made = make(people, 2, 160001);
    SourceWarning warning = {.column = 0, .what = STR("zero dates became NULL"), .count = 7};
    made.source.parts = 16;
    made.source.query = STR("SELECT 1");
    made.source.warnings = &warning;
    made.source.warning_count = 1;
    CHECK_OK(ingest(&made, "people", COMMIT_CREATE));
    CHECK_INT(json_get_int(result, "version", -1), 1);
    CHECK_INT(json_get_int(result, "rows", -1), 160001);
    CHECK_INT(json_get_int(result, "columns", -1), 2);
    CHECK_INT(json_get_int(result, "files", -1), 1);
    const Json *lineage = json_get(result, "lineage"), *pii = json_get(result, "pii");
    CHECK_STR(json_get_text(lineage, "source_system", (Str){0}), "postgresql");
    CHECK_STR(json_get_text(lineage, "source", (Str){0}), "postgresql://db.example.com/shop#t");
    CHECK_STR(json_get_text(lineage, "query", (Str){0}), "SELECT 1");
    CHECK_INT(json_get_int(lineage, "rows", -1), 160001);
    CHECK_INT(json_get_int(lineage, "bytes", -1), 1600010);
    CHECK(json_get_int(lineage, "duration_ms", 0) > 0);
    CHECK_INT(pii->len, 1);
    CHECK_STR(json_get_text(&pii->items[0], "column", (Str){0}), "mail");
    CHECK_STR(json_get(result, "warnings")->items[0].text,
              "column 'id': zero dates became NULL (7)");
    CHECK_STR(ask("SELECT count(DISTINCT id) || ' ' || sum(id) || ' ' || count(DISTINCT mail) FROM "
                  "people WHERE mail = 'person.' || id || '@example.com'"),
              "160001 12800080000 160001");
}

TEST("no rows make a version without a file") {
    Made made = make(people, 2, 0);
    CHECK_OK(ingest(&made, "none", COMMIT_CREATE));
    CHECK_INT(json_get_int(result, "files", -1), 0);
    CHECK_STR(ask("SELECT count(*) FROM none"), "0");
    CHECK_OK(ingest(&made, "none", COMMIT_APPEND));
    CHECK_INT(json_get_int(result, "version", -1), 2);
}

TEST("modes are checked before a row is pulled") {
    Made made = make(people, 2, 10);
    CHECK_OK(ingest(&made, "modes", COMMIT_CREATE));
    CHECK(!ingest(&made, "modes", COMMIT_CREATE) && err.kind == LH_CONFLICT);
    CHECK(!ingest(&made, "modes_not", COMMIT_APPEND) && err.kind == LH_MISSING);
    CHECK_OK(ingest(&made, "modes", COMMIT_APPEND));
    CHECK_STR(ask("SELECT count(*) FROM modes"), "20");
    CHECK_OK(ingest(&made, "modes", COMMIT_REPLACE));
    CHECK_STR(ask("SELECT count(*) FROM modes"), "10");
}

/* ---- Ends half-way ---- */

static bool after_a_while(void *context) {
    return clock_us() > *(int64_t *)context;
}

TEST("a cancel ends all parts, those that wait too, and leaves nothing") {
    for (int stuck = 0; stuck < 2; stuck++) {
        int64_t until = clock_us() + 150000;
        open_lake();
        Str before = listing();
        Made made = make(people, 2, 10);
        made.source.parts = 4;
        made.endless = true;
        made.stuck = stuck;
        TableIngest what = {.dataset = STR("cancelled"),
                            .mode = COMMIT_REPLACE,
                            .cancelled = after_a_while,
                            .context = &until};
        CHECK(!run(&made, what));
        CHECK(err.kind == LH_CANCELLED && atomic_load(&made.ended));
        CHECK_STR(listing(), before.data);
    }
}

TEST("one part that fails ends the others, and its error is the one that is told") {
    open_lake();
    Str before = listing();
    Made made = make(people, 2, 10);
    made.source.parts = 8;
    made.endless = true;
    made.fail_part = 5;
    CHECK(!ingest(&made, "failed", COMMIT_CREATE));
    CHECK_STR(str_from(err_word(&err)), "source_unreachable");
    CHECK(atomic_load(&made.cancelled) && atomic_load(&made.ended));
    CHECK_STR(listing(), before.data);
}

TEST("a disk that is full cancels the source, also one that waits, and leaves nothing") {
    struct rlimit old, tiny;
    signal(SIGXFSZ, SIG_IGN);
    open_lake();
    Str before = listing();
    Made made = make(people, 2, 10);
    made.source.parts = 2;
    made.endless = made.stuck = true;
    getrlimit(RLIMIT_FSIZE, &old);
    tiny = (struct rlimit){1 << 20, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tiny);
    bool ok = ingest(&made, "full", COMMIT_CREATE);
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK(!ok && atomic_load(&made.cancelled));
    CHECK(err.kind != LH_CANCELLED && !strstr(err.message, "nobody wanted"));
    CHECK_STR(listing(), before.data);
}

TEST("whichever call of an ingest fails, the dataset is there and whole or nothing of it stays") {
    bool met = true;
    int failures = 0;
    open_lake();
    for (int n = 1; met; n++) {
        Str dataset = arena_print(&arena, "t%d", n), before = listing();
        Made made = make(people, 2, 5000);
        made.source.parts = 2;
        fault_in = n;
        bool ok = ingest(&made, dataset.data, COMMIT_CREATE);
        met = fault_in == 0;
        fault_in = 0;
        bool unknown = !ok && str_is(str_from(err_word(&err)), "commit_unknown");
        failures += !ok;
        if (ok) CHECK_STR(ask(arena_print(&arena, "SELECT count(*) FROM t%d", n).data), "5000");
        if (ok || unknown) continue;
        CHECK_STR(listing(), before.data);
    }
    CHECK(failures >= 6);
}

/* ---- Masks ---- */

TEST("masks hash, hide, or show the last four; what is hidden is not called personal") {
    SourceColumn columns[] = {COLUMN("id", TYPE_LONG),     COLUMN("mail", TYPE_STRING),
                              COLUMN("gone", TYPE_STRING), COLUMN("part", TYPE_STRING),
                              COLUMN("number", TYPE_INT),  COLUMN("bytes", TYPE_BINARY)};
    Made made = make(columns, 6, 20000);
    TableIngest what = {.dataset = STR("masked")};
    CHECK_OK(json_read(STR("{\"mail\":\"hash\",\"gone\":\"redact\",\"part\":\"partial\","
                           "\"number\":\"partial\",\"bytes\":\"hash\"}"),
                       &arena, &what.mask, &err));
    CHECK_OK(run(&made, what));
    CHECK_INT(json_get(result, "pii")->len, 0);
    CHECK_STR(types_of("masked"),
              "id:BIGINT mail:VARCHAR gone:VARCHAR part:VARCHAR number:VARCHAR bytes:VARCHAR");
    CHECK_STR(ask("SELECT count(*) FROM masked WHERE "
                  "mail = sha256('person.' || id || '@example.com') AND gone IS NULL AND "
                  "length(part) = 19 + length(id::VARCHAR) AND replace(part, '*', '') = '.com' AND "
                  "length(number) = length(id::VARCHAR) AND replace(number, '*', '') = "
                  "CASE WHEN id < 10000 THEN '' ELSE right(id::VARCHAR, 4) END AND bytes = "
                  "sha256('b' || id)"),
              "20000");
    what.mode = COMMIT_APPEND;
    CHECK_OK(run(&made, what));
}

TEST("a mask of no column, of no known kind, or of the cursor is refused") {
    static const char *const bad[] = {"{\"nobody\":\"hash\"}", "{\"mail\":\"rot13\"}",
                                      "{\"mail\":1}", "[]", "{\"id\":\"hash\"}"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        Made made = make(people, 2, 10);
        TableIngest what = {.dataset = STR("unmasked"), .cursor = STR("id")};
        CHECK_OK(json_read(str_from(bad[i]), &arena, &what.mask, &err));
        CHECK(!run(&made, what));
        CHECK_STR(str_from(err_word(&err)), "bad_mask");
    }
}

/* ---- The cursor ---- */

static Str cursor_of(const char *dataset) {
    OWNED(table_release) Table *table = NULL;
    CHECK_OK(catalog_load(catalog, str_from(dataset), 0, &table, &err));
    return arena_copy(&arena, table_property(table, PROPERTY_CURSOR));
}

TEST("the cursor's last value is kept with the dataset, and a run without rows keeps it") {
    Made made = make(people, 2, 100);
    TableIngest what = {.dataset = STR("kept"), .cursor = STR("id")};
    made.source.last = STR("99 \"quoted\"");
    CHECK_OK(run(&made, what));
    CHECK_STR(cursor_of("kept"), "{\"column\":\"id\",\"last\":\"99 \\\"quoted\\\"\"}");
    what.mode = COMMIT_APPEND;
    made = make(people, 2, 0);
    CHECK_OK(run(&made, what));
    CHECK_STR(cursor_of("kept"), "{\"column\":\"id\",\"last\":\"99 \\\"quoted\\\"\"}");
    made = make(people, 2, 10);
    made.source.last = STR("120");
    CHECK_OK(run(&made, what));
    CHECK_STR(cursor_of("kept"), "{\"column\":\"id\",\"last\":\"120\"}");
}

/* ---- Drift ---- */

static SourceColumn narrow[] = {COLUMN("i", TYPE_INT), COLUMN("f", TYPE_FLOAT), DECIMAL("d", 9, 2),
                                COLUMN("old", TYPE_STRING)};
static SourceColumn wide[] = {COLUMN("new", TYPE_STRING), COLUMN("d2", TYPE_DOUBLE),
                              DECIMAL("d", 18, 2), COLUMN("f", TYPE_DOUBLE),
                              COLUMN("i", TYPE_LONG)};

TEST("drift is refused, with each difference, unless it is asked for") {
    Made made = make(narrow, 4, 10);
    CHECK_OK(ingest(&made, "fixed", COMMIT_CREATE));
    made = make(wide, 5, 10);
    CHECK(!ingest(&made, "fixed", COMMIT_APPEND));
    CHECK_STR(str_from(err_word(&err)), "schema_mismatch");
    CHECK(strstr(err.message, "'new' (VARCHAR) is not a column") &&
          strstr(err.message, "'i' is BIGINT, in the dataset it is INTEGER") &&
          strstr(err.message, "'old' (VARCHAR) is missing"));
}

TEST("widening adds columns and widens types in one commit, and old versions stay as they were") {
    Made made = make(narrow, 4, 10);
    TableIngest what = {.dataset = STR("wide"), .mode = COMMIT_APPEND, .widen = true};
    CHECK_OK(ingest(&made, "wide", COMMIT_CREATE));
    made = make(wide, 5, 20000);
    CHECK_OK(run(&made, what));
    CHECK_STR(types_of("wide"), "i:BIGINT f:DOUBLE d:DECIMAL(18,2) old:VARCHAR new:VARCHAR "
                                "d2:DOUBLE");
    CHECK_STR(ask("SELECT count(*) || ' ' || sum(i) || ' ' || sum(d) || ' ' || sum(f) || ' ' || "
                  "count(old) || ' ' || count(new) || ' ' || count(d2) FROM wide"),
              "20010 199990045 1999900.45 199990045.0 10 20000 20000");
    CHECK_STR(ask("SELECT count(*) FROM wide WHERE i < 5 AND d < 0.05 AND old IS NOT NULL"), "5");
    CHECK_STR(ask_as_of("SELECT count(*) || typeof(any_value(i)) FROM wide", "{\"wide\":1}"),
              "10INTEGER");
    made = make(narrow, 4, 10); /* narrower now, and without new columns */
    CHECK_OK(run(&made, what));
    CHECK_STR(ask("SELECT count(*) || ' ' || sum(i) || ' ' || count(new) FROM wide"),
              "20020 199990090 20000");
    CHECK_STR(types_of("wide"), "i:BIGINT f:DOUBLE d:DECIMAL(18,2) old:VARCHAR new:VARCHAR "
                                "d2:DOUBLE");
}

TEST("whichever call of a widening append fails, rows, columns and files are as before, or it is "
     "whole") {
    TableIngest what = {.dataset = STR("drifts"), .mode = COMMIT_APPEND, .widen = true};
    Made made = make(narrow, 4, 10);
    bool met = true;
    int failures = 0;
    CHECK_OK(ingest(&made, "drifts", COMMIT_CREATE));
    for (int n = 1; met; n++) {
        Str before = listing(), types = types_of("drifts");
        made = make(wide, 5, 3000);
        fault_in = n;
        bool ok = run(&made, what);
        met = fault_in == 0;
        fault_in = 0;
        if (ok) continue;
        failures++;
        if (str_is(str_from(err_word(&err)), "commit_unknown")) continue;
        CHECK_STR(listing(), before.data);
        CHECK_STR(types_of("drifts"), types.data);
        CHECK_STR(ask("SELECT (count(*) % 3000) FROM drifts"), "10");
    }
    CHECK(failures >= 6);
    CHECK_STR(types_of("drifts"), "i:BIGINT f:DOUBLE d:DECIMAL(18,2) old:VARCHAR new:VARCHAR "
                                  "d2:DOUBLE");
}

TEST("what cannot widen is refused with the reason, and nothing changes") {
    SourceColumn others[] = {COLUMN("i", TYPE_STRING), COLUMN("f", TYPE_DOUBLE),
                             DECIMAL("d", 18, 4), COLUMN("old", TYPE_STRING)};
    Made made = make(narrow, 4, 10);
    TableIngest what = {.dataset = STR("stays"), .mode = COMMIT_APPEND, .widen = true};
    CHECK_OK(ingest(&made, "stays", COMMIT_CREATE));
    Str before = listing();
    made = make(others, 4, 10);
    CHECK(!run(&made, what));
    CHECK_STR(str_from(err_word(&err)), "schema_mismatch");
    CHECK(strstr(err.message, "'i' is VARCHAR, in the dataset it is INTEGER") &&
          strstr(err.message, "'d' is DECIMAL(18,4), in the dataset it is DECIMAL(9,2)"));
    CHECK_STR(listing(), before.data);
}

TEST("the lake closes") {
    engine_close(&engine);
    catalog_close(&catalog);
    buckets_close(&buckets);
    arena_close(&arena);
    CHECK(!engine && !catalog && !buckets);
}
