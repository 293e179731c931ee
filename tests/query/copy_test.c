#include "kit/engine.h"
#include "query/query.h"

#include <stdlib.h>
#include <unistd.h>

static Err err;
static Arena arena;

static Engine *engine;

static Engine *open_engine(void) {
    if (!engine) engine = kit_engine(NULL, 1 << 30, 1 << 30);
    return engine;
}

static const char *new_path(void) {
    static int number;
    static const char *dir;
    if (!dir) dir = kit_dir();
    return arena_print(&arena, "%s/%d.parquet", dir, number++).data;
}

static Schema describe(const char *select) {
    Schema schema;
    int32_t last = 0;
    CHECK_OK(engine_describe(open_engine(), str_from(select), &arena, &schema, &err));
    schema_assign_ids(&schema, &last);
    return schema;
}

static const ColumnStats *stats_of(const DataFile *file, int32_t id) {
    for (size_t i = 0; i < file->column_count; i++)
        if (file->columns[i].field_id == id) return &file->columns[i];
    return NULL;
}

static int64_t ask_int(const char *sql) {
    OWNED(rows_close) Rows *rows = NULL;
    size_t count;
    CHECK_OK(engine_run(open_engine(), str_from(sql), NULL, NULL, &rows, &err));
    CHECK_OK(rows_next(rows, &count, &err));
    CHECK_INT(count, 1);
    return rows_int(rows, 0, 0);
}

TEST("a copy has its rows, size and the statistics of each column under its field id") {
    static const char select[] =
        "SELECT n AS id, 'v' || (n % 7) AS \"my \"\"col\"\". x\", "
        "CASE WHEN n > 5 THEN n * 0.5::DOUBLE END AS x FROM range(10) t(n)";
    Schema schema = describe(select);
    DataFile file;
    const char *path = new_path();
    CHECK_OK(engine_copy_parquet(open_engine(), str_from(select), &schema, path, NULL, NULL, &arena,
                                 &file, &err));
    CHECK_INT(file.rows, 10);
    CHECK_INT(file.bytes,
              ask_int(arena_print(&arena, "SELECT size FROM read_blob('%s')", path).data));
    CHECK_INT(file.column_count, 3);
    const ColumnStats *id = stats_of(&file, 1), *text = stats_of(&file, 2), *x = stats_of(&file, 3);
    CHECK(id && text && x);
    CHECK_STR(id->lower, "0");
    CHECK_STR(id->upper, "9");
    CHECK_STR(text->lower, "v0");
    CHECK_STR(text->upper, "v6");
    CHECK_INT(x->null_count, 6);
    CHECK(x->has_bounds && !x->has_nan && id->null_count == 0 && id->value_count == 10);
    CHECK(id->size_bytes > 0);
}

TEST("field ids are in the file, nested ones too") {
    static const char select[] = "SELECT 1::BIGINT AS a, [1, 2]::BIGINT[] AS l";
    Field item = {.name = STR("element"), .type = {.kind = TYPE_LONG}};
    Field fields[] = {
        {.id = 7, .name = STR("a"), .type = {.kind = TYPE_LONG}        },
        {.id = 8,
         .name = STR("l"),
         .type = {.kind = TYPE_LIST, .fields = &item, .field_count = 1}}
    };
    Schema schema = {.fields = fields, .len = 2};
    DataFile file;
    const char *path = new_path();
    item.id = 9;
    CHECK_OK(engine_copy_parquet(open_engine(), str_from(select), &schema, path, NULL, NULL, &arena,
                                 &file, &err));
    CHECK_INT(ask_int(arena_print(&arena,
                                  "SELECT sum(field_id * (name IN "
                                  "('a','l','element'))::INT)::BIGINT FROM parquet_schema('%s')",
                                  path)
                          .data),
              24);
    CHECK(stats_of(&file, 9) != NULL);
}

TEST("a copy that fails leaves no file") {
    static const char select[] =
        "SELECT CASE WHEN n = 900000 THEN error('half-way') ELSE n END AS n "
        "FROM range(1000000) t(n)";
    Field field = {.id = 1, .name = STR("n"), .type = {.kind = TYPE_LONG}};
    Schema schema = {.fields = &field, .len = 1};
    DataFile file;
    const char *path = new_path();
    CHECK(!engine_copy_parquet(open_engine(), str_from(select), &schema, path, NULL, NULL, &arena,
                               &file, &err));
    CHECK(strstr(err.message, "half-way") && access(path, F_OK) != 0);
}

TEST("bytes that are no text are found again by a filter") {
    static const char select[] = "SELECT CASE n % 3 WHEN 0 THEN '\\xFF\\x00'::BLOB WHEN 1 THEN "
                                 "'abc'::BLOB ELSE ''::BLOB END AS b FROM range(300) t(n)";
    Schema schema = describe(select);
    DataFile file;
    const char *path = new_path();
    CHECK_OK(engine_copy_parquet(open_engine(), str_from(select), &schema, path, NULL, NULL, &arena,
                                 &file, &err));
    CHECK_INT(ask_int(arena_print(&arena,
                                  "SELECT count(*) FROM read_parquet('%s') WHERE b = "
                                  "'\\xFF\\x00'::BLOB",
                                  path)
                          .data),
              100);
}

static bool now(void *context) {
    (void)context;
    return true;
}

TEST("a copy that is cancelled leaves no file") {
    Field field = {.id = 1, .name = STR("n"), .type = {.kind = TYPE_LONG}};
    Schema schema = {.fields = &field, .len = 1};
    DataFile file;
    const char *path = new_path();
    CHECK(!engine_copy_parquet(open_engine(), STR("SELECT n FROM range(1000000000) t(n)"), &schema,
                               path, now, NULL, &arena, &file, &err));
    CHECK(err.kind == LH_CANCELLED && access(path, F_OK) != 0);
}

typedef struct Count {
    int64_t next, end, fail_at;
} Count;

static bool make_rows(void *context, RowBatch *batch, Err *e) {
    Count *c = context;
    size_t rows = MIN(batch_capacity(batch), (size_t)(c->end - c->next));
    for (size_t i = 0; i < rows; i++, c->next++) {
        char text[64];
        if (c->next == c->fail_at)
            return err_code(e, LH_OFFLINE, "source_gone", "the source is gone");
        snprintf(text, sizeof text, "a text that is not inlined %lld", (long long)c->next);
        batch_int(batch, 0, i, c->next);
        if (c->next % 3) batch_text(batch, 1, i, str_from(text));
        batch_real(batch, 2, i, (double)c->next / 4);
        if (c->next % 2) batch_text(batch, 3, i, (Str){"\0\xff", 2});
        batch_int(batch, 4, i, c->next % 100);
    }
    batch_finish(batch, rows);
    return true;
}

static Field made_fields[] = {
    {.id = 1, .name = STR("id"), .type = {.kind = TYPE_LONG}  },
    {.id = 2, .name = STR("t"),  .type = {.kind = TYPE_STRING}},
    {.id = 3, .name = STR("x"),  .type = {.kind = TYPE_DOUBLE}},
    {.id = 4, .name = STR("b"),  .type = {.kind = TYPE_BINARY}},
    {.id = 5, .name = STR("i"),  .type = {.kind = TYPE_INT}   }
};
static const Schema made = {.fields = made_fields, .len = COUNT(made_fields)};

TEST("rows of ours are written in order, with NULL where no cell was set") {
    Count count = {.end = 100000, .fail_at = -1};
    DataFile file;
    const char *path = new_path();
    CHECK_OK(
        engine_write_parquet(open_engine(), &made, make_rows, &count, path, &arena, &file, &err));
    CHECK_INT(file.rows, 100000);
    CHECK_INT(ask_int(arena_print(&arena,
                                  "SELECT count(*) FROM (SELECT *, row_number() OVER () - 1 AS r "
                                  "FROM read_parquet('%s')) WHERE id = r "
                                  "AND (t IS NULL) = (id %% 3 = 0) AND coalesce(t, 'a text that is "
                                  "not inlined ' || id) = 'a text that is not inlined ' || id "
                                  "AND x = id / 4 AND (b IS NULL) = (id %% 2 = 0) AND coalesce(b, "
                                  "'\\x00\\xFF'::BLOB) = '\\x00\\xFF'::BLOB AND i = id %% 100",
                                  path)
                          .data),
              100000);
    CHECK_INT(stats_of(&file, 2)->null_count, 33334);
}

TEST("a source that fails gives its own error and leaves no file; none at all makes an empty one") {
    Count count = {.end = 100000, .fail_at = 50000}, none = {.fail_at = -1};
    DataFile file;
    const char *path = new_path();
    CHECK(
        !engine_write_parquet(open_engine(), &made, make_rows, &count, path, &arena, &file, &err));
    CHECK(err.kind == LH_OFFLINE && str_is(str_from(err_word(&err)), "source_gone") &&
          access(path, F_OK) != 0);
    CHECK_OK(
        engine_write_parquet(open_engine(), &made, make_rows, &none, path, &arena, &file, &err));
    CHECK_INT(file.rows, 0);
}

TEST("names and texts are quoted so that nothing ends them early") {
    OWNED(text_close) Text out = {0};
    sql_quote_text(&out, STR("it's"));
    sql_quote_name(&out, STR("a\"b"));
    CHECK_STR(text_str(&out), "'it''s'\"a\"\"b\"");
}

/* DuckDB must be closed before exit() takes the thread's own variables away. */
TEST("the engine closes") {
    engine_close(&engine);
    arena_close(&arena);
    CHECK(engine == NULL);
}
