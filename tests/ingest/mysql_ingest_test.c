/* From a MariaDB to a dataset, all the way: the dataset's sums are the table's. */
#include "ingest/source.h"
#include "kit/engine.h"
#include "kit/service.h"

#include <stdlib.h>
#include <unistd.h>

static Err err;
static Arena arena;
static Buckets *buckets;
static Catalog *catalog;
static Engine *engine;
static const char *dsn, *dir;

static void open_lake(void) {
    if (engine) return;
    BucketOptions primary = {STR("primary"), STR("local"), str_from(kit_dir())};
    CHECK_OK(buckets_open(&(BucketsOptions){.items = &primary, .count = 1}, &buckets, &err));
    CHECK_OK(catalog_open(buckets, NULL, &catalog, &err));
    engine = kit_engine(catalog, 1 << 30, 1 << 28);
    dsn = kit_service("mariadb", &dir);
}

/* What the client prints, a line a row, spaces between. */
static Str sql(const char *text) {
    OWNED(text_close) Text out = {0};
    char path[] = "/tmp/lakehouse-sql-XXXXXX";
    int fd = mkstemp(path);
    CHECK_OK(fd_write(fd, bytes_of(str_from(text)), &err));
    close(fd);
    Str command = arena_print(&arena,
                              "mariadb --no-defaults -uroot -S %s/my.sock "
                              "--default-character-set=utf8mb4 -NBr lake 2>&1 <%s",
                              dir, path);
    FILE *from = popen(command.data, "r");
    for (int c; from && (c = fgetc(from)) != EOF;) text_add_byte(&out, (char)c);
    bool ok = from && pclose(from) == 0;
    unlink(path);
    if (!ok) kit_fail(__FILE__, __LINE__, "the client: %.*s", SHOW(text_str(&out)));
    return arena_copy(&arena, str_trim(text_str(&out)));
}

static Str ask(const char *text) {
    OWNED(rows_close) Rows *rows = NULL;
    Query query = {.sql = str_from(text)};
    size_t count;
    CHECK_OK(query_open(engine, &query, &rows, &err));
    CHECK_OK(rows_next(rows, &count, &err));
    CHECK_INT(count, 1);
    return arena_copy(&arena, rows_text(rows, 0, 0));
}

static const Json *ingest(SourceRequest request, const char *dataset, CommitMode mode) {
    OWNED(source_close) Source *source = NULL;
    OWNED(text_close) Text text = {0};
    const Json *result = NULL;
    TableIngest what = {.dataset = str_from(dataset), .mode = mode, .cursor = request.cursor};
    request.dsn = str_from(dsn);
    request.batch_rows = FEED_BATCH_ROWS;
    request.connect_timeout_ms = 5000;
    request.idle_timeout_ms = 20000;
    CHECK_OK(source_mysql(&request, &source, &err));
    CHECK_OK(ingest_table(catalog, engine, buckets, source, &what, &text, &err));
    CHECK_OK(json_read(text_str(&text), &arena, &result, &err));
    return result;
}

TEST("a table becomes a dataset whose every column has the table's sum, read in four parts") {
    open_lake();
    sql("SET sql_mode=''; CREATE TABLE orders (id bigint PRIMARY KEY, u bigint unsigned, "
        "price decimal(12,2), small decimal(4,1), wide decimal(38,3), f float, r double, ok bool, "
        "b bit(64), y year, d date, dt datetime(6), ts timestamp(3) NULL, t time, name "
        "varchar(60), "
        "raw varbinary(60), key_ uuid, e enum('x','y'), j json); "
        "INSERT INTO orders SELECT s, 18446744073709551615 - CAST(s AS UNSIGNED), s * 1.25 - 1000, "
        "(s % 9999) / 10 - 500, "
        "POW(10, 30) + s, s * 0.5, s / 3, s % 2, 9223372036854775807 + CAST(s AS UNSIGNED), 1901 + "
        "s % 200, "
        "IF(s % 10 = 0, '0000-00-00', '1900-01-01' + INTERVAL s DAY), "
        "'1969-12-31 23:59:59.5' + INTERVAL s SECOND, '2001-01-01' + INTERVAL s MINUTE, "
        "SEC_TO_TIME(s * 37 - 100000), CONCAT('näme 😀 ', s), UNHEX(SHA1(s)), "
        "CONCAT(LPAD(HEX(s), 8, '0'), '-0000-4000-8000-000000000000'), IF(s % 2, 'x', 'y'), "
        "CONCAT('{\"a\":', s, '}') FROM (SELECT CAST(seq AS SIGNED) AS s FROM seq_1_to_50000) AS "
        "n; "
        "INSERT INTO orders (id) VALUES (0)");
    const Json *result =
        ingest((SourceRequest){.table = STR("orders"), .parallel = 4}, "orders", COMMIT_CREATE);
    CHECK_INT(json_get_int(result, "rows", 0), 50001);
    const Json *warnings = json_get(result, "warnings");
    CHECK(warnings && warnings->len == 1 &&
          str_find(warnings->items[0].text, STR("zero dates"), &(size_t){0}));
    Str theirs = sql(
        "SELECT CONCAT_WS(' ', COUNT(*), SUM(id), SUM(u), SUM(price), SUM(small), SUM(wide), "
        "CAST(SUM(f) AS SIGNED), CAST(SUM(r) AS SIGNED), SUM(ok), SUM(b+0), SUM(y), "
        "SUM(NULLIF(TO_DAYS(d),0)-719528), COUNT(NULLIF(TO_DAYS(d),0)), "
        "SUM(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', dt)), "
        "SUM(TIMESTAMPDIFF(SECOND, '1970-01-01', CONVERT_TZ(ts, @@session.time_zone, '+00:00'))), "
        "MAX(CAST(t AS CHAR)), MIN(CAST(t AS CHAR)), SUM(LENGTH(name)), SUM(LENGTH(raw)), "
        "MD5(GROUP_CONCAT(HEX(raw) ORDER BY id SEPARATOR '')), MAX(key_), SUM(e='x'), "
        "SUM(LENGTH(j))) FROM orders");
    Str ours =
        ask("SELECT concat_ws(' ', count(*), sum(id), sum(u), sum(price), sum(small), sum(wide), "
            "sum(f)::BIGINT, sum(r)::BIGINT, sum(ok::INT), sum(b), sum(y), sum(d - DATE "
            "'1970-01-01'), count(d), "
            "sum(epoch_us(dt)), sum(epoch_ms(ts)//1000), max(t), min(t), sum(strlen(name)), "
            "sum(octet_length(raw)), md5(substr(string_agg(hex(raw), '' ORDER BY id), 1, "
            "1048576)), max(key_), sum((e='x')::INT), sum(strlen(j))) FROM orders");
    CHECK_STR(ours, theirs.data);
}

TEST("a cursor's last value is where the next run goes on") {
    open_lake();
    sql("CREATE TABLE steps (id int PRIMARY KEY, v varchar(20)); INSERT INTO steps VALUES "
        "(1,'a'),(2,'b')");
    SourceRequest request = {.table = STR("steps"), .cursor = STR("id")};
    ingest(request, "steps", COMMIT_CREATE);
    sql("INSERT INTO steps VALUES (3,'c')");
    request.after = STR("3");
    const Json *result = ingest(request, "steps", COMMIT_APPEND);
    CHECK_INT(json_get_int(result, "rows", 0), 1);
    Str ours = ask("SELECT string_agg(v, '' ORDER BY id) FROM steps");
    CHECK_STR(ours, "abc");
}

TEST("what was open is closed") {
    engine_close(&engine);
    catalog_close(&catalog);
    buckets_close(&buckets);
    arena_close(&arena);
}
