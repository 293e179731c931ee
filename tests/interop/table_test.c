/* Tables as another reader sees them: written here without a server, read by icebird in node. */
#include "catalog/lake.h"

#define EVERY_TYPE                                                                                 \
    "i::INTEGER AS i32, i * 10000000000 AS i64, (i * 0.5)::FLOAT AS f32, i * 0.25::DOUBLE AS "     \
    "f64, "                                                                                        \
    "(i * -1.25)::DECIMAL(12,2) AS dec, (i * 1.5)::DECIMAL(4,1) AS small, i % 2 = 0 AS flag, "     \
    "DATE '2020-02-28' + i::INTEGER AS day, TIME '01:02:03.000004' AS at, "                        \
    "TIMESTAMP '1969-12-31 23:59:59.678' + to_hours(i) AS ts, "                                    \
    "TIMESTAMPTZ '2021-01-02 03:04:05.678901+00' AS tz, 'row é ' || i AS name, "                  \
    "('00000000-0000-4000-8000-00000000000' || (i % 10))::UUID AS id, 'ab'::BLOB AS raw, "         \
    "[i * 0.5::FLOAT, 2.0::FLOAT] AS vec, {a: i::INTEGER, b: 'x'} AS pair, "                       \
    "MAP {'k': i::INTEGER} AS tags, CASE WHEN i % 3 = 0 THEN i END AS maybe"

/* What DuckDB reads from the same files, each value as text. */
static void write_expected(Lake *lake, const char *path) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(table_release) Table *table = NULL;
    OWNED(bucket_release) Bucket *bucket = NULL;
    OWNED(text_close) Text sql = {0};
    const DataFile *files;
    size_t count;
    CHECK_OK(catalog_load(lake->catalog, STR("t"), 0, &table, &err));
    CHECK_OK(table_files(table, &files, &count, &err));
    CHECK_OK(bucket_find(lake->buckets, table_bucket(table), &bucket, &err));
    const Schema *schema = table_schema(table);
    text_print(&sql, "COPY (SELECT ");
    for (size_t i = 0; i < schema->len; i++) {
        const Field *field = &schema->fields[i];
        bool nested = field->type.field_count > 0;
        text_print(&sql, "%s%s(\"%.*s\")::VARCHAR AS \"%.*s\"", i ? ", " : "",
                   nested ? "to_json" : "", SHOW(field->name), SHOW(field->name));
    }
    text_add(&sql, STR(" FROM read_parquet(["));
    for (size_t i = 0; i < count; i++) {
        OWNED(local_file_close) LocalFile *file = NULL;
        CHECK_OK(
            store_local_file(bucket_store(bucket), files[i].key, LOCAL_WHOLE, true, &file, &err));
        text_print(&sql, "%s'%s'", i ? ", " : "", local_file_path(file));
    }
    text_print(&sql, "])) TO '%s' (FORMAT json)", path);
    duck_run(arena_cstr(&arena, text_str(&sql)), NULL);
}

static void check_with_icebird(Lake *lake, const char *dir) {
    char expected[160], command[PATH_MAX * 2], line[2000] = "";
    snprintf(expected, sizeof expected, "%s/expected.ndjson", dir);
    write_expected(lake, expected);
    snprintf(command, sizeof command,
             "node tests/interop/check_table.mjs %s/warehouse/main/t %s 2>&1", lake->primary,
             expected);
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    size_t len = fread(line, 1, sizeof line - 1, pipe);
    line[len] = 0;
    if (pclose(pipe) != 0) kit_fail(__FILE__, __LINE__, "icebird: %s", line);
}

static void ingest(Lake *lake, CommitMode mode, const char *select) {
    int64_t version;
    CHECK_OK(lake_ingest(lake, "t", mode, select, &version));
}

TEST("icebird reads every type, after a create, appends, a patch, a replace and a rollback") {
    Lake lake;
    const char *dir = kit_dir();
    Property owner = {STR(PROPERTY_OWNER), STR("me")};
    int64_t version;
    lake_open(&lake, dir);
    duck_run("SET TimeZone = 'UTC'", NULL);
    ingest(&lake, COMMIT_CREATE, "SELECT " EVERY_TYPE " FROM range(20) t(i)");
    check_with_icebird(&lake, dir);
    ingest(&lake, COMMIT_APPEND, "SELECT " EVERY_TYPE " FROM range(20, 25) t(i)");
    ingest(&lake, COMMIT_APPEND, "SELECT " EVERY_TYPE " FROM range(30, 31) t(i)");
    check_with_icebird(&lake, dir);
    CHECK_OK(catalog_patch(lake.catalog, STR("t"), &owner, 1, &err));
    check_with_icebird(&lake, dir);
    ingest(&lake, COMMIT_REPLACE, "SELECT i AS other, 'x' AS name FROM range(3) t(i)");
    check_with_icebird(&lake, dir);
    CHECK_OK(catalog_rollback(lake.catalog, STR("t"), 2, &version, &err));
    check_with_icebird(&lake, dir);
    lake_close(&lake);
}

TEST("icebird reads a table whose manifests were merged") {
    Lake lake;
    const char *dir = kit_dir();
    lake_open(&lake, dir);
    ingest(&lake, COMMIT_CREATE, "SELECT 0 AS id, 'a' AS s");
    for (int i = 1; i < 66; i++) ingest(&lake, COMMIT_APPEND, "SELECT 1 AS id, 'b' AS s");
    check_with_icebird(&lake, dir);
    lake_close(&lake);
}
