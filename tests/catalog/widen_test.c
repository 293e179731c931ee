#include "catalog/lake.h"

static Lake *fresh(void) {
    static Lake lake;
    static int number;
    char dir[100];
    snprintf(dir, sizeof dir, "%s/%d", kit_dir(), number++);
    lake_open(&lake, dir);
    return &lake;
}

typedef struct Widening { /* an append that may widen, planned, its file not written */
    Arena arena;
    const Schema *schema;
    Str bucket, location, select;
} Widening;

static bool plan(Lake *lake, const char *select, Widening *out) {
    *out = (Widening){.select = str_from(select)};
    Schema wanted = lake_schema(select, &out->arena);
    return catalog_plan_widen(lake->catalog, STR("t"), &wanted, &out->arena, &out->schema,
                              &out->bucket, &out->location, &err);
}

/* The file holds all columns of the plan: those that the select lacks as NULL. */
static bool commit(Lake *lake, Widening *planned, int64_t *version) {
    OWNED(text_close) Text sql = {0};
    Schema given = lake_schema(planned->select.data, &planned->arena);
    DataFile file;
    text_add(&sql, STR("SELECT "));
    for (size_t i = 0; i < planned->schema->len; i++) {
        const Field *field = &planned->schema->fields[i];
        bool there = schema_find(&given, field->name) != NULL;
        Str type = type_sql(&field->type, &planned->arena);
        text_print(&sql, "%s%.*s::%.*s AS %.*s", i ? ", " : "",
                   SHOW(there ? field->name : STR("NULL")), SHOW(type), SHOW(field->name));
    }
    text_print(&sql, " FROM (%.*s)", SHOW(planned->select));
    lake_file(lake, arena_cstr(&planned->arena, text_str(&sql)), planned->schema, planned->bucket,
              planned->location, &planned->arena, &file);
    Commit what = {.dataset = STR("t"),
                   .mode = COMMIT_APPEND,
                   .widen = true,
                   .schema = planned->schema,
                   .files = &file,
                   .file_count = 1};
    bool ok = catalog_commit(lake->catalog, &what, version, &err);
    arena_close(&planned->arena);
    return ok;
}

static void widen(Lake *lake, const char *select, int64_t expected) {
    Widening planned;
    int64_t version;
    CHECK_OK(plan(lake, select, &planned));
    CHECK_OK(commit(lake, &planned, &version));
    CHECK_INT(version, expected);
}

static void create(Lake *lake, const char *select) {
    int64_t version;
    CHECK_OK(lake_ingest(lake, "t", COMMIT_CREATE, select, &version));
}

static void check_columns(Lake *lake, int64_t version, const char *expected) {
    OWNED(table_release) Table *table = NULL;
    OWNED(text_close) Text out = {0};
    OWNED(arena_close) Arena arena = {0};
    CHECK_OK(catalog_load(lake->catalog, STR("t"), version, &table, &err));
    for (size_t i = 0; i < table_schema(table)->len; i++) {
        const Field *field = &table_schema(table)->fields[i];
        Str type = type_sql(&field->type, &arena);
        text_print(&out, "%s%d %.*s %.*s", i ? ", " : "", field->id, SHOW(field->name), SHOW(type));
    }
    CHECK_STR(text_str(&out), expected);
}

TEST("columns that stay keep their ids, new ones get fresh ids, and old versions their types") {
    Lake *lake = fresh();
    create(lake, "SELECT 1::INTEGER AS i, 1.5::FLOAT AS f, 1.25::DECIMAL(5,2) AS d, 'x' AS s");
    widen(lake, "SELECT 'new' AS n, 5000000000 AS i, 2.5::DOUBLE AS f, 12345.25::DECIMAL(9,2) AS d",
          2);
    check_columns(lake, 0, "1 i BIGINT, 2 f DOUBLE, 3 d DECIMAL(9,2), 4 s VARCHAR, 5 n VARCHAR");
    check_columns(lake, 1, "1 i INTEGER, 2 f FLOAT, 3 d DECIMAL(5,2), 4 s VARCHAR");
    CHECK_INT(lake_read(lake, "t", 0, "sum(i)"), 5000000001);
    CHECK_INT(lake_read(lake, "t", 0, "(sum(d) * 100)::BIGINT"), 1234650);
    CHECK_INT(lake_read(lake, "t", 0, "count(s) * 10 + count(n)"), 11);
    CHECK_INT(lake_read(lake, "t", 1, "sum(i)"), 1);
    lake_close(lake);
}

TEST("a widening append that finds nothing to widen leaves the schema as it is") {
    Lake *lake = fresh();
    create(lake, "SELECT 1::BIGINT AS i, 'x' AS s");
    widen(lake, "SELECT 2::INTEGER AS i", 2);
    check_columns(lake, 0, "1 i BIGINT, 2 s VARCHAR");
    OWNED(table_release) Table *first = NULL, *second = NULL;
    CHECK_OK(catalog_load(lake->catalog, STR("t"), 1, &first, &err));
    CHECK_OK(catalog_load(lake->catalog, STR("t"), 2, &second, &err));
    CHECK_INT(table_schema(first)->id, table_schema(second)->id);
    CHECK_INT(lake_read(lake, "t", 0, "count(*) * 10 + count(s)"), 21);
    table_release(&first);
    table_release(&second);
    lake_close(lake);
}

TEST("a decimal grows by the digits that either needs, and not beyond 38") {
    Lake *lake = fresh();
    Widening planned = {0};
    create(lake, "SELECT 1::DECIMAL(10,4) AS d");
    widen(lake, "SELECT 1::DECIMAL(12,2) AS d", 2); /* ten digits before the point, four after */
    check_columns(lake, 0, "1 d DECIMAL(14,4)");
    CHECK(!plan(lake, "SELECT 1::DECIMAL(38,2) AS d", &planned));
    CHECK_STR(str_from(err_word(&err)), "schema_mismatch");
    CHECK(!plan(lake, "SELECT 1::DECIMAL(14,6) AS d", &planned));
    CHECK(strstr(err.message, "'d' is DECIMAL(14,6), in the dataset it is DECIMAL(14,4)"));
    arena_close(&planned.arena);
    lake_close(lake);
}

TEST("what is no widening is refused, each column with its reason; case alone makes no column") {
    Lake *lake = fresh();
    Widening planned = {0};
    create(lake, "SELECT 1::INTEGER AS i, 'x' AS s, 1::DOUBLE AS x");
    CHECK(!plan(lake, "SELECT 1.5::DOUBLE AS i, 1 AS s, true AS x", &planned));
    CHECK_STR(str_from(err_word(&err)), "schema_mismatch");
    CHECK(strstr(err.message, "'i' is DOUBLE") && strstr(err.message, "'s' is INTEGER") &&
          strstr(err.message, "'x' is BOOLEAN"));
    CHECK(!plan(lake, "SELECT 1 AS I", &planned));
    CHECK_STR(str_from(err_word(&err)), "duplicate_column");
    arena_close(&planned.arena);
    lake_close(lake);
}

TEST("of two widening appends of one plan the second is told that the columns changed") {
    Lake *lake = fresh();
    Widening one, other, plain;
    int64_t version;
    create(lake, "SELECT 1::INTEGER AS i");
    CHECK_OK(plan(lake, "SELECT 2::BIGINT AS i, 'a' AS a", &one));
    CHECK_OK(plan(lake, "SELECT 3::BIGINT AS i, 'b' AS b", &other));
    CHECK_OK(plan(lake, "SELECT 4::INTEGER AS i", &plain));
    CHECK_OK(commit(lake, &one, &version));
    CHECK(!commit(lake, &other, &version) && err.kind == LH_CONFLICT);
    CHECK_STR(str_from(err_word(&err)), "schema_changed");
    CHECK(!commit(lake, &plain, &version));
    CHECK_STR(str_from(err_word(&err)), "schema_changed");
    check_columns(lake, 0, "1 i BIGINT, 2 a VARCHAR");
    CHECK_INT(lake_read(lake, "t", 0, "sum(i)"), 3);
    lake_close(lake);
}

TEST("a widening append holds when others appended meanwhile") {
    Lake *lake = fresh();
    Widening planned;
    int64_t version;
    create(lake, "SELECT 1::INTEGER AS i");
    CHECK_OK(plan(lake, "SELECT 2::BIGINT AS i, 'a' AS a", &planned));
    CHECK_OK(lake_ingest(lake, "t", COMMIT_APPEND, "SELECT 10::INTEGER AS i", &version));
    CHECK_OK(commit(lake, &planned, &version));
    CHECK_INT(version, 3);
    CHECK_INT(lake_read(lake, "t", 0, "sum(i)"), 13);
    lake_close(lake);
}

TEST("merged manifests keep the files of narrower columns, with bounds that still fit") {
    Lake *lake = fresh();
    int64_t version;
    create(lake, "SELECT 1::INTEGER AS i");
    for (int n = 0; n < 30; n++)
        CHECK_OK(lake_ingest(lake, "t", COMMIT_APPEND, "SELECT 1::INTEGER AS i", &version));
    for (int n = 0; n < 40; n++) widen(lake, "SELECT 5000000000 AS i", 32 + n);
    CHECK_INT(lake_read(lake, "t", 0, "sum(i)"), 31 + 40 * 5000000000);
    CHECK_INT(lake_read(lake, "t", 31, "sum(i)"), 31);
    lake_close(lake);
}
