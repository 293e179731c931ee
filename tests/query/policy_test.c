#include "kit/engine.h"
#include "query/engine.h"

#include <stdlib.h>
#include <unistd.h>

static Err err;

static Engine *engine;

static Engine *open_engine(void) {
    if (!engine) engine = kit_engine(NULL, 1 << 30, 1 << 28);
    return engine;
}

static bool discard(void *context, Bytes data, Err *e) {
    (void)context, (void)data, (void)e;
    return true;
}

static bool ask(const char *sql) {
    OWNED(rows_close) Rows *rows = NULL;
    RowsWritten written;
    Query query = {.sql = str_from(sql), .timeout_ms = 5000};
    return query_open(open_engine(), &query, &rows, &err) &&
           rows_write(rows, ROWS_JSON, 0, discard, NULL, &written, &err);
}

/* Each would leave /tmp/lakehouse-escape*, read a file or tell about the server. */
static const char *const attacks[] = {
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM lake_vector_search('i', 'x', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    "SELECT * FROM vector_search('i', (SELECT content FROM read_text('/etc/passwd')))",
    "SELECT * FROM vector_search('i', 'x', 1, (SELECT content FROM read_text('/etc/passwd')))",
    "SELECT * FROM vector_search('i', getenv('HOME'))",
    "WITH lake_vector_search AS (SELECT 1) SELECT * FROM lake_vector_search('i', 'x')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_json('/etc/passwd')",
    "SELECT * FROM read_json_objects('/etc/passwd')",
    "SELECT * FROM read_ndjson_auto('/etc/passwd')",
    "SELECT * FROM read_parquet('/tmp/x.parquet')",
    "SELECT * FROM parquet_scan('/tmp/x.parquet')",
    "SELECT * FROM parquet_metadata('/tmp/x.parquet')",
    "SELECT * FROM parquet_schema('/tmp/x.parquet')",
    "SELECT * FROM parquet_kv_metadata('/tmp/x.parquet')",
    "SELECT * FROM parquet_bloom_probe('/tmp/x.parquet', 'a', 1)",
    "SELECT * FROM read_duckdb('/tmp/x.db')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM READ_CSV_AUTO('/etc/passwd')",
    "SELECT * FROM \"read_csv\"('/etc/passwd')",
    "SELECT * FROM main.read_csv('/etc/passwd')",
    "SELECT * FROM system.main.read_text('/etc/passwd')",
    "SELECT * FROM /* x */ read_csv /* y */ ('/etc/passwd')",
    "SELECT * FROM read_csv -- c\n('/etc/passwd')",
    "SELECT * FROM 'x.parquet'",
    "SELECT * FROM \"x.csv\"",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM \"/etc/passwd\"",
    "SELECT * FROM '/etc/*.csv'",
    "SELECT * FROM 'http://127.0.0.1:1/x.parquet'",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM 'file:///etc/passwd'",
    "SELECT * FROM \"x.json\"",
    "SELECT * FROM 'x.tsv.gz'",
    "FROM 'x.parquet'",
    "FROM read_text('/etc/passwd')",
    "TABLE \"x.csv\"",
    "SELECT (SELECT max(content) FROM read_text('/etc/passwd'))",
    "WITH a AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM a",
    "WITH a AS MATERIALIZED (FROM 'x.csv') SELECT 1",
    "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 1 FROM read_text('/etc/passwd')) FROM r",
    "SELECT * FROM (WITH \"x.csv\" AS (SELECT 1) SELECT 1) x, \"x.csv\"",
    "SELECT * FROM (WITH pg_class AS (SELECT 1) FROM pg_class) x, pg_class",
    "WITH duckdb_settings AS (SELECT 1) FROM duckdb_settings",
    "SELECT * FROM range(3) t, LATERAL (SELECT * FROM read_text('/etc/passwd')) u",
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM read_text('/etc/passwd'))",
    "SELECT 1 UNION ALL SELECT count(*) FROM read_text('/etc/passwd')",
    "(SELECT 1) EXCEPT (SELECT count(*) FROM glob('/*'))",
    "VALUES ((SELECT count(*) FROM glob('/*')))",
    "SELECT list_transform([1], x -> (SELECT count(*) FROM glob('/*')))",
    "SELECT count(*) FILTER (WHERE EXISTS (FROM glob('/*')))",
    "SELECT 1 ORDER BY (SELECT count(*) FROM glob('/*'))",
    "SELECT 1 LIMIT (SELECT count(*) FROM glob('/*'))",
    "SELECT sum(1) OVER (ORDER BY (SELECT count(*) FROM glob('/*')))",
    "SELECT * FROM unnest((SELECT list(file) FROM glob('/*')))",
    "SELECT * FROM range((SELECT count(*) FROM glob('/*')))",
    "SELECT 1 GROUP BY (SELECT count(*) FROM glob('/*'))",
    "SELECT 1 QUALIFY (SELECT count(*) FROM glob('/*')) > 1",
    "SELECT CASE WHEN true THEN (SELECT count(*) FROM glob('/*')) END",
    "PIVOT (SELECT * FROM read_text('/etc/passwd')) ON size IN (1) USING count(*)",
    "PIVOT (SELECT 1 a, 2 b) ON a USING count(*)",
    "UNPIVOT (SELECT * FROM read_text('/etc/passwd')) ON content",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query('SELECT 1; COPY (SELECT 1) TO ''/tmp/lakehouse-escape''')",
    "SELECT * FROM query_table('x.csv')",
    "SELECT * FROM query_table(['x.csv'])",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT json_serialize_plan('SELECT * FROM read_text(''/etc/passwd'')')",
    "SELECT json_deserialize_sql(json_serialize_sql('SELECT 1'))",
    "SELECT * FROM enable_logging(storage='file', storage_path='/tmp/lakehouse-escape')",
    "SELECT * FROM enable_logging()",
    "CALL enable_logging('QueryLog', storage='stdout')",
    "SELECT * FROM system.main.enable_logging()",
    "SELECT * FROM enable_profiling(save_location='/tmp/lakehouse-escape')",
    "SELECT * FROM disable_logging()",
    "SELECT * FROM truncate_duckdb_logs()",
    "SELECT * FROM force_checkpoint()",
    "SELECT * FROM checkpoint()",
    "SELECT * FROM enable_peg_parser()",
    "SELECT * FROM check_peg_parser('select 1')",
    "SELECT write_log('x')",
    "SELECT system.main.write_log('x')",
    "SELECT main.write_log('x')",
    "SELECT \"write_log\"('x')",
    "SELECT WRITE_LOG('x')",
    "SELECT 'x'.write_log()",
    "SELECT list_transform(['x'], x -> write_log(x))",
    "SELECT getenv('HOME')",
    "SELECT getvariable('x')",
    "SELECT current_setting('allowed_directories')",
    "SELECT current_query()",
    "SELECT nextval('s')",
    "SELECT setseed(0.1)",
    "SELECT sleep_ms(60000)",
    "SELECT pg_sleep(60)",
    "SELECT sum(sleep_ms(10)) FROM range(1000000)",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_views()",
    "SELECT * FROM duckdb_functions()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_databases()",
    "SELECT * FROM duckdb_logs",
    "SELECT * FROM duckdb_external_file_cache()",
    "SELECT * FROM duckdb_temporary_files()",
    "SELECT * FROM duckdb_tables",
    "SELECT * FROM main.duckdb_views",
    "SELECT * FROM which_secret('s3://x', 's3')",
    "SELECT * FROM pragma_database_size()",
    "SELECT * FROM pragma_table_info('x')",
    "SELECT * FROM pragma_version()",
    "SELECT * FROM pragma_show('x')",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM INFORMATION_SCHEMA.SCHEMATA",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM pg_class",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM system.information_schema.tables",
    "SELECT * FROM memory.main.x",
    "SELECT * FROM sql_auto_complete('SEL')",
    "SELECT * FROM seq_scan()",
    "SELECT * FROM summary((SELECT 1))",
    "SELECT * FROM test_all_types()",
    "SELECT * FROM test_vector_types(NULL::INT)",
    "SELECT * FROM arrow_scan('1'::POINTER, '2'::POINTER, '3'::POINTER)",
    "SELECT * FROM arrow_scan_dumb(NULL, NULL, NULL)",
    "SELECT * FROM lake_scan(['/etc/passwd'], NULL)",
    "SELECT * FROM lake_rows(1::UBIGINT)",
    "SELECT * FROM repeat(1, 100000000000)",
    "SELECT * FROM x AT (VERSION => 1)",
    "COPY (SELECT 1) TO '/tmp/lakehouse-escape'",
    "COPY x FROM '/etc/passwd'",
    "EXPORT DATABASE '/tmp/lakehouse-escape'",
    "IMPORT DATABASE '/tmp/lakehouse-escape'",
    "ATTACH '/tmp/lakehouse-escape.db' AS e",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "FORCE INSTALL httpfs FROM 'http://127.0.0.1:1'",
    "SET memory_limit='100GB'",
    "SET GLOBAL threads=100",
    "SET VARIABLE x = 1",
    "RESET memory_limit",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "PRAGMA memory_limit='1GB'",
    "CALL pragma_version()",
    "CALL sleep_ms(1)",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "DESCRIBE x",
    "SUMMARIZE x",
    "SELECT * FROM (DESCRIBE x)",
    "SELECT * FROM (SUMMARIZE x)",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/lakehouse-escape'",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE p",
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW v AS SELECT 1",
    "CREATE TEMP MACRO m() AS 1",
    "CREATE SECRET s (TYPE s3)",
    "CREATE SEQUENCE s",
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET a = 1",
    "DELETE FROM t",
    "DROP TABLE t",
    "ALTER TABLE t ADD COLUMN a INT",
    "BEGIN",
    "COMMIT",
    "CHECKPOINT",
    "VACUUM",
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY (SELECT 1) TO '/tmp/lakehouse-escape'",
    "SELECT 1;;COPY (SELECT 1) TO '/tmp/lakehouse-escape'",
    "WITH a AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM a",
    "SELECT repeat('x', 1000000000)",
    "SELECT repeat('x', n) FROM range(10) t(n)",
    "SELECT length(repeat('x', 4000000000)) FROM range(100)",
    "SELECT replace(repeat('a', 1000), 'a', "
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx')",
    "SELECT lpad('x', 1000000000, 'y')",
    "SELECT rpad('x', 1000000000, 'y')",
    "SELECT 'x'.repeat(1000000000)",
    "SELECT printf('%999999999d', 1)",
    "SELECT printf('%*d', 999999999, 1)",
    "SELECT format('{:>999999999}', 'x')",
    "SELECT format('{:{}}', 'x', 999999999)",
    "SELECT printf(f, 1) FROM (SELECT '%99d' f)",
    "SELECT range(10000000000)",
    "SELECT generate_series(1, n) FROM range(3) t(n)",
    "SELECT unnest(range(100000000000))",
    "SELECT list_resize([1], 10000000000)",
    "SELECT bitstring('1', 4000000000)",
    "SELECT to_base(1, 2, 1000000000)",
};

TEST("nothing but datasets is reachable, however it is spelled") {
    for (size_t i = 0; i < COUNT(attacks); i++) {
        err = (Err){0};
        bool passed = ask(attacks[i]);
        bool refused =
            !passed &&
            ((err.kind == LH_DENIED && str_is(str_from(err_word(&err)), "sql_forbidden")) ||
             (err.kind == LH_INVALID && str_is(str_from(err_word(&err)), "sql_error")));
        if (!refused)
            kit_fail(__FILE__, __LINE__, "'%s' %s: %d %s", attacks[i],
                     passed ? "passed" : "failed otherwise", err.kind, err.message);
    }
    CHECK(COUNT(attacks) >= 120);
    CHECK(access("/tmp/lakehouse-escape", F_OK) != 0);
    CHECK(access("/tmp/lakehouse-escape.db", F_OK) != 0);
}

TEST("all but a handful of the attacks are refused by the policy, not by a failing parse") {
    size_t parse_errors = 0;
    for (size_t i = 0; i < COUNT(attacks); i++)
        if (!ask(attacks[i]) && err.kind == LH_INVALID) {
            parse_errors++;
            log_debug("%s: %s", attacks[i], err.message);
        }
    CHECK(parse_errors <= 6);
}

TEST("spelling tricks with bytes do not pass either") {
    CHECK(!ask("SELECT * FROM r\xc3\xa9"
               "ad_csv('/etc/passwd')"));
    CHECK(!ask("SELECT\xc2\xa0* FROM read_csv('/etc/passwd')"));
    CHECK(!ask("SELECT * FROM \xef\xbd\x92"
               "ead_csv('/etc/passwd')"));
    CHECK(!ask("\xff\xfeSELECT 1") && strstr(err.message, "UTF-8"));
    CHECK(!ask("   ") && strstr(err.message, "empty"));
    CHECK(!ask("-- nothing") && err.kind == LH_DENIED);
    Rows *rows = NULL;
    Query query = {.sql = STR("SELECT 1\0; COPY (SELECT 1) TO '/tmp/lakehouse-escape'")};
    CHECK(!query_open(open_engine(), &query, &rows, &err) && strstr(err.message, "NUL"));
}

/* The second wall, without the first. */
static const char *const escapes[] = {
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM '/etc/passwd'",
    "COPY (SELECT 1) TO '/tmp/lakehouse-escape'",
    "ATTACH '/tmp/lakehouse-escape.db' AS e",
    "EXPORT DATABASE '/tmp/lakehouse-escape'",
    "INSTALL httpfs",
    "LOAD '/tmp/lakehouse-escape.so'",
    "SET memory_limit='100GB'",
    "SET enable_external_access=true",
    "SET lock_configuration=false",
    "SELECT * FROM 'http://127.0.0.1:1/x.parquet'",
    "SELECT * FROM lake_rows(1::UBIGINT)",
};

TEST("the sandbox alone reads, writes and sets nothing outside of its directories") {
    for (size_t i = 0; i < COUNT(escapes); i++) {
        Conn *conn = NULL;
        CHECK_OK(conn_acquire(open_engine(), &conn, &err));
        bool ran = instance_run(conn->handle, str_from(escapes[i]), &err);
        conn_release(open_engine(), &conn, i % 2); /* every other time as if it were spoilt */
        if (ran) kit_fail(__FILE__, __LINE__, "'%s' ran", escapes[i]);
    }
    CHECK(access("/tmp/lakehouse-escape", F_OK) != 0);
    CHECK(ask("SELECT 1"));
}

/* What analysts write. `d` stands for a dataset. */
static const char *const ordinary[] = {
    "SELECT 1",
    "SELECT 1;",
    "select 1 -- a comment at the end",
    "/* head */ SELECT 1",
    "VALUES (1, 'a'), (2, 'b')",
    "FROM range(3)",
    "SELECT * FROM range(10) LIMIT 3 OFFSET 2",
    "SELECT * FROM generate_series(DATE '2024-01-01', DATE '2024-02-01', INTERVAL 1 DAY) t(day)",
    "WITH d AS (SELECT * FROM range(5) t(n)) SELECT sum(n) FROM d",
    "WITH a AS (SELECT 1 x), b AS (SELECT x + 1 y FROM a) SELECT * FROM a, b",
    "WITH \"My Data\" AS (SELECT 1 x) SELECT * FROM \"My Data\"",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t",
    "SELECT n, row_number() OVER (ORDER BY n DESC) r FROM range(5) t(n)",
    "SELECT n, sum(n) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM range(5) "
    "t(n)",
    "SELECT lag(n) OVER w, lead(n) OVER w FROM range(5) t(n) WINDOW w AS (ORDER BY n)",
    "SELECT n FROM range(9) t(n) QUALIFY row_number() OVER (PARTITION BY n % 3 ORDER BY n) = 1",
    "SELECT n % 2 k, count(*) FROM range(9) t(n) GROUP BY ALL ORDER BY ALL",
    "SELECT n % 2, n % 3, count(*) FROM range(9) t(n) GROUP BY ROLLUP (1, 2)",
    "SELECT n % 2 k, count(*) c FROM range(9) t(n) GROUP BY k HAVING c > 4",
    "PIVOT (SELECT n % 2 k, n FROM range(9) t(n)) ON k IN (0, 1) USING sum(n)",
    "SELECT * FROM (PIVOT (SELECT n % 2 k, n FROM range(9) t(n)) ON k IN (0, 1) USING count(*))",
    "UNPIVOT (SELECT 1 a, 2 b) ON a, b INTO NAME k VALUE v",
    "SELECT unnest([1, 2, 3]) x",
    "SELECT * FROM unnest([1, 2, 3]) t(x)",
    "SELECT t.n, u.x FROM range(3) t(n), LATERAL (SELECT t.n * 2 AS x) u",
    "SELECT unnest(generate_series(1, 10))",
    "SELECT list_transform([1, 2], x -> x + 1)",
    "SELECT list_filter([1, 2, 3], lambda x: x > 1)",
    "SELECT [x * 2 FOR x IN [1, 2, 3] IF x > 1]",
    "SELECT {'a': 1, 'b': [1, 2]} s, MAP {'k': 1} m",
    "SELECT s.a FROM (SELECT {'a': 1} s)",
    "SELECT '{\"a\": {\"b\": 7}}'::JSON -> '$.a.b', json_extract_string('{\"a\": 1}', '$.a')",
    "SELECT key, value FROM json_each('{\"a\": 1, \"b\": 2}')",
    "SELECT to_json({'a': 1}), json_object('k', 1), json_array_length('[1,2]')",
    "SELECT regexp_matches('abc', 'b+'), regexp_replace('abc', 'b', 'x'), regexp_extract('a1', "
    "'\\d')",
    "SELECT a.n FROM range(5) a(n) JOIN range(3) b(n) USING (n)",
    "SELECT * FROM range(5) a(n) LEFT JOIN range(3) b(m) ON a.n = b.m WHERE b.m IS NULL",
    "SELECT * FROM range(5) a(n) SEMI JOIN range(3) b(n) USING (n)",
    "SELECT * FROM (SELECT 1 a, now() t) x ASOF JOIN (SELECT 1 a, now() t) y USING (a, t)",
    "SELECT 1 UNION SELECT 2 INTERSECT SELECT 2",
    "SELECT 1 a UNION ALL BY NAME SELECT 2 b",
    "SELECT * EXCLUDE (b) FROM (SELECT 1 a, 2 b)",
    "SELECT * REPLACE (a + 1 AS a) FROM (SELECT 1 a)",
    "SELECT COLUMNS('a.*') FROM (SELECT 1 a1, 2 a2, 3 b)",
    "SELECT CASE WHEN n > 1 THEN 'big' ELSE 'small' END FROM range(3) t(n)",
    "SELECT date_trunc('month', DATE '2024-03-05'), strftime(DATE '2024-03-05', '%Y-%m')",
    "SELECT quantile_cont(n, 0.5), median(n), stddev(n), mode(n) FROM range(9) t(n)",
    "SELECT string_agg(n::VARCHAR, ',' ORDER BY n DESC), list(n), arg_max(n, -n) FROM range(3) "
    "t(n)",
    "SELECT count(*) FILTER (n > 2), count(DISTINCT n % 2) FROM range(5) t(n)",
    "SELECT histogram(n % 3) FROM range(9) t(n)",
    "SELECT repeat('-', 20), lpad('7', 3, '0'), printf('%05.2f', 1.5), format('{:>8}', 'x')",
    "SELECT coalesce(NULL, 1), nullif(1, 1), greatest(1, 2), 5 // 2, 2 ** 3, 'a' || 'b'",
    "SELECT * FROM range(100) USING SAMPLE 10 ROWS (reservoir, 42)",
    "SELECT * FROM range(3) a POSITIONAL JOIN range(3) b",
    "SELECT EXISTS (SELECT 1), 1 IN (SELECT 1), (SELECT max(n) FROM range(3) t(n))",
    "SELECT 'it''s', E'a\\nb', $$dollar $1 quoted$$, 'read_csv(''x'')'",
    "SELECT TRY_CAST('x' AS INT), '2024-01-01'::DATE, CAST(1 AS DECIMAL(10, 2))",
    "SELECT md5('x'), hash(1), uuid() IS NOT NULL, current_date IS NOT NULL",
    "SELECT array_cosine_similarity([1, 2]::FLOAT[2], [2, 1]::FLOAT[2])",
};

TEST("what analysts write passes") {
    for (size_t i = 0; i < COUNT(ordinary); i++)
        if (!ask(ordinary[i])) kit_fail(__FILE__, __LINE__, "'%s': %s", ordinary[i], err.message);
    CHECK(COUNT(ordinary) >= 40);
}

TEST("a refusal says which part of the text it is about") {
    CHECK(!ask("SELECT 1,\n  read_csv('x')") || true);
    CHECK(!ask("SELECT a\nFROM range(3) t(a), read_csv('x')"));
    CHECK(strstr(err.message, "line 2, position 21: the table function read_csv()"));
}

TEST("syntax and binder errors name the line and position of the user's own text") {
    CHECK(!ask("SELECT 1,\n  FROM WHERE"));
    CHECK(err.kind == LH_INVALID && strstr(err.message, "line 2, position 8: syntax error"));
    CHECK(!ask("SELECT n,\n   nope\nFROM range(3) t(n)"));
    CHECK(err.kind == LH_INVALID && strstr(err.message, "line 2, position 4: "));
    char wide[512], place[64];
    snprintf(wide, sizeof wide,
             "SELECT 1 AS %060d, 2 AS b, missing_column, 3 AS c%060d FROM range(2)", 0, 0);
    wide[12] = 'a';
    CHECK(!ask(wide));
    snprintf(place, sizeof place, "position %d: ", (int)(strstr(wide, "missing") - wide) + 1);
    CHECK(strstr(err.message, place));
}

/* DuckDB must be closed before exit() takes the thread's own variables away. */
TEST("the engine closes") {
    engine_close(&engine);
    CHECK(engine == NULL);
}
