#include "kit/kit.h"
#include "query/query.h"

#include <stdlib.h>
#include <unistd.h>

/* A lake of two buckets, with `sales` (two versions), `shop.sales` in another bucket, `empty`
 * without files and `Odd` columns. */
typedef struct Lake {
    char root[2][128], spill[128];
    Buckets *buckets;
    Catalog *catalog;
    Engine *engine;
} Lake;

static Err err;
static Arena arena;
static Lake lake;

static void put(const char *dataset, const char *bucket, CommitMode mode, const char *select) {
    Schema wanted;
    const Schema *schema;
    Str home, location;
    OWNED(bucket_release) Bucket *held = NULL;
    DataFile file = {0};
    char path[PATH_MAX], uuid[UUID_SIZE];
    ObjectInfo info;
    int64_t version;
    CHECK_OK(engine_describe(lake.engine, str_from(select), &arena, &wanted, &err));
    CHECK_OK(catalog_plan(lake.catalog, str_from(dataset), mode, str_from(bucket), &wanted, &arena,
                          &schema, &home, &location, &err));
    CHECK_OK(bucket_find(lake.buckets, home, &held, &err));
    CHECK_OK(store_staging(bucket_store(held), path, &err));
    CHECK_OK(engine_copy_parquet(lake.engine, str_from(select), schema, path, NULL, NULL, &arena,
                                 &file, &err));
    random_uuid(uuid);
    file.key = arena_print(&arena, "%.*s/data/%s.parquet", SHOW(location), uuid);
    CHECK_OK(store_adopt(bucket_store(held), path, file.key, NULL, &info, &err));
    Commit commit = {
        .dataset = str_from(dataset),
        .bucket = home,
        .mode = mode,
        .schema = schema,
        .files = &file,
        .file_count = file.rows > 0,
        .lineage = {.source_system = "query", .source = STR("test")}
    };
    CHECK_OK(catalog_commit(lake.catalog, &commit, &version, &err));
}

static void open_lake(void) {
    if (lake.engine) return;
    snprintf(lake.root[0], sizeof lake.root[0], "%s/a", kit_dir());
    snprintf(lake.root[1], sizeof lake.root[1], "%s/b", kit_dir());
    snprintf(lake.spill, sizeof lake.spill, "%s/spill", kit_dir());
    BucketOptions buckets[] = {
        {STR("primary"), STR("local"), str_from(lake.root[0])},
        {STR("second"),  STR("local"), str_from(lake.root[1])}
    };
    EngineOptions options = {.threads = 2,
                             .memory_bytes = 1 << 30,
                             .spill_dir = lake.spill,
                             .spill_bytes_max = 1 << 28,
                             .queries_max = 4};
    CHECK_OK(buckets_open(&(BucketsOptions){.items = buckets, .count = 2}, &lake.buckets, &err));
    CHECK_OK(catalog_open(lake.buckets, NULL, &lake.catalog, &err));
    CHECK_OK(engine_open(&options, lake.catalog, &lake.engine, &err));
    put("sales", "primary", COMMIT_CREATE,
        "SELECT n AS id, 'item ' || n AS \"Item Name\" FROM range(100) t(n)");
    put("sales", "primary", COMMIT_APPEND,
        "SELECT 'late ' || n AS \"Item Name\", n + 100 AS id FROM range(50) t(n)");
    put("shop.sales", "second", COMMIT_CREATE,
        "SELECT n AS id, n * 2 AS amount FROM range(10) t(n)");
    put("empty", "primary", COMMIT_CREATE,
        "SELECT 1 AS a, 'x' AS b, [1.5::FLOAT] AS v, {'k': 1} AS s WHERE false");
}

static bool ask(const char *sql, const char *as_of, int64_t *value) {
    OWNED(rows_close) Rows *rows = NULL;
    Query query = {.sql = str_from(sql), .timeout_ms = 30000};
    size_t count;
    open_lake();
    if (as_of) CHECK_OK(json_read(str_from(as_of), &arena, &query.as_of, &err));
    if (!query_open(lake.engine, &query, &rows, &err) || !rows_next(rows, &count, &err))
        return false;
    *value = count ? rows_int(rows, 0, 0) : -1;
    return true;
}

static int64_t number(const char *sql, const char *as_of) {
    int64_t value = 0;
    CHECK_OK(ask(sql, as_of, &value));
    return value;
}

TEST("a dataset is read by its name, in whatever case, over all of its files") {
    CHECK_INT(number("SELECT count(*) FROM sales", NULL), 150);
    CHECK_INT(number("SELECT count(*) FROM SALES WHERE ID >= 100", NULL), 50);
    CHECK_INT(number("SELECT id FROM \"sales\" WHERE \"Item Name\" = 'late 7'", NULL), 107);
    CHECK_INT(number("SELECT sales.id FROM main.sales WHERE \"item name\" = 'item 7'", NULL), 7);
    CHECK_INT(number("SELECT count(*) FROM \"main\".\"Sales\"", NULL), 150);
}

TEST("aliases, joins, CTEs and subqueries over datasets") {
    CHECK_INT(number("SELECT count(*) FROM sales a JOIN sales b USING (id)", NULL), 150);
    CHECK_INT(
        number("WITH big AS (SELECT * FROM sales WHERE id > 120) SELECT count(*) FROM big", NULL),
        29);
    CHECK_INT(number("WITH sales AS (SELECT 1 AS id) SELECT count(*) FROM sales", NULL), 1);
    CHECK_INT(number("SELECT count(*) FROM (WITH sales AS (SELECT 1) SELECT * FROM sales) x, sales",
                     NULL),
              150);
    CHECK_INT(number("SELECT max(id) FROM sales WHERE id IN (SELECT id FROM shop.sales)", NULL), 9);
}

TEST("namespaces: the same table name in two of them is two datasets") {
    CHECK_INT(number("SELECT sum(amount)::BIGINT FROM shop.sales", NULL), 90);
    CHECK_INT(number("SELECT count(*) FROM sales JOIN shop.sales AS s USING (id)", NULL), 10);
    CHECK_INT(
        number("SELECT sum(b.amount)::BIGINT FROM sales a JOIN Shop . \"SALES\" b ON a.id = b.id",
               NULL),
        90);
    CHECK_INT(number("SELECT count(sales.amount) FROM shop.sales WHERE sales.id > 4", NULL), 5);
    CHECK_INT(
        number("SELECT (SELECT count(*) FROM sales) - (SELECT count(*) FROM shop.sales)", NULL),
        140);
}

TEST("an old version is read as it was") {
    CHECK_INT(number("SELECT count(*) FROM sales", "{\"sales\": 1}"), 100);
    CHECK_INT(number("SELECT count(*) FROM sales", "{\"sales\": 2}"), 150);
    CHECK_INT(number("SELECT count(*) FROM Sales", "{\"main.sales\": 1}"), 100);
    CHECK_INT(number("SELECT count(*) FROM shop.sales", "{\"shop.sales\": 1}"), 10);
    int64_t value;
    CHECK(!ask("SELECT 1 FROM sales", "{\"sales\": 9}", &value) && err.kind == LH_MISSING);
    CHECK(!ask("SELECT 1 FROM sales", "{\"sales\": \"x\"}", &value) && err.kind == LH_INVALID);
}

TEST("a dataset without files has its columns and no rows") {
    CHECK_INT(number("SELECT count(*) FROM empty", NULL), 0);
    CHECK_INT(
        number("SELECT count(*) FROM (SELECT a + 1, upper(b), v[1] * 2, s.k FROM empty)", NULL), 0);
    CHECK_INT(number("SELECT count(*) FROM sales LEFT JOIN empty ON a = id", NULL), 150);
}

TEST("an unknown dataset is missing, with a near name") {
    int64_t value;
    CHECK(!ask("SELECT * FROM salse", NULL, &value));
    CHECK(err.kind == LH_MISSING && str_is(str_from(err_word(&err)), "dataset_not_found"));
    CHECK(strstr(err.message, "'salse'") && strstr(err.message, "sales"));
    CHECK(!ask("SELECT * FROM sales, shop.nothing", NULL, &value) && err.kind == LH_MISSING);
}

TEST("an unknown column is an error of the statement, placed in the user's text") {
    int64_t value;
    CHECK(!ask("SELECT id,\n nope FROM shop.sales WHERE sales.id = 1", NULL, &value));
    CHECK(err.kind == LH_INVALID && strstr(err.message, "line 2, position 2: "));
    CHECK(!ask("SELECT count(*) FROM shop.sales\nWHERE missing = 1", NULL, &value));
    CHECK(err.kind == LH_INVALID && strstr(err.message, "line 2, position 7: "));
    CHECK(!ask("SELECT count(*) FROM shop.sales, nope, sales WHERE x = 1", NULL, &value));
}

TEST("the bytes of the planned files are known") {
    OWNED(rows_close) Rows *rows = NULL;
    open_lake();
    Query query = {.sql = STR("SELECT * FROM sales a, sales b")};
    CHECK_OK(query_open(lake.engine, &query, &rows, &err));
    OWNED(table_release) Table *table = NULL;
    CHECK_OK(catalog_load(lake.catalog, STR("sales"), 0, &table, &err));
    CHECK_INT(rows_scanned_bytes(rows), table_bytes(table));
}

TEST("a result that is held and one that is streamed are the same") {
    CHECK_INT(number("SELECT max(id) FROM sales WHERE id < 120", NULL), 119);
    CHECK_INT(
        number("SELECT max(a.id) FROM sales a JOIN sales b USING (id) WHERE a.id < 120", NULL),
        119);
    OWNED(rows_close) Rows *rows = NULL;
    size_t count, all = 0;
    Query query = {.sql = STR("SELECT id FROM sales WHERE id >= $1"), .params = NULL};
    CHECK_OK(json_read(STR("[10]"), &arena, &query.params, &err));
    CHECK_OK(query_open(lake.engine, &query, &rows, &err));
    for (CHECK_OK(rows_next(rows, &count, &err)); count; CHECK_OK(rows_next(rows, &count, &err)))
        all += count;
    CHECK_INT(all, 140);
}

TEST("a statement that is only checked is refused as it would be, and runs nothing") {
    OWNED(rows_close) Rows *rows = NULL;
    open_lake();
    Query query = {.sql = STR("SELECT * FROM sales WHERE id = 1"), .check = true};
    CHECK_OK(query_open(lake.engine, &query, &rows, &err));
    CHECK_INT(rows_columns(rows), 0);
    rows_close(&rows);
    query.sql = STR("SELECT * FROM sales WHERE nope = 1");
    CHECK(!query_open(lake.engine, &query, &rows, &err) && err.kind == LH_INVALID);
    query.sql = STR("SELECT * FROM sales WHERE id IN (SELECT 1 FROM read_text('/etc/passwd'))");
    CHECK(!query_open(lake.engine, &query, &rows, &err) && err.kind == LH_DENIED);
}

TEST("trusted SQL reads datasets by name too") {
    OWNED(rows_close) Rows *rows = NULL;
    size_t count;
    open_lake();
    CHECK_OK(engine_run(lake.engine, STR("SELECT count(*) FROM sales"), NULL, NULL, &rows, &err));
    CHECK_OK(rows_next(rows, &count, &err));
    CHECK_INT(rows_int(rows, 0, 0), 150);
}

TEST("a bucket added while running is readable at once") {
    char root[128];
    open_lake();
    snprintf(root, sizeof root, "%s/c", kit_dir());
    BucketOptions third = {STR("third"), STR("local"), str_from(root)};
    CHECK_OK(bucket_add(lake.buckets, &third, &err));
    put("elsewhere", "third", COMMIT_CREATE, "SELECT 42::BIGINT AS x");
    CHECK_INT(number("SELECT x FROM elsewhere", NULL), 42);
    CHECK_INT(number("SELECT count(*) FROM sales, elsewhere", NULL), 150);
}

TEST("the second wall alone keeps other files out, even of a bucket") {
    char path[256];
    open_lake();
    number("SELECT count(*) FROM sales", NULL);
    snprintf(path, sizeof path, "%s/secret.csv", lake.root[0]);
    CHECK_OK(file_replace(path, bytes_of(STR("a\n1\n")), &err));
    int64_t value;
    CHECK(!ask(arena_print(&arena, "SELECT * FROM '%s'", path).data, NULL, &value));
    CHECK(err.kind == LH_DENIED);
}

/* DuckDB must be closed before exit() takes the thread's own variables away. */
TEST("the lake closes") {
    engine_close(&lake.engine);
    catalog_close(&lake.catalog);
    buckets_close(&lake.buckets);
    arena_close(&arena);
    CHECK(!lake.engine && !lake.catalog && !lake.buckets);
}
