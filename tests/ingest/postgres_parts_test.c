/* What a table's partitions and children become when several connections share them. */
#include "ingest/pg.h"

static void check_parts(const char *table, int64_t wanted, size_t parts, const char *sums) {
    OWNED(pulled_close) Pulled pulled = {0};
    SourceRequest request = pg_request(table, NULL);
    request.parallel = wanted;
    CHECK_OK(pull(&request, &pulled, &err));
    CHECK_INT(pulled.source->parts, parts);
    CHECK_STR(pulled_ask(&pulled,
                         "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || sum(id) || ' ' "
                         "|| sum(length(note)) || ' ' || count(d) FROM rows"),
              sums);
}

static const char *sums_of(const char *table) {
    Str sql = arena_print(&arena,
                          "SELECT concat_ws(' ', count(*), count(DISTINCT id), sum(id), "
                          "sum(length(note)), count(d)) FROM %s",
                          table);
    return pg_sql(sql.data).data;
}

#define FILL "SELECT i, repeat('x', 200 + i % 50), date '2024-01-01' + i % 800 FROM "

TEST("partitions by range, one of them empty, one of two levels, one with its columns in another "
     "order") {
    pg_sql("CREATE TABLE by_range (id int, note text, d date) PARTITION BY RANGE (id);"
           "CREATE TABLE r1 PARTITION OF by_range FOR VALUES FROM (0) TO (50000);"
           "CREATE TABLE r2 PARTITION OF by_range FOR VALUES FROM (50000) TO (60000) PARTITION BY "
           "HASH (id);"
           "CREATE TABLE r2a PARTITION OF r2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
           "CREATE TABLE r2b PARTITION OF r2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
           "CREATE TABLE empty PARTITION OF by_range FOR VALUES FROM (60000) TO (70000);"
           "CREATE TABLE other (gone int, d date, note text, id int);"
           "ALTER TABLE other DROP COLUMN gone;"
           "ALTER TABLE by_range ATTACH PARTITION other FOR VALUES FROM (70000) TO (200000);"
           "INSERT INTO by_range " FILL "generate_series(1, 59999) i;"
           "INSERT INTO by_range " FILL "generate_series(70000, 90000) i");
    for (int parts = 2; parts <= 5; parts++)
        check_parts("by_range", parts, (size_t)parts, sums_of("by_range"));
    check_parts("by_range", 1, 1, sums_of("by_range"));
}

TEST("partitions by hash, and a part's statement reads ranges of pages") {
    OWNED(pulled_close) Pulled pulled = {0};
    pg_sql("CREATE TABLE by_hash (\"id\" int, note text, d date) PARTITION BY HASH (id);"
           "CREATE TABLE h0 PARTITION OF by_hash FOR VALUES WITH (MODULUS 3, REMAINDER 0);"
           "CREATE TABLE h1 PARTITION OF by_hash FOR VALUES WITH (MODULUS 3, REMAINDER 1);"
           "CREATE TABLE h2 PARTITION OF by_hash FOR VALUES WITH (MODULUS 3, REMAINDER 2);"
           "INSERT INTO by_hash " FILL "generate_series(1, 80000) i");
    check_parts("by_hash", 4, 4, sums_of("by_hash"));
    Str plan = pg_sql("EXPLAIN SELECT q.c1 FROM (SELECT id AS c1, ctid FROM ONLY h0) AS q "
                      "WHERE q.ctid >= '(100,0)' AND q.ctid < '(200,0)'");
    CHECK(str_starts(plan, STR("Tid Range Scan")));
}

TEST(
    "a table that others inherit from is shared with them, and columns of their own are not read") {
    pg_sql("CREATE TABLE parent (id int PRIMARY KEY, note text, d date);"
           "CREATE TABLE child (more int) INHERITS (parent);"
           "INSERT INTO parent " FILL "generate_series(1, 40000) i;"
           "INSERT INTO child SELECT i, repeat('y', 210), NULL, 7 FROM generate_series(30001, "
           "70000) i");
    check_parts("parent", 3, 3, sums_of("parent"));
}

TEST("where a partition may not be read by name, or rows are hidden by a policy, one part reads "
     "the whole") {
    OWNED(pulled_close) Pulled limited = {0}, hidden = {0};
    pg_sql("CREATE ROLE reader LOGIN; GRANT SELECT ON by_hash TO reader; ALTER TABLE parent ENABLE "
           "ROW LEVEL "
           "SECURITY; CREATE POLICY few ON parent USING (id < 5000); GRANT SELECT ON parent, child "
           "TO reader");
    Str base = str_from(pg_dsn()), rest = base;
    str_until(&rest, '@');
    SourceRequest request = pg_request("by_hash", NULL);
    request.dsn = arena_print(&arena, "postgresql://reader@%.*s", SHOW(rest));
    request.parallel = 4;
    CHECK_OK(pull(&request, &limited, &err));
    CHECK_INT(limited.source->parts, 1);
    CHECK_STR(pulled_ask(&limited, "SELECT count(*) FROM rows"), "80000");
    request.table = STR("parent");
    CHECK_OK(pull(&request, &hidden, &err));
    CHECK_INT(hidden.source->parts, 1);
    CHECK_STR(pulled_ask(&hidden, "SELECT count(*) FROM rows"), "4999");
}

TEST("parts of partitions that are read while others write are one state") {
    OWNED(source_close) Source *source = NULL;
    Pulled pulled = {0};
    SourceRequest request = pg_request("by_range", NULL);
    request.parallel = 3;
    const char *before = sums_of("by_range");
    CHECK_OK(source_postgres(&request, &source, &err));
    pg_sql("INSERT INTO by_range " FILL "generate_series(60000, 69999) i");
    pg_sql("DELETE FROM by_range WHERE id % 3 = 0");
    pulled.source = source;
    CHECK_OK(pulled_all(&pulled, &err));
    CHECK_STR(pulled_ask(&pulled,
                         "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || sum(id) || ' ' || "
                         "sum(length(note)) || ' ' || count(d) FROM rows"),
              before);
    feed_close(&pulled.feed);
}

TEST("the engine closes") {
    engine_close(&pg_engine_kept);
    arena_close(&arena);
}
