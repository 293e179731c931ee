/* The MySQL connector when things go wrong, on a real MariaDB: who is not let in, who falls silent,
 * who is killed, who writes meanwhile, and what must never be said. */
#include "ingest/maria.h"

#include <fcntl.h>
#include <mysql.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void big_table(void) {
    static bool made;
    OWNED(arena_close) Arena arena = {0};
    if (made) return;
    made = true;
    sql(&arena, "CREATE TABLE big (id bigint PRIMARY KEY, note varchar(250)); INSERT INTO big "
                "SELECT seq, REPEAT('n', 240) FROM seq_1_to_200000");
}

static int server_pid(void) {
    char path[256];
    OWNED(arena_close) Arena arena = {0};
    Err err = {0};
    Bytes text;
    int64_t pid;
    snprintf(path, sizeof path, "%s/pid", maria_dir);
    CHECK_OK(file_read(path, 100, &arena, &text, &err));
    CHECK(str_to_i64(str_trim(str_of(text)), &pid));
    return (int)pid;
}

static Str password(Arena *arena) {
    Str rest = str_from(maria_dsn);
    str_until(&rest, '@');
    size_t at = (size_t)(rest.data - maria_dsn) - 1;
    Str head = {maria_dsn, at};
    while (at > 0 && maria_dsn[at - 1] != ':') at--;
    return arena_copy(arena, str_slice(head, at, head.len));
}

/* The kit's address with other pieces. */
static Str dsn_of(const char *user, const char *secret, const char *options, Arena *arena) {
    Str rest = str_from(maria_dsn);
    str_until(&rest, '@');
    return arena_print(arena, "mysql://%s:%s@%.*s%s", user, secret, SHOW(rest), options);
}

static bool opens(SourceRequest request, Err *err) {
    OWNED(source_close) Source *source = NULL;
    *err = (Err){0};
    return source_mysql(&request, &source, err);
}

static void check_word(const Err *err, ErrKind kind, const char *word) {
    if (err->kind != kind || !str_is(str_from(err_word(err)), word))
        kit_fail(__FILE__, __LINE__, "%d %s: %s", (int)err->kind, err_word(err), err->message);
    CHECK(!strchr(err->message, '\n'));
}

TEST("who is not let in, and what is not there, is said by kind") {
    OWNED(arena_close) Arena arena = {0};
    Err err;
    big_table();
    SourceRequest request = request_of("big");
    request.dsn = dsn_of("lake", "Wrong-Secret-77", "", &arena);
    CHECK(!opens(request, &err));
    check_word(&err, LH_DENIED, "source_denied");
    CHECK(str_find(str_from(err.message), STR("Access denied for user 'lake'"), &(size_t){0}));
    request.dsn = STR("mysql://lake:Secret-77@127.0.0.1:1/lake");
    CHECK(!opens(request, &err));
    check_word(&err, LH_OFFLINE, "source_unreachable");
    request.dsn = STR("mysql://lake:Secret-77@nowhere.invalid/lake");
    CHECK(!opens(request, &err));
    check_word(&err, LH_OFFLINE, "source_unreachable");
    request.dsn = STR("mysql://lake:Secret-77@localhost/lake?socket=/nowhere/my.sock");
    CHECK(!opens(request, &err));
    check_word(&err, LH_OFFLINE, "source_unreachable");
}

TEST("only hosts of the list are asked, a socket being localhost whatever host stands beside it") {
    OWNED(arena_close) Arena arena = {0};
    Err err;
    SourceRequest request = request_of("big");
    request.allow_hosts = STR("db.example, 127.0.0.1");
    CHECK_OK(opens(request, &err));
    request.allow_hosts = STR("db.example,127.0.0.11");
    CHECK(!opens(request, &err));
    check_word(&err, LH_DENIED, "host_not_allowed");
    request.allow_hosts = STR("db.example");
    request.dsn = arena_print(&arena, "mysql://root@db.example/lake?socket=%s/my.sock", maria_dir);
    CHECK(!opens(request, &err));
    check_word(&err, LH_DENIED, "host_not_allowed");
    request.allow_hosts = STR("localhost");
    CHECK_OK(opens(request, &err));
}

/* Secrets. */

TEST("no message, locator or log line holds the password, however the dsn is broken") {
    OWNED(arena_close) Arena arena = {0};
    char path[] = "/tmp/lakehouse-log-XXXXXX";
    int log = mkstemp(path), saved = dup(2);
    CHECK(log >= 0 && dup2(log, 2) == 2);
    unlink(path);
    big_table();
    log_setup(LOG_DEBUG, false);
    static const char *const forms[] = {
        "mysql://lake:Secr%s@127.0.0.1:1/lake",
        "mysql://lake:Secr%s@127.0.0.1:x/lake",
        "mysql://lake:Secr%s@/lake",
        "mysql://lake:Secr%s",
        "mysql:/lake:Secr%s@h/lake",
        "mysql://lake:Secr%s@h/lake?password=Secr%s",
        "mysql://lake:Secr%s@h/lake?tls=maybe",
        "mysql://lake:12/Secr%s@h/lake",
        "mysql://lake:12?Secr%s@h/lake",
        "mysql://lake:%%zzSecr%s@h/l",
        "mysql://lake:Secr%s@[::1/lake",
        "mysql://lake:Secr%s@localhost:1/lake?ssl-ca=/none&tls=true"};
    Err err;
    bool clean = true;
    SourceRequest request = request_of("big");
    for (size_t i = 0; i < COUNT(forms); i++) {
        request.dsn = arena_print(&arena, forms[i], "et-4711", "et-4711");
        if (opens(request, &err) || str_find(str_from(err.message), STR("et-4711"), &(size_t){0}))
            clean = false;
    }
    /* The server repeats what it does not understand. */
    Str secret = password(&arena);
    request = request_of("");
    request.query = arena_print(&arena, "SELECT nothing AT '%.*s' there", SHOW(secret));
    if (opens(request, &err) || str_find(str_from(err.message), secret, &(size_t){0}))
        clean = false;
    request = request_of("big");
    OWNED(source_close) Source *source = NULL;
    CHECK_OK(source_mysql(&request, &source, &err));
    if (str_find(source->locator, secret, &(size_t){0})) clean = false;
    static char text[65536];
    ssize_t size = pread(log, text, sizeof text, 0);
    dup2(saved, 2);
    close(saved);
    close(log);
    log_setup(LOG_INFO, false);
    CHECK(clean);
    CHECK(size >= 0 && !memmem(text, (size_t)size, "et-4711", 7));
    CHECK(size >= 0 && !memmem(text, (size_t)size, secret.data, secret.len));
    Str rest = str_from(maria_dsn);
    str_until(&rest, '@');
    Str expected = arena_print(&arena, "mysql://lake@%.*s#lake.big", SHOW(rest));
    CHECK_STR(source->locator, expected.data);
}

/* TLS. */

static Str cipher(const char *options, Arena *arena, Err *err) {
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    Str secret = password(arena);
    SourceRequest request = request_of("");
    request.query = STR("SHOW SESSION STATUS LIKE 'Ssl_cipher'");
    request.dsn = dsn_of("lake", secret.data, options, arena);
    *err = (Err){0};
    if (!read_all(&request, &source, &feed, err)) return STR("failed");
    return arena_copy(arena, feed->rows[0][1]);
}

TEST("a connection is encrypted where the dsn says so, to a server whose certificate is believed") {
    OWNED(arena_close) Arena arena = {0};
    Err err;
    maria_up();
    CHECK_INT(cipher("?tls=false", &arena, &err).len, 0);
    CHECK(cipher("?tls=preferred", &arena, &err).len > 6);
    CHECK(cipher("?tls=skip-verify", &arena, &err).len > 6);
    CHECK_STR(cipher("?tls=true", &arena, &err), "failed");
    check_word(&err, LH_OFFLINE, "source_unreachable");
    Str option = arena_print(&arena, "?tls=true&ssl-ca=%s/ca.pem", maria_dir);
    CHECK(cipher(option.data, &arena, &err).len > 6);
}

/* Snapshots. */

typedef struct Writer {
    atomic_bool stop;
    atomic_int commits;
    pthread_t thread;
} Writer;

static void must(MYSQL *mysql, const char *text) {
    if (mysql_query(mysql, text)) fprintf(stderr, "%s: %s\n", text, mysql_error(mysql));
}

/* Moves amounts between rows, and rows to the other end of the key; the sum and the count stay. */
static void *write_on(void *context) {
    Writer *writer = context;
    char path[256], text[256];
    MYSQL *mysql = mysql_init(NULL);
    snprintf(path, sizeof path, "%s/my.sock", maria_dir);
    if (!mysql_real_connect(mysql, NULL, "root", "", "lake", 0, path, 0)) abort();
    for (int i = 0; !atomic_load(&writer->stop); i++) {
        int a = 1 + (i * 7919) % 20000, b = 1 + (i * 104729 + 13) % 20000;
        must(mysql, "START TRANSACTION");
        snprintf(text, sizeof text, "UPDATE money SET v = v - 5 WHERE id %% 30000 = %d", a);
        if (a != b) {
            snprintf(text, sizeof text, "UPDATE money SET v = v - 5 WHERE id IN (%d, %d)", a,
                     a + 30000);
            must(mysql, text);
            snprintf(text, sizeof text, "UPDATE money SET v = v + 5 WHERE id IN (%d, %d)", b,
                     b + 30000);
            must(mysql, text);
        }
        snprintf(
            text, sizeof text,
            "UPDATE money SET id = IF(id > 30000, id - 30000, id + 30000) WHERE id IN (%d, %d)", a,
            a + 30000);
        must(mysql, text);
        must(mysql, "COMMIT");
        atomic_fetch_add(&writer->commits, 1);
    }
    mysql_close(mysql);
    mysql_thread_end();
    return NULL;
}

typedef struct Tally {
    int64_t rows;
    __int128 sum;
    uint8_t seen[30001];
    bool twice;
} Tally;

static void tally_batch(void *context, const RowBatch *batch, size_t rows) {
    Tally *tally = context;
    for (size_t i = 0; i < rows; i++) {
        int64_t id = (int64_t)fed_integer(&batch->vectors[0], i) % 30000;
        tally->twice |= tally->seen[id]++ > 0;
        tally->sum += fed_integer(&batch->vectors[1], i);
    }
    tally->rows += (int64_t)rows;
}

typedef struct PartPull {
    Source *source;
    size_t part;
    RowFeed *feed;
    bool ok;
    Err err;
    int64_t ended_us;
    pthread_t thread;
} PartPull;

static void *pull_thread(void *context) {
    PartPull *pull = context;
    pull->ok = pull->source->ops->pull(pull->source, pull->part, pull->feed, &pull->err);
    pull->ended_us = clock_us();
    return NULL;
}

static void start_pull(PartPull *pull, Source *source, size_t part, RowFeed *feed) {
    *pull = (PartPull){.source = source, .part = part, .feed = feed};
    if (pthread_create(&pull->thread, NULL, pull_thread, pull)) abort();
}

TEST("parts read one state while another client writes: no row twice, none missed, the sum "
     "unbroken") {
    OWNED(arena_close) Arena arena = {0};
    Writer writer = {0};
    sql(&arena, "CREATE OR REPLACE TABLE money (id int PRIMARY KEY, v bigint) ENGINE=InnoDB; "
                "INSERT INTO money SELECT seq, 1000 FROM seq_1_to_20000");
    if (pthread_create(&writer.thread, NULL, write_on, &writer)) abort();
    static Tally tally;
    int64_t before = 0;
    for (int round = 0; round < 12; round++) {
        OWNED(source_close) Source *source = NULL;
        OWNED(fed_close) RowFeed *feed = NULL;
        PartPull pulls[4];
        Err err = {0};
        SourceRequest request = request_of("money");
        request.parallel = 4;
        tally = (Tally){0};
        CHECK_OK(source_mysql(&request, &source, &err));
        CHECK_INT(source->parts, 4);
        feed = fed_open(source, false);
        feed->each = tally_batch;
        feed->context = &tally;
        before = atomic_load(&writer.commits);
        while (atomic_load(&writer.commits) < before + 20) usleep(1000); /* after the snapshot */
        for (size_t i = 0; i < 4; i++) start_pull(&pulls[i], source, i, feed);
        for (size_t i = 0; i < 4; i++) pthread_join(pulls[i].thread, NULL);
        for (size_t i = 0; i < 4; i++) CHECK(pulls[i].ok);
        CHECK_INT(tally.rows, 20000);
        CHECK(!tally.twice);
        CHECK_INT(tally.sum, 20000000);
    }
    atomic_store(&writer.stop, true);
    pthread_join(writer.thread, NULL);
}

TEST("a user who may lock nothing reads in one part, and is told") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(source_close) Source *source = NULL;
    Err err = {0};
    big_table();
    sql(&arena, "CREATE OR REPLACE USER reader@'%%' IDENTIFIED BY 'Reader-1'; GRANT SELECT ON "
                "lake.big TO reader@'%%'");
    SourceRequest request = request_of("big");
    request.dsn = dsn_of("reader", "Reader-1", "", &arena);
    request.parallel = 4;
    CHECK_OK(source_mysql(&request, &source, &err));
    CHECK_INT(source->parts, 1);
    CHECK_INT(source->warning_count, 1);
    CHECK(str_find(source->warnings[0].what, STR("LOCK TABLES"), &(size_t){0}));
}

/* Ends. */

static bool is_running(const char *what) {
    OWNED(arena_close) Arena arena = {0};
    Str count = sql(&arena,
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%%%s%%' "
                    "AND info NOT LIKE '%%processlist%%'",
                    what);
    return !str_is(count, "0");
}

TEST("cancelling ends the pull at once, and what the server computes for it") {
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    PartPull pull;
    Err err = {0};
    SourceRequest request = request_of("");
    request.query =
        STR("SELECT COUNT(*) AS endless FROM seq_1_to_1000000 a JOIN seq_1_to_1000000 b "
            "ON a.seq * b.seq % 7 = 8");
    CHECK_OK(source_mysql(&request, &source, &err));
    feed = fed_open(source, false);
    start_pull(&pull, source, 0, feed);
    for (int i = 0; i < 500 && !is_running("AS endless"); i++) usleep(10000);
    CHECK(is_running("AS endless"));
    int64_t start = clock_us();
    source->ops->cancel(source);
    pthread_join(pull.thread, NULL);
    CHECK(!pull.ok && pull.err.kind == LH_CANCELLED);
    CHECK(pull.ended_us - start < 2000000);
    for (int i = 0; i < 300 && is_running("AS endless"); i++) usleep(10000);
    CHECK(!is_running("AS endless"));
}

typedef struct Act { /* once, with the first batch */
    int signal;
    Source *source;
    bool done;
} Act;

static void act(void *context, const RowBatch *batch, size_t rows) {
    Act *one = context;
    (void)batch, (void)rows;
    if (one->done) return;
    one->done = true;
    if (one->signal) kill(server_pid(), one->signal);
}

static void pull_and_act(int signal, int64_t idle_ms, PartPull *pull, Source **source,
                         RowFeed **feed, Act *what) {
    Err err = {0};
    SourceRequest request = request_of("big");
    request.idle_timeout_ms = idle_ms;
    big_table();
    CHECK_OK(source_mysql(&request, source, &err));
    *feed = fed_open(*source, false);
    *what = (Act){.signal = signal, .source = *source};
    (*feed)->each = act;
    (*feed)->context = what;
    start_pull(pull, *source, 0, *feed);
}

TEST("a server that is set to end long statements does not end ours") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    Err err = {0};
    SourceRequest request = request_of(NULL);
    request.query = STR("SELECT SLEEP(0.3) AS cut FROM seq_1_to_2");
    sql(&arena, "SET GLOBAL max_statement_time = 0.1");
    bool ok = read_all(&request, &source, &feed, &err);
    sql_as("root", &arena, "SET GLOBAL max_statement_time = 0");
    CHECK_OK(ok);
    CHECK_INT(feed->row_count, 2);
    CHECK_STR(feed->rows[1][0], "0");
}

TEST("a server that stops answering ends the pull after the idle timeout, and a new one is refused "
     "in time") {
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    PartPull pull;
    Act what;
    Err err;
    int64_t start = clock_us();
    pull_and_act(SIGSTOP, 1000, &pull, &source, &feed, &what);
    pthread_join(pull.thread, NULL);
    int64_t waited = clock_us() - start, begun = clock_us();
    SourceRequest request = request_of("big");
    request.connect_timeout_ms = 1000;
    bool opened = opens(request, &err);
    int64_t refused = clock_us() - begun;
    kill(server_pid(), SIGCONT);
    CHECK(!pull.ok);
    check_word(&pull.err, LH_OFFLINE, "source_unreachable");
    CHECK(waited > 900000 && waited < 6000000);
    CHECK(!opened);
    check_word(&err, LH_OFFLINE, "source_unreachable");
    CHECK(refused < 4000000);
}

TEST("a pull from a server that stopped answering can be cancelled") {
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    PartPull pull;
    Act what;
    pull_and_act(SIGSTOP, 60000, &pull, &source, &feed, &what);
    usleep(300000);
    int64_t start = clock_us();
    source->ops->cancel(source);
    int64_t told = clock_us() - start;
    pthread_join(pull.thread, NULL);
    kill(server_pid(), SIGCONT);
    CHECK(!pull.ok && pull.err.kind == LH_CANCELLED);
    CHECK(pull.ended_us - start < 1000000);
    CHECK(told < 5000000);
}

TEST("a feed that takes no more ends the pull, and closing does not read the rest") {
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    Err err = {0};
    SourceRequest request = request_of("");
    request.query = STR("SELECT a.seq FROM seq_1_to_1000000 a JOIN seq_1_to_1000000 b");
    CHECK_OK(source_mysql(&request, &source, &err));
    feed = fed_open(source, false);
    feed->refuse = true;
    int64_t start = clock_us();
    CHECK(!source->ops->pull(source, 0, feed, &err));
    CHECK(err.kind == LH_CANCELLED);
    source_close(&source);
    CHECK(clock_us() - start < 2000000);
}

TEST(
    "a server that is killed in the middle ends the pull, and the next one works when it is back") {
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    PartPull pull;
    Act what;
    Err err;
    pull_and_act(SIGKILL, 20000, &pull, &source, &feed, &what);
    pthread_join(pull.thread, NULL);
    CHECK(!pull.ok);
    check_word(&pull.err, LH_OFFLINE, "source_unreachable");
    maria_dsn = kit_service_again("mariadb", "again");
    SourceRequest request = request_of("big");
    CHECK_OK(opens(request, &err));
}
