#include "ingest/pg.h"

#include <signal.h>
#include <stdlib.h>

/* The table of the measurements, at a size that a test can wait for; ROWS=2000000 is all of it. */
static long long rows_wanted(void) {
    const char *rows = getenv("ROWS");
    return rows ? atoll(rows) : 90000;
}

static void load_table(void) {
    static bool loaded;
    if (loaded) return;
    pg_sql(arena_print(
               &arena,
               "CREATE TABLE t (id bigint PRIMARY KEY, n int, name varchar(64), amount "
               "decimal(12,2), active bool, ts timestamp(6), d date, note text, doc jsonb, u uuid "
               "NOT NULL); INSERT INTO t SELECT g, CASE WHEN g%%11<>0 THEN "
               "((g*2654435761)%%2147483647)::int - 1000000000 END, CASE WHEN g%%13<>0 THEN "
               "(ARRAY['Müller','Ōta','李小龙','O''Brien','😀 emoji'])[(1+g%%5)::int]||' '"
               "||md5(g::text)::varchar(12) END, CASE WHEN g%%17<>0 THEN "
               "(((g*7919)%%2000000000)-1000000000)/100.0 END, CASE WHEN g%%7<>0 THEN g%%2=0 END, "
               "CASE WHEN g%%19<>0 THEN timestamp '2001-01-01' + ((g*997)%%800000000)*interval "
               "'1 second' + ((g*7)%%1000000)*interval '1 microsecond' END, CASE WHEN g%%23<>0 "
               "THEN date '1990-01-01' + (g%%20000)::int END, CASE WHEN g%%5<>0 THEN 'note '||g||"
               "' '||repeat(md5((g/3)::text)||' ', (g%%4)::int) END, CASE WHEN g%%6<>0 THEN "
               "jsonb_build_object('k',g%%1000,'tags',jsonb_build_array('a','ü'),'s',"
               "md5(g::text)) END, md5(g::text)::uuid FROM generate_series(1,%lld::bigint) g",
               rows_wanted())
               .data);
    pg_sql("VACUUM (FREEZE, ANALYZE) t");
    loaded = true;
}

/* The same aggregates in both dialects. */
static const char *const aggregates[][2] = {
    {"SELECT count(*) FROM t",                                           "SELECT count(*) FROM rows"                  },
    {"SELECT sum(id) FROM t",                                            "SELECT sum(id) FROM rows"                   },
    {"SELECT sum(n::bigint) FROM t",                                     "SELECT sum(n) FROM rows"                    },
    {"SELECT sum(amount) FROM t",                                        "SELECT sum(amount) FROM rows"               },
    {"SELECT count(*) FILTER (WHERE active) FROM t",
     "SELECT count(*) FILTER (WHERE active) FROM rows"                                                                },
    {"SELECT sum(extract(epoch FROM ts)*1000000)::numeric(38,0) FROM t",
     "SELECT sum(epoch_us(ts)) FROM rows"                                                                             },
    {"SELECT sum(d - date '1970-01-01') FROM t",                         "SELECT sum(d - date '1970-01-01') FROM rows"},
    {"SELECT count(distinct id) FROM t",                                 "SELECT count(distinct id) FROM rows"        },
    {"SELECT sum(length(note)) FROM t",                                  "SELECT sum(length(note)) FROM rows"         },
    {"SELECT md5(string_agg(md5(name), '' ORDER BY id)) FROM t",
     "SELECT md5(string_agg(md5(name), '' ORDER BY id)) FROM rows"                                                    },
    {"SELECT md5(string_agg(md5(doc::text), '' ORDER BY id)) FROM t",
     "SELECT md5(string_agg(md5(doc), '' ORDER BY id)) FROM rows"                                                     },
    {"SELECT md5(string_agg(u::text, '' ORDER BY id)) FROM t",
     "SELECT md5(string_agg(u::text, '' ORDER BY id)) FROM rows"                                                      },
};

static void check_all_of_it(const SourceRequest *request, size_t parts) {
    OWNED(pulled_close) Pulled pulled = {0};
    CHECK_OK(pull(request, &pulled, &err));
    CHECK_INT(pulled.source->parts, parts);
    CHECK(llabs(pulled.source->rows_estimate - rows_wanted()) <= rows_wanted() / 100);
    CHECK_INT(pulled.moved_rows, rows_wanted());
    CHECK_INT(pulled.source->warning_count, 0);
    CHECK_STR(pulled.source->columns[3].declared, "numeric(12,2)");
    CHECK_STR(type_sql(&pulled.source->columns[3].type, &arena), "DECIMAL(12,2)");
    for (size_t i = 0; i < COUNT(aggregates); i++) {
        Str expected = pg_sql(aggregates[i][0]);
        CHECK(expected.len > 0);
        CHECK_STR(pulled_ask(&pulled, aggregates[i][1]), arena_cstr(&arena, expected));
    }
}

TEST("a table comes as it is, in one part and in three") {
    load_table();
    SourceRequest request = pg_request("t", NULL);
    check_all_of_it(&request, 1);
    request.table = STR("public.t");
    request.parallel = 3;
    check_all_of_it(&request, 3);
}

/* ---- What is asked for ---- */

static void check_refused(const SourceRequest *request, ErrKind kind, const char *words) {
    OWNED(pulled_close) Pulled pulled = {0};
    Err why = {0};
    size_t at;
    if (pull(request, &pulled, &why)) kit_fail(__FILE__, __LINE__, "no '%s'", words);
    if (why.kind != kind || !str_find(str_from(why.message), str_from(words), &at))
        kit_fail(__FILE__, __LINE__, "%d '%s', not %d '%s'", why.kind, why.message, kind, words);
}

static Str ask(const SourceRequest *request, const char *select) {
    OWNED(pulled_close) Pulled pulled = {0};
    CHECK_OK(pull(request, &pulled, &err));
    return pulled_ask(&pulled, select);
}

TEST("names that look like SQL are names") {
    static const char *const names[] = {
        "a\"\"b; drop table precious; --",
        "it's",
        "with.dot",
        "Ünï 表 😀",
        " ",
        "%s%n$1",
        "sixty-three-bytes-long-name-which-is-the-most-that-it-can-have."};
    pg_sql("CREATE TABLE precious (a int); CREATE SCHEMA \"s \"\"x\"\".y\"");
    for (size_t i = 0; i < COUNT(names); i++) {
        OWNED(pulled_close) Pulled pulled = {0};
        OWNED(text_close) Text name = {0};
        sql_quote_name(&name, str_from(names[i]));
        pg_sql(arena_print(&arena,
                           "CREATE TABLE \"s \"\"x\"\".y\".%.*s (%.*s int, \"select\" text);"
                           "INSERT INTO \"s \"\"x\"\".y\".%.*s VALUES (%zu, 'b')",
                           SHOW(text_str(&name)), SHOW(text_str(&name)), SHOW(text_str(&name)), i)
                   .data);
        SourceRequest request = pg_request(NULL, NULL);
        request.table = arena_print(&arena, "s \"x\".y.%s", names[i]);
        request.cursor = str_from(names[i]);
        request.after = STR("0");
        CHECK_OK(pull(&request, &pulled, &err));
        CHECK_STR(pulled.source->columns[0].name, names[i]);
        CHECK_STR(pulled_ask(&pulled, "SELECT \"select\" FROM rows"), "b");
    }
    CHECK_STR(pg_sql("SELECT count(*) FROM precious"), "0");
    SourceRequest request = pg_request("precious; DROP TABLE precious", NULL);
    check_refused(&request, LH_INVALID, "no table 'precious; DROP TABLE precious'");
    request = pg_request("precious", NULL);
    request.cursor = STR("a; DROP TABLE precious");
    check_refused(&request, LH_INVALID, "is no column of the source");
    request.cursor = STR("a");
    request.after = STR("1'; DROP TABLE precious; --\\");
    check_refused(&request, LH_INVALID, "invalid input syntax for type integer");
    CHECK_STR(pg_sql("SELECT count(*) FROM precious"), "0");
}

TEST("a query is one statement that gives rows and changes nothing") {
    pg_sql("CREATE TABLE kept (a int); INSERT INTO kept VALUES (1), (2); CREATE SEQUENCE seq");
    static const char *const good[] = {
        "SELECT a FROM kept",
        "SELECT a FROM kept;",
        " TABLE kept ; ; ",
        "VALUES (1), (2)",
        "WITH x AS (SELECT a FROM kept) SELECT * FROM x -- a comment; with ;",
        "SELECT /* ) */ a AS \"?column?\" FROM kept ORDER BY a DESC",
        "(SELECT 1 UNION ALL SELECT 2)",
        "SELECT 'a;b' UNION ALL SELECT ';'"};
    for (size_t i = 0; i < COUNT(good); i++) {
        SourceRequest request = pg_request(NULL, good[i]);
        CHECK_STR(ask(&request, "SELECT count(*) FROM rows"), "2");
    }
    static const char *const bad[][2] = {
        {"SELECT 1; DELETE FROM kept",                               "cannot insert multiple commands"                      },
        {"SELECT a FROM kept) TO STDOUT; DELETE FROM kept; --",
         "syntax error at or near \")\" (at character 19)"                                                                  },
        {"DELETE FROM kept RETURNING a",                             "syntax error"                                         },
        {"DELETE FROM kept",                                         "gives no columns"                                     },
        {"WITH x AS (DELETE FROM kept RETURNING a) SELECT * FROM x", "data-modifying"                                       },
        {"SELECT nextval('seq')",                                    "read-only transaction"                                },
        {"SELECT a FORM kept",                                       "syntax error at or near \"kept\" (at character 15)"   },
        {"SELECT a FROM kept WHERE a = $1",                          "the query has parameters"                             },
        {"SELECT 1 AS a, 2 AS a",                                    "two columns named 'a'"                                },
        {" ; ",                                                      "gives no columns"                                     },
        {"SELECT",                                                   "gives no columns"                                     },
        {"SELECT 1/(a-2) FROM kept",                                 "division by zero"                                     },
        {"SELECT * FROM no_such",                                    "relation \"no_such\" does not exist (at character 15)"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        SourceRequest request = pg_request(NULL, bad[i][0]);
        check_refused(&request, LH_INVALID, bad[i][1]);
    }
    CHECK_STR(pg_sql("SELECT count(*) FROM kept"), "2");
}

TEST("views, partitions, children and materialized views are read whole") {
    pg_sql("CREATE TABLE parent (id int, k int) PARTITION BY RANGE (k);"
           "CREATE TABLE p1 PARTITION OF parent FOR VALUES FROM (0) TO (5);"
           "CREATE TABLE p2 PARTITION OF parent FOR VALUES FROM (5) TO (10);"
           "INSERT INTO parent SELECT g, g % 10 FROM generate_series(1, 1000) g;"
           "CREATE VIEW seen AS SELECT id, k * 2 AS twice FROM parent;"
           "CREATE MATERIALIZED VIEW kept_view AS SELECT * FROM seen;"
           "CREATE TABLE old (id int, twice int); CREATE TABLE older () INHERITS (old);"
           "INSERT INTO old SELECT * FROM seen WHERE id < 300;"
           "INSERT INTO older SELECT * FROM seen WHERE id >= 300");
    static const char *const tables[] = {"parent", "seen", "kept_view", "old"};
    for (size_t i = 0; i < COUNT(tables); i++) {
        SourceRequest request = pg_request(tables[i], NULL);
        request.parallel = 4;
        CHECK_STR(ask(&request, "SELECT [count(*), sum(id)]::text FROM rows"), "[1000, 500500]");
    }
}

TEST("an incremental pull takes what is not before, in order, and says where it ended") {
    OWNED(pulled_close) Pulled first = {0}, second = {0}, third = {0};
    pg_sql(
        "CREATE TABLE log (at timestamptz, n int);"
        "INSERT INTO log SELECT '2024-03-01 00:00+00'::timestamptz + (g % 50) * interval '1.5 s',"
        " g FROM generate_series(1, 500) g; INSERT INTO log VALUES (NULL, -1)");
    SourceRequest request = pg_request("log", NULL);
    request.cursor = STR("at");
    request.parallel = 4;
    CHECK_OK(pull(&request, &first, &err));
    CHECK_INT(first.source->parts, 1);
    CHECK_INT(first.moved_rows, 501);
    CHECK_STR(first.source->last, "2024-03-01 00:01:13.5+00");
    request.after = first.source->last;
    CHECK_OK(pull(&request, &second, &err));
    CHECK_INT(second.moved_rows, 10); /* those of the last moment once more */
    CHECK_STR(second.source->last, "2024-03-01 00:01:13.5+00");
    request.after = STR("2025-01-01");
    CHECK_OK(pull(&request, &third, &err));
    CHECK_INT(third.moved_rows, 0);
    CHECK_STR(third.source->last, "2025-01-01");
}

/* ---- Who may read, and from where ---- */

static Str dsn_with(const char *user, const char *more) {
    Str rest = str_from(pg_dsn());
    size_t at;
    CHECK(str_find(rest, STR("@"), &at));
    rest = str_slice(rest, at, rest.len);
    return arena_print(&arena, "postgresql://%s%.*s%s", user, SHOW(rest), more);
}

TEST("a password is in no message and no locator, whatever is wrong") {
    static const char secret[] = "s3cr3t%20pw";
    OWNED(pulled_close) Pulled pulled = {0};
    pg_sql("CREATE ROLE guarded LOGIN PASSWORD 's3cr3t pw'; CREATE TABLE hidden (a int);"
           "REVOKE ALL ON hidden FROM PUBLIC");
    SourceRequest request = pg_request(NULL, "SELECT 1 AS a");
    request.dsn = dsn_with("guarded:s3cr3t%20pw", "?connect_timeout=3");
    CHECK_OK(pull(&request, &pulled, &err));
    CHECK(str_starts(pulled.source->locator, STR("postgresql://guarded@127.0.0.1:")));
    size_t at;
    CHECK(!str_find(pulled.source->locator, STR("s3cr3t"), &at));
    request.query = STR("SELECT 's3cr3t pw'::int");
    check_refused(&request, LH_INVALID, "invalid input syntax for type integer: \"*********\"");
    request.query = STR("SELECT * FROM hidden");
    check_refused(&request, LH_DENIED, "permission denied for table hidden");
    request.dsn = dsn_with("guarded:s3cr3t%20wrong", "");
    check_refused(&request, LH_DENIED, "password authentication failed for user \"guarded\"");
    request.dsn = dsn_with("guarded", "");
    check_refused(&request, LH_DENIED, "no password supplied");
    static const char *const bad[] = {"postgresql://u:%s@host:99999999/x",
                                      "postgresql://u:%s@[::1/x",
                                      "u:%s",
                                      "%s",
                                      "host=x password=%s bogus=1",
                                      "host=x password='%s",
                                      "postgresql://u:%s@h/x?sslmode=odd",
                                      "postgresql://u:%s@127.0.0.1:1/x",
                                      "host=/no/such password=%s",
                                      "postgresql://u:%s@no.invalid/"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        OWNED(source_close) Source *source = NULL;
        OWNED(text_close) Text dsn = {0};
        Str before = str_from(bad[i]), after = before;
        Err why = {0};
        before = str_until(&after, '%');
        text_print(&dsn, "%.*s%s%.*s", SHOW(before), secret, SHOW(str_slice(after, 1, after.len)));
        request.dsn = text_str(&dsn);
        CHECK(!source_postgres(&request, &source, &why));
        CHECK(why.kind == LH_INVALID || why.kind == LH_OFFLINE);
        CHECK(!str_find(str_from(why.message), STR("s3cr3t"), &at));
    }
}

TEST("only hosts of the list are dialled, also those behind a hostaddr, a list or a socket") {
    static const char *const allowed = " db.example, 127.0.0.1 ,/run/pg";
    static const struct {
        const char *dsn;
        bool ok;
    } dsns[] = {
        {"host=127.0.0.1",                     true },
        {"postgresql://u@DB.example/x",        true },
        {"host=/run/pg",                       true },
        {"host=db.example hostaddr=127.0.0.1", true },
        {"host=db.example,127.0.0.1",          true },
        {"host=db.example hostaddr=10.0.0.1",  false},
        {"host=10.0.0.1 hostaddr=127.0.0.1",   false},
        {"host=db.example,10.0.0.1",           false},
        {"host=db.example,",                   false},
        {"host=/tmp",                          false},
        {"postgresql://u@%2Ftmp/x",            false},
        {"dbname=x",                           false},
        {"postgresql:///x",                    false},
        {"postgresql://u@/x?host=evil",        false},
        {"service=prod host=127.0.0.1",        false},
        {"host=localhost",                     false},
    };
    for (size_t i = 0; i < COUNT(dsns); i++) {
        OWNED(source_close) Source *source = NULL;
        Err why = {0};
        SourceRequest request = pg_request(NULL, "SELECT 1");
        request.allow_hosts = str_from(allowed);
        request.dsn = str_from(dsns[i].dsn);
        request.connect_timeout_ms = 1; /* who is allowed fails only now */
        source_postgres(&request, &source, &why);
        if ((why.kind == LH_DENIED) == dsns[i].ok)
            kit_fail(__FILE__, __LINE__, "%s: %s", dsns[i].dsn, why.message);
    }
}

TEST("a socket that the list names is read from, and an sslmode is kept to") {
    OWNED(pulled_close) Pulled pulled = {0};
    const char *dir;
    Str rest = str_from(kit_service("postgres", &dir));
    size_t at;
    CHECK(str_find(rest, STR("127.0.0.1:"), &at));
    rest = str_slice(rest, at + 10, rest.len);
    Str port = str_until(&rest, '/');
    SourceRequest request = pg_request(NULL, "SELECT current_setting('application_name') AS a, "
                                             "inet_client_addr() AS b");
    request.dsn = arena_print(&arena, "user=postgres host=%s port=%.*s", dir, SHOW(port));
    request.allow_hosts = arena_print(&arena, "127.0.0.1, %s", dir);
    CHECK_OK(pull(&request, &pulled, &err));
    CHECK_STR(pulled_ask(&pulled, "SELECT a || coalesce(b, '') FROM rows"), "lakehouse");
    request.allow_hosts = (Str){0};
    request.dsn = dsn_with("postgres", "?sslmode=require");
    check_refused(&request, LH_OFFLINE, "SSL");
    request.dsn = dsn_with("postgres", "_not");
    check_refused(&request, LH_INVALID, "database \"postgres_not\" does not exist");
}

/* ---- While it runs ---- */

#define ENDLESS "SELECT generate_series(1, 2000000000) AS n, repeat('x', 200) AS t"

/* The pid of the server's process that copies. */
static pid_t copying(void) {
    for (int tries = 0; tries < 200; tries++) {
        Str pid = pg_sql("SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY (%' AND state = "
                         "'active' LIMIT 1");
        if (pid.len) return (pid_t)atoi(arena_cstr(&arena, pid));
        usleep(10000);
    }
    return 0;
}

static bool nothing_copies(void) {
    for (int tries = 0; tries < 300; tries++) {
        if (str_is(pg_sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY (%' AND "
                          "state = 'active'"),
                   "0"))
            return true;
        usleep(10000);
    }
    return false;
}

static void kill_copying(void *context) {
    pid_t pid = copying();
    CHECK(pid > 0);
    kill(pid, *(int *)context);
}

TEST("a server that is killed in the middle is out of reach, and nothing hangs") {
    OWNED(pulled_close) Pulled pulled = {0};
    Err why = {0};
    int signal_number = SIGKILL;
    PGconn *witness = pg_connect();
    SourceRequest request = pg_request(NULL, ENDLESS);
    pulled.first = kill_copying;
    pulled.first_context = &signal_number;
    CHECK(!pull(&request, &pulled, &why));
    CHECK_INT(why.kind, LH_OFFLINE);
    CHECK(str_is(str_from(why.code), "source_unreachable"));
    /* The server ends all its connections, recovers, and is there again. */
    for (int tries = 0; tries < 500 && PQstatus(witness) == CONNECTION_OK; tries++) {
        PQclear(PQexec(witness, "SELECT 1"));
        usleep(10000);
    }
    CHECK(PQstatus(witness) != CONNECTION_OK);
    PQfinish(witness);
    pg_wait();
}

TEST("a server that stands still is noticed within the idle timeout, and one that does not answer "
     "within the connect timeout") {
    OWNED(pulled_close) Pulled pulled = {0};
    OWNED(source_close) Source *waiting = NULL;
    const char *dir;
    int signal_number = SIGSTOP;
    SourceRequest request = pg_request(NULL, ENDLESS);
    request.idle_timeout_ms = 600;
    pulled.first = kill_copying;
    pulled.first_context = &signal_number;
    Err why = {0};
    CHECK(!pull(&request, &pulled, &why));
    CHECK_INT(why.kind, LH_OFFLINE);
    CHECK_STR(str_from(why.message),
              "PostgreSQL is out of reach: nothing came from it within 600 ms");
    kill(copying(), SIGCONT);
    CHECK(nothing_copies()); /* the connection is closed, or the cancel came */
    kit_service("postgres", &dir);
    Bytes text;
    CHECK_OK(file_read(arena_print(&arena, "%s/pid", dir).data, 64, &arena, &text, &err));
    pid_t postmaster = (pid_t)atoi(arena_cstr(&arena, str_of(text)));
    CHECK_OK(source_postgres(&request, &waiting, &err));
    request.connect_timeout_ms = 300;
    kill(postmaster, SIGSTOP);
    int64_t began = clock_us();
    waiting->ops->cancel(waiting); /* which a stopped server does not answer */
    int64_t cancel_ms = (clock_us() - began) / 1000;
    began = clock_us();
    OWNED(source_close) Source *source = NULL;
    why = (Err){0};
    bool ok = source_postgres(&request, &source, &why);
    int64_t took_ms = (clock_us() - began) / 1000;
    kill(postmaster, SIGCONT);
    CHECK(!ok && why.kind == LH_OFFLINE);
    CHECK(cancel_ms < 200 && took_ms >= 290 && took_ms < 2000);
}

static void *cancel_soon(void *context) {
    Source **source = context;
    copying();
    (*source)->ops->cancel(*source);
    return NULL;
}

static void cancel_source(void *context) {
    Source **source = context;
    (*source)->ops->cancel(*source);
}

TEST("a cancel ends all parts at once, and the server's statement too") {
    OWNED(pulled_close) Pulled rows = {0}, sleeper = {0};
    Err why = {0};
    SourceRequest request = pg_request(NULL, ENDLESS);
    rows.first = cancel_source;
    rows.first_context = &rows.source;
    CHECK(!pull(&request, &rows, &why));
    CHECK_INT(why.kind, LH_CANCELLED);
    CHECK(nothing_copies());
    /* one that thinks, and sends nothing */
    pthread_t thread;
    request = pg_request(NULL, "SELECT 1 AS one FROM pg_sleep(60)");
    request.idle_timeout_ms = 30000;
    CHECK_OK(source_postgres(&request, &sleeper.source, &err));
    pthread_create(&thread, NULL, cancel_soon, &sleeper.source);
    int64_t began = clock_us();
    why = (Err){0};
    CHECK(!pulled_all(&sleeper, &why));
    pthread_join(thread, NULL);
    CHECK_INT(why.kind, LH_CANCELLED);
    CHECK(clock_us() - began < 5000000);
    CHECK(nothing_copies());
}

TEST("a source that is closed while the server works leaves nothing running there") {
    OWNED(pulled_close) Pulled pulled = {0};
    SourceRequest request = pg_request(NULL, "SELECT count(*) FROM generate_series(1, 1000000000)");
    request.idle_timeout_ms = 300;
    Err why = {0};
    CHECK(!pull(&request, &pulled, &why));
    CHECK_INT(why.kind, LH_OFFLINE);
    pulled_close(&pulled);
    CHECK(nothing_copies());
}

typedef struct Writers {
    atomic_bool stop;
    atomic_int rounds;
} Writers;

/* Moves ones from row to row, rows to other pages, and replaces rows: the sum stays, and so does
 * the count. */
static void *write_on(void *context) {
    Writers *writers = context;
    PGconn *conn = pg_connect();
    while (!writers->stop) {
        PQclear(PQexec(conn, "BEGIN; UPDATE busy SET v = v + 1, pad = pad || 'y' WHERE id % 97 = 3;"
                             "UPDATE busy SET v = v - 1 WHERE id % 97 = 4;"
                             "WITH gone AS (DELETE FROM busy WHERE id % 101 = 7 RETURNING *) "
                             "INSERT INTO busy SELECT * FROM gone; COMMIT"));
        writers->rounds++;
    }
    PQfinish(conn);
    return NULL;
}

TEST("parts that are read while others write are one state: no row twice, none missing") {
    OWNED(pulled_close) Pulled pulled = {0};
    Writers writers = {0};
    pthread_t thread;
    pg_sql("CREATE TABLE busy (id int, v int, pad text) WITH (fillfactor = 60);"
           "INSERT INTO busy SELECT g, 0, repeat('x', 150) FROM generate_series(1, 9700 * 9) g");
    SourceRequest request = pg_request("busy", NULL);
    request.parallel = 4;
    pthread_create(&thread, NULL, write_on, &writers);
    while (writers.rounds < 2) usleep(1000);
    bool ok = pull(&request, &pulled, &err);
    writers.stop = true;
    pthread_join(thread, NULL);
    CHECK_OK(ok);
    CHECK_INT(pulled.source->parts, 4);
    CHECK_STR(pulled_ask(&pulled, "SELECT [count(*), count(distinct id), sum(v), max(id)]::text "
                                  "FROM rows"),
              "[87300, 87300, 0, 87300]");
}

TEST("when the server has no connection left, fewer parts read all of it") {
    OWNED(pulled_close) Pulled pulled = {0};
    PGconn *conns[4];
    pg_sql("CREATE ROLE narrow LOGIN CONNECTION LIMIT 6; GRANT SELECT ON busy TO narrow");
    SourceRequest request = pg_request("busy", NULL);
    request.dsn = dsn_with("narrow", "");
    request.parallel = 8;
    for (size_t i = 0; i < COUNT(conns); i++)
        conns[i] = PQconnectdb(arena_cstr(&arena, request.dsn));
    CHECK_OK(pull(&request, &pulled, &err));
    CHECK_INT(pulled.source->parts, 2);
    CHECK_STR(pulled_ask(&pulled, "SELECT count(distinct id) FROM rows"), "87300");
    for (size_t i = 0; i < COUNT(conns); i++) PQfinish(conns[i]);
}

TEST("batches of large values are given before they are full, and no row is too large") {
    OWNED(pulled_close) Pulled pulled = {0};
    SourceRequest request =
        pg_request(NULL, "SELECT generate_series(1, 60) AS n, repeat('x', 1048576) AS t UNION ALL "
                         "SELECT 61, repeat('y', 40000000)");
    CHECK_OK(pull(&request, &pulled, &err));
    CHECK(pulled.batch_bytes_max < (16 << 20) + 40100000);
    CHECK_STR(pulled_ask(&pulled, "SELECT [count(*), sum(length(t)), max(length(t))]::text FROM "
                                  "rows"),
              "[61, 102914560, 40000000]");
}

TEST("a table becomes a dataset, and the next run adds what came since") {
    OWNED(buckets_close) Buckets *buckets = NULL;
    OWNED(catalog_close) Catalog *catalog = NULL;
    OWNED(engine_close) Engine *engine = NULL;
    char root[128];
    snprintf(root, sizeof root, "%s/lake", kit_dir());
    BucketOptions primary = {STR("primary"), STR("local"), str_from(root)};
    CHECK_OK(buckets_open(&(BucketsOptions){.items = &primary, .count = 1}, &buckets, &err));
    CHECK_OK(catalog_open(buckets, NULL, &catalog, &err));
    engine = kit_engine(catalog, 1 << 30, 1 << 28);
    pg_sql("CREATE TABLE orders (id int PRIMARY KEY, total numeric(10,2), tags text[]);"
           "INSERT INTO orders SELECT g, g / 4.0, ARRAY['a', g::text] FROM generate_series(1, "
           "5000) g");
    SourceRequest request = pg_request("orders", NULL);
    request.cursor = STR("id");
    for (int run = 0; run < 2; run++) {
        OWNED(source_close) Source *source = NULL;
        OWNED(text_close) Text result = {0};
        TableIngest what = {.dataset = STR("orders"),
                            .bucket = STR("primary"),
                            .mode = run ? COMMIT_APPEND : COMMIT_CREATE,
                            .cursor = request.cursor};
        CHECK_OK(source_postgres(&request, &source, &err));
        CHECK_OK(ingest_table(catalog, engine, buckets, source, &what, &result, &err));
        CHECK_STR(source->last, run ? "6000" : "5000");
        request.after = arena_copy(&arena, source->last);
        pg_sql("INSERT INTO orders SELECT g, g / 4.0, NULL FROM generate_series(5001, 6000) g "
               "ON CONFLICT DO NOTHING");
    }
    OWNED(rows_close) Rows *rows = NULL;
    size_t count;
    Query query = {.sql = STR("SELECT [count(*), sum(total), count(tags)]::VARCHAR FROM orders")};
    CHECK_OK(query_open(engine, &query, &rows, &err));
    CHECK_OK(rows_next(rows, &count, &err));
    CHECK_STR(rows_text(rows, 0, 0), "[6001.00, 4502000.00, 5001.00]");
}

/* DuckDB does not survive being closed by exit(). */
TEST("the engine closes") {
    engine_close(&pg_engine_kept);
}
