/* The MySQL connector against a real MariaDB: names, refusals, secrets, snapshots, parts, faults.
 */
#include "ingest/maria.h"

#include "ingest/mysql.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

/* A table of many rows, made once; LAKEHOUSE_MYSQL_ROWS for more of them. */
static int64_t big_rows(void) {
    const char *given = getenv("LAKEHOUSE_MYSQL_ROWS");
    return given ? atoll(given) : 200000;
}

static void big_table(void) {
    static bool made;
    OWNED(arena_close) Arena arena = {0};
    if (made) return;
    made = true;
    sql(&arena,
        "SET SESSION sql_mode=''; "
        "CREATE TABLE big (id bigint PRIMARY KEY, n int, name varchar(64), amount decimal(12,2), "
        "active tinyint(1), ts datetime(6), d date, note text, doc json, u bigint unsigned, "
        "f float) ENGINE=InnoDB; "
        "INSERT INTO big SELECT seq*3-1000, IF(seq%%7=0,NULL,seq*13-2000000), "
        "CONCAT('näme 😀 ', seq), seq*1.37-5000, IF(seq%%11=0,NULL,seq%%2), "
        "'2001-02-03 04:05:06.789' + INTERVAL seq*61 SECOND, '1950-01-01' + INTERVAL seq%%40000 "
        "DAY, "
        "IF(seq%%5=0,NULL,REPEAT('nöte ', seq%%20)), CONCAT('{\"k\": ', seq, '}'), "
        "18446744073709551615-CAST(seq AS UNSIGNED), seq*0.25 FROM (SELECT CAST(seq AS SIGNED) AS "
        "seq FROM seq_1_to_%lld) AS s; ANALYZE TABLE big;",
        (long long)big_rows());
}

/* Sums of what a source gives, by column: how many are not NULL, integers' sum, text's length and a
 * sum of its hashes that does not know of order. */
typedef struct Sums {
    int64_t rows;
    __int128 sum[16];
    int64_t set[16], bytes[16];
    uint64_t hash[16];
} Sums;

static void sum_batch(void *context, const RowBatch *batch, size_t rows) {
    Sums *sums = context;
    sums->rows += (int64_t)rows;
    for (size_t c = 0; c < batch->count; c++)
        for (size_t i = 0; i < rows; i++) {
            const BatchVector *vector = &batch->vectors[c];
            if (!vector->valid[i]) continue;
            sums->set[c]++;
            if (vector->type.kind == TYPE_STRING) {
                sums->bytes[c] += (int64_t)vector->bytes[i].len;
                sums->hash[c] += hash64(bytes_of(vector->bytes[i]));
            } else if (vector->type.kind == TYPE_FLOAT)
                sums->sum[c] += (__int128)(((const float *)(const void *)vector->values)[i] * 4);
            else
                sums->sum[c] += fed_integer(vector, i);
        }
}

typedef struct PartPull {
    Source *source;
    size_t part;
    RowFeed *feed;
    bool ok;
    Err err;
    pthread_t thread;
} PartPull;

static void *pull_part_thread(void *context) {
    PartPull *pull = context;
    pull->ok = pull->source->ops->pull(pull->source, pull->part, pull->feed, &pull->err);
    return NULL;
}

/* Each part by a thread of its own. */
static void start_parts(Source *source, RowFeed *feed, PartPull *pulls) {
    for (size_t i = 0; i < source->parts; i++) {
        pulls[i] = (PartPull){.source = source, .part = i, .feed = feed};
        if (pthread_create(&pulls[i].thread, NULL, pull_part_thread, &pulls[i])) abort();
    }
}

static bool join_parts(Source *source, PartPull *pulls, Err *err) {
    bool ok = true;
    for (size_t i = 0; i < source->parts; i++) {
        pthread_join(pulls[i].thread, NULL);
        if (!pulls[i].ok && ok) *err = pulls[i].err;
        ok &= pulls[i].ok;
    }
    return ok;
}

static bool pull_parts(Source *source, RowFeed *feed, Err *err) {
    PartPull pulls[SOURCE_PARTS_MAX];
    start_parts(source, feed, pulls);
    return join_parts(source, pulls, err);
}

static Str sums_text(const Sums *sums, Arena *arena) {
    OWNED(text_close) Text text = {0};
    text_print(&text, "%lld", (long long)sums->rows);
    static const size_t numbers[] = {0, 1, 3, 4, 6, 9};
    for (size_t i = 0; i < COUNT(numbers); i++) {
        Str sum = fed_decimal(sums->sum[numbers[i]], 0, arena);
        text_print(&text, "\t%lld\t%.*s", (long long)sums->set[numbers[i]], SHOW(sum));
    }
    for (size_t c = 0; c < 11; c++)
        if (c == 2 || c == 7 || c == 8)
            text_print(&text, "\t%lld\t%lld", (long long)sums->set[c], (long long)sums->bytes[c]);
    return arena_copy(arena, text_str(&text));
}

static Str big_sums(Arena *arena) {
    return sql(arena,
               "SELECT COUNT(*), COUNT(id), SUM(id), COUNT(n), SUM(n), COUNT(amount), "
               "CAST(SUM(amount)*100 AS DECIMAL(40,0)), COUNT(active), SUM(active), COUNT(d), "
               "SUM(DATEDIFF(d,'1970-01-01')), COUNT(u), SUM(u), COUNT(name), SUM(LENGTH(name)), "
               "COUNT(note), SUM(LENGTH(note)), COUNT(doc), SUM(LENGTH(doc)) FROM big");
}

static int64_t memory_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

TEST("a large table arrives whole, in one part and in four, within the memory of some batches") {
    OWNED(arena_close) Arena arena = {0};
    big_table();
    Str theirs = big_sums(&arena);
    int64_t before = memory_kib();
    for (int parts = 1; parts <= 4; parts += 3) {
        OWNED(source_close) Source *source = NULL;
        OWNED(fed_close) RowFeed *feed = NULL;
        SourceRequest request = request_of("big");
        Sums sums = {0};
        Err err = {0};
        request.parallel = parts;
        CHECK_OK(source_mysql(&request, &source, &err));
        CHECK_INT(source->parts, parts);
        CHECK(source->rows_estimate > big_rows() / 2 && source->rows_estimate < big_rows() * 2);
        feed = fed_open(source, false);
        feed->each = sum_batch;
        feed->context = &sums;
        CHECK_OK(pull_parts(source, feed, &err));
        Str ours = sums_text(&sums, &arena);
        CHECK_STR(ours, theirs.data);
    }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which keep what is freed */
    CHECK(memory_kib() - before < 64 * 1024);
#else
    (void)before;
#endif
}

/* Names. */

TEST("hostile names of schemas, tables and columns are names") {
    OWNED(arena_close) Arena arena = {0};
    static const char *const names[] = {
        "a`b",
        "a'b\"c",
        "ünïcödé 😀",
        "SELECT",
        "a.b",
        "-- x",
        "; DROP TABLE big; --",
        "%s%n",
        "1234567890123456789012345678901234567890123456789012345678901234"};
    /* MariaDB's own names take no characters beyond the first plane. */
    for (size_t i = 0; i < COUNT(names); i++) {
        OWNED(source_close) Source *source = NULL;
        OWNED(fed_close) RowFeed *feed = NULL;
        OWNED(text_close) Text quoted = {0};
        Err err = {0};
        const char *name = i == 2 ? "ünïcödé" : names[i];
        text_reserve(&quoted, 256);
        for (const char *c = name; *c; c++) {
            if (*c == '`') text_add_byte(&quoted, '`');
            text_add_byte(&quoted, *c);
        }
        Str q = text_str(&quoted);
        Str statement = arena_print(&arena,
                                    "CREATE DATABASE `s %.*s`; CREATE TABLE `s %.*s`.`%.*s` "
                                    "(`%.*s` int PRIMARY KEY, b int); "
                                    "INSERT INTO `s %.*s`.`%.*s` VALUES (1, 2), (2, NULL);",
                                    (int)MIN(q.len, 60), q.data, (int)MIN(q.len, 60), q.data,
                                    SHOW(q), SHOW(q), (int)MIN(q.len, 60), q.data, SHOW(q));
        sql(&arena, "%s", statement.data);
        Str shown = str_from(name);
        Str full = arena_print(&arena, "s %.*s.%s",
                               (int)MIN(shown.len, q.len > 60 ? 60 : shown.len), name, name);
        SourceRequest request = request_of(full.data);
        request.parallel = 2;
        CHECK_OK(read_all(&request, &source, &feed, &err));
        CHECK_INT(feed->row_count, 2);
        CHECK_STR(source->columns[0].name, name);
        CHECK_STR(feed->rows[0][1], "2");
        CHECK(!feed->rows[1][1].data);
        source_close(&source); /* its snapshot holds the table */
        sql(&arena, "DROP DATABASE `s %.*s`", (int)MIN(q.len, 60), q.data);
    }
}

static void check_refused(SourceRequest request, ErrKind kind, const char *code, const char *part) {
    OWNED(source_close) Source *source = NULL;
    Err err = {0};
    size_t at;
    CHECK(!source_mysql(&request, &source, &err));
    if (err.kind != kind || !str_is(str_from(err_word(&err)), code) ||
        !str_find(str_from(err.message), str_from(part), &at))
        kit_fail(__FILE__, __LINE__, "%d %s '%s'", (int)err.kind, err_word(&err), err.message);
    CHECK(!strchr(err.message, '\n'));
}

TEST("what is not there or not allowed is refused in the server's words, on one line") {
    OWNED(arena_close) Arena arena = {0};
    sql(&arena, "CREATE OR REPLACE TABLE small (id int PRIMARY KEY, v varchar(20)); "
                "INSERT INTO small VALUES (1,'a'),(2,'b')");
    check_refused(request_of("nothing"), LH_INVALID, "table_not_found", "no table 'nothing'");
    check_refused(request_of("nowhere.small"), LH_INVALID, "table_not_found", "nowhere");
    check_refused(request_of("small' OR '1'='1"), LH_INVALID, "table_not_found", "no table");
    SourceRequest request = request_of("");
    request.query = STR("SELECT * FROM missing");
    check_refused(request, LH_INVALID, "source_refused", "doesn't exist");
    request.query = STR("SELECT 1; DROP TABLE small");
    check_refused(request, LH_INVALID, "source_refused", "syntax");
    request.query = STR("INSERT INTO small VALUES (3,'c')");
    check_refused(request, LH_INVALID, "source_refused", "READ ONLY");
    request.query = STR("SELECT ? + 1");
    check_refused(request, LH_INVALID, "source_refused", "parameter");
    request.query = STR("SELECT 1, 1");
    check_refused(request, LH_INVALID, "source_refused", "two columns named '1'");
    request.query = STR("SELECT 1 INTO OUTFILE '/tmp/lakehouse-must-not-exist'");
    check_refused(request, LH_INVALID, "source_refused", "not a SELECT");
    request = request_of("small");
    request.query = STR("SELECT 1");
    check_refused(request, LH_INVALID, "invalid_request", "exactly one");
    request = request_of("small");
    request.cursor = STR("nope");
    check_refused(request, LH_INVALID, "column_not_found", "no column 'nope'");
    request.cursor = STR("id");
    request.after = STR("abc");
    check_refused(request, LH_INVALID, "bad_cursor", "'abc'");
    Str count = sql(&arena, "SELECT COUNT(*) FROM small");
    CHECK_STR(count, "2");
}

TEST("a query that writes is refused while it runs, and leaves nothing") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    Err err = {0};
    sql(&arena, "CREATE OR REPLACE TABLE small (id int PRIMARY KEY, v varchar(20)); "
                "INSERT INTO small VALUES (1,'a'),(2,'b')");
    SourceRequest request = request_of("");
    request.query = STR("INSERT INTO small VALUES (9,'z') RETURNING id");
    CHECK(!read_all(&request, &source, &feed, &err));
    CHECK(str_find(str_from(err.message), STR("READ ONLY"), &(size_t){0}));
    Str count = sql(&arena, "SELECT COUNT(*) FROM small");
    CHECK_STR(count, "2");
}

TEST("a query gives its columns with their types, also with a semicolon and a comment at its end") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    Err err = {0};
    big_table();
    SourceRequest request = request_of("");
    request.query =
        STR("SELECT n % 3 AS rest, COUNT(*) AS c, SUM(amount) AS s, MAX(ts) AS t, NULL AS nothing "
            "FROM big WHERE n IS NOT NULL GROUP BY 1 ORDER BY 1 -- by rest\n ; ");
    request.parallel = 4;
    CHECK_OK(read_all(&request, &source, &feed, &err));
    CHECK_INT(source->parts, 1);
    CHECK_INT(source->rows_estimate, -1);
    CHECK_INT(source->warning_count, 1);
    CHECK_STR(source->query, request.query.data);
    Str rest = sql(
        &arena, "SELECT n %% 3, COUNT(*), SUM(amount), CAST(MAX(ts) AS DATETIME(6)), NULL FROM big "
                "WHERE n IS NOT NULL GROUP BY 1 ORDER BY 1");
    for (size_t i = 0; i < feed->row_count; i++) {
        Str line = str_until(&rest, '\n');
        for (size_t c = 0; c < source->column_count; c++) {
            Str cell = arena_copy(&arena, str_until(&line, '\t'));
            Str ours = feed->rows[i][c].data ? feed->rows[i][c] : STR("NULL");
            CHECK_STR(ours, cell.data);
        }
    }
    CHECK_INT(rest.len, 0);
}

/* Types. */

TEST("types that the user gives are taken, and a value that does not fit fails the pull") {
    OWNED(arena_close) Arena arena = {0};
    sql(&arena, "CREATE OR REPLACE TABLE ty (id int PRIMARY KEY, flag tinyint(1), num varchar(20), "
                "big bigint unsigned, day varchar(20), t time, b blob, price decimal(10,2)); "
                "INSERT INTO ty VALUES (1, 7, '12', 5, '2024-02-29', '23:59:59', 'text', 1.25), "
                "(2, 0, '-3', 6, '1999-12-31', '00:00:00', 'é', -2), "
                "(3,NULL,NULL,NULL,NULL,NULL,NULL,NULL)");
    static const char *const types[] = {
        "{\"flag\":\"BOOLEAN\",\"num\":\"BIGINT\",\"big\":\"BIGINT\",\"day\":\"DATE\",\"t\":"
        "\"TIME\","
        "\"b\":\"VARCHAR\",\"price\":\"DOUBLE\",\"id\":\"DECIMAL(12,3)\"}",
        "{\"num\":\"DATE\"}",
        "{\"day\":\"INTEGER\"}",
        "{\"num\":\"INTEGER[]\"}",
        "{\"none\":\"INTEGER\"}",
        "{\"num\":\"UUID\"}"};
    for (size_t i = 0; i < COUNT(types); i++) {
        OWNED(source_close) Source *source = NULL;
        OWNED(fed_close) RowFeed *feed = NULL;
        Err err = {0};
        SourceRequest request = request_of("ty");
        CHECK_OK(json_read(str_from(types[i]), &arena, &request.types, &err));
        bool ok = read_all(&request, &source, &feed, &err);
        if (i > 0) CHECK(!ok && err.kind == LH_INVALID);
        if (i > 0) continue;
        if (!ok) kit_fail(__FILE__, __LINE__, "%s", err.message);
        static const char *const first[] = {"1.000",           "1",    "12",  "5", "2024-02-29",
                                            "23:59:59.000000", "text", "1.25"};
        for (size_t c = 0; c < COUNT(first); c++) CHECK_STR(feed->rows[0][c], first[c]);
        CHECK_STR(feed->rows[1][6], "é");
        for (size_t c = 1; c < COUNT(first); c++) CHECK(!feed->rows[2][c].data);
    }
}

TEST("plain types are integers, floats, booleans and text, which keeps zero dates as they are") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    Err err = {0};
    sql(&arena, "SET sql_mode=''; CREATE OR REPLACE TABLE plain (a decimal(12,2), b bigint "
                "unsigned, c datetime(3), "
                "d date, e blob, f tinyint(1), g uuid); INSERT INTO plain VALUES (1.5, "
                "18446744073709551615, "
                "'0000-00-00', '2024-00-00', x'00ff', 1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')");
    SourceRequest request = request_of("plain");
    request.mapping = MAPPING_PLAIN;
    CHECK_OK(read_all(&request, &source, &feed, &err));
    static const char *const cells[] = {"1.5",
                                        "18446744073709551615",
                                        "0000-00-00 00:00:00.000",
                                        "2024-00-00",
                                        "00ff",
                                        "1",
                                        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"};
    for (size_t c = 0; c < COUNT(cells); c++) CHECK_STR(feed->rows[0][c], cells[c]);
    CHECK(source->columns[0].type.kind == TYPE_DOUBLE &&
          source->columns[5].type.kind == TYPE_BOOLEAN);
    CHECK_INT(source->warning_count, 0);
}

TEST("what became something else is counted by column") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    Err err = {0};
    sql(&arena, "SET sql_mode='ALLOW_INVALID_DATES'; CREATE OR REPLACE TABLE odd (id int PRIMARY "
                "KEY, d date, "
                "g point, w decimal(40,1)); INSERT INTO odd VALUES "
                "(1,'0000-00-00',ST_GeomFromText('POINT(1 2)',4326),1), "
                "(2,'2024-02-31',ST_GeomFromText('POINT(1 2)'),NULL),(3,'0000-00-00',NULL,2)");
    SourceRequest request = request_of("odd");
    CHECK_OK(read_all(&request, &source, &feed, &err));
    CHECK_INT(source->warning_count, 4);
    for (size_t i = 0; i < source->warning_count; i++) {
        const SourceWarning *one = &source->warnings[i];
        bool zero = str_equal(one->what, str_from(my_odd_names[ODD_ZERO_DATE]));
        bool wide = str_equal(one->what, str_from(my_odd_names[ODD_WIDE]));
        CHECK_INT(one->count, zero || wide ? 2 : 1);
    }
}

TEST("values of thirty million bytes arrive, in batches of few rows") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    Err err = {0};
    sql(&arena, "SET GLOBAL max_allowed_packet=1073741824; CREATE OR REPLACE TABLE huge (id int "
                "PRIMARY KEY, b longblob, t longtext)");
    sql(&arena, "INSERT INTO huge VALUES (1, REPEAT('x', 30000000), 'a'), (2, REPEAT('y', "
                "16777210), REPEAT('é', 8388608)), "
                "(3, REPEAT('z', 16777215), NULL), (4, NULL, REPEAT('w', 16777216)), (5, '', '')");
    SourceRequest request = request_of("huge");
    CHECK_OK(source_mysql(&request, &source, &err));
    feed = fed_open(source, false);
    Sums sums = {0};
    feed->each = sum_batch;
    feed->context = &sums;
    CHECK_OK(pull_parts(source, feed, &err));
    CHECK_INT(sums.rows, 5);
    CHECK_INT(sums.set[1], 4);
    CHECK_INT(sums.bytes[2], 1 + 16777216 + 16777216);
    CHECK(feed->batches >= 4);
}

/* Incremental. */

TEST("with a cursor column only what comes at or after its value is read, and last goes on from "
     "there") {
    OWNED(arena_close) Arena arena = {0};
    sql(&arena, "CREATE OR REPLACE TABLE inc (id bigint, u bigint unsigned, ts timestamp(6) NULL, "
                "d decimal(30,10), "
                "f float, s varchar(20), day date); INSERT INTO inc VALUES "
                "(9007199254740993, 18446744073709551614, '2024-01-01 00:00:00.000001', "
                "0.0000000001, 0.1, 'b', '2024-01-01'), "
                "(9007199254740992, 18446744073709551613, '2024-01-01 00:00:00.000000', "
                "0.0000000000, 0.05, 'a', '2023-12-31'), "
                "(9007199254740994, 18446744073709551615, '2024-01-01 00:00:00.000002', "
                "0.0000000002, 0.2, 'c', '2024-01-02'), "
                "(NULL,NULL,NULL,NULL,NULL,NULL,NULL)");
    static const char *const cursors[] = {"id", "u", "ts", "d", "f", "s", "day"};
    static const char *const last[] = {"9007199254740994",
                                       "18446744073709551615",
                                       "2024-01-01 00:00:00.000002",
                                       "0.0000000002",
                                       "0.2",
                                       "c",
                                       "2024-01-02"};
    static const char *const middle[] = {"9007199254740993",
                                         "18446744073709551614",
                                         "2024-01-01 00:00:00.000001",
                                         "0.0000000001",
                                         "0.1",
                                         "b",
                                         "2024-01-01"};
    for (size_t i = 0; i < COUNT(cursors); i++)
        for (int step = 0; step < 3; step++) {
            OWNED(source_close) Source *source = NULL;
            OWNED(fed_close) RowFeed *feed = NULL;
            Err err = {0};
            SourceRequest request = request_of("inc");
            request.cursor = str_from(cursors[i]);
            request.after = step == 0 ? (Str){0} : str_from(step == 1 ? middle[i] : last[i]);
            CHECK_OK(read_all(&request, &source, &feed, &err));
            if (feed->row_count != (size_t)(step == 0 ? 4 : step == 1 ? 2 : 1))
                kit_fail(__FILE__, __LINE__, "%s after step %d: %zu rows", cursors[i], step,
                         feed->row_count);
            char text[64];
            snprintf(text, sizeof text, "%.*s", SHOW(source->last));
            if (i == 4) /* a float's text is as long as it must be */
                CHECK(strtof(text, NULL) == 0.2f);
            else
                CHECK_STR(source->last, last[i]);
        }
}
