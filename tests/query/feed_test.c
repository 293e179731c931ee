#include "base/job.h"
#include "kit/engine.h"
#include "query/query.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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

static int64_t ask_int(const char *format, const char *path) {
    OWNED(rows_close) Rows *rows = NULL;
    OWNED(text_close) Text sql = {0};
    size_t count;
    text_print(&sql, format, path);
    CHECK_OK(engine_run(open_engine(), text_str(&sql), NULL, NULL, &rows, &err));
    CHECK_OK(rows_next(rows, &count, &err));
    CHECK_INT(count, 1);
    return rows_int(rows, 0, 0);
}

static const ColumnStats *stats_of(const DataFile *file, int32_t id) {
    for (size_t i = 0; i < file->column_count; i++)
        if (file->columns[i].field_id == id) return &file->columns[i];
    return NULL;
}

/* ---- Numbers with a text of each, made by any number of threads ---- */

static Field number_fields[] = {
    {.id = 1, .name = STR("n"), .type = {.kind = TYPE_LONG}  },
    {.id = 2, .name = STR("t"), .type = {.kind = TYPE_STRING}},
};
static const Schema numbers = {.fields = number_fields, .len = COUNT(number_fields)};

typedef struct Producer {
    RowFeed *feed;
    int64_t next, end;
    atomic_llong *given;
} Producer;

static size_t fill_numbers(Producer *p, RowBatch *batch) {
    BatchVector *n = batch_vector(batch, 0), *t = batch_vector(batch, 1);
    int64_t *values = vector_values(n);
    size_t row = 0;
    for (; row < FEED_BATCH_ROWS && p->next < p->end; row++, p->next++) {
        char text[64];
        int len = snprintf(text, sizeof text, p->next % 2 ? "%lld" : "a longer text of number %lld",
                           (long long)p->next);
        values[row] = p->next;
        vector_set_valid(n, row);
        if (p->next % 5) vector_bytes(t, row, (Str){text, (size_t)len});
    }
    return row;
}

static void *produce(void *context) {
    Producer *p = context;
    RowBatch *batch;
    while (p->next < p->end && (batch = feed_take(p->feed))) {
        size_t rows = fill_numbers(p, batch);
        feed_give(p->feed, batch, rows);
        if (p->given) atomic_fetch_add(p->given, (long long)rows);
    }
    return NULL;
}

static void produce_on(RowFeed *feed, size_t threads, int64_t rows, atomic_llong *given) {
    pthread_t ids[16];
    Producer producers[16];
    for (size_t i = 0; i < threads; i++) {
        int64_t share = rows / (int64_t)threads;
        producers[i] = (Producer){feed, (int64_t)i * share, (int64_t)(i + 1) * share, given};
        CHECK(pthread_create(&ids[i], NULL, produce, &producers[i]) == 0);
    }
    for (size_t i = 0; i < threads; i++) pthread_join(ids[i], NULL);
}

TEST("what sixteen threads feed is one file with every row, and the statistics of each column") {
    OWNED(feed_close) RowFeed *feed = NULL;
    FeedOptions options = {.fed = &numbers, .written = &numbers, .path = new_path()};
    DataFile file;
    CHECK_OK(feed_open(open_engine(), &options, &feed, &err));
    produce_on(feed, 16, 800000, NULL);
    CHECK_OK(feed_finish(feed, &arena, &file, &err));
    CHECK_INT(file.rows, 800000);
    CHECK_STR(stats_of(&file, 1)->lower, "0");
    CHECK_STR(stats_of(&file, 1)->upper, "799999");
    CHECK_INT(stats_of(&file, 2)->null_count, 160000);
    CHECK_INT(
        ask_int("SELECT count(DISTINCT n) FROM read_parquet('%s') WHERE "
                "t IS NOT DISTINCT FROM CASE WHEN n %% 5 = 0 THEN NULL WHEN n %% 2 = 1 THEN n::TEXT"
                " ELSE 'a longer text of number ' || n END",
                options.path),
        800000);
}

TEST("a feed in order keeps the order of its rows") {
    OWNED(feed_close) RowFeed *feed = NULL;
    FeedOptions options = {
        .fed = &numbers, .written = &numbers, .path = new_path(), .in_order = true};
    DataFile file;
    CHECK_OK(feed_open(open_engine(), &options, &feed, &err));
    produce_on(feed, 1, 300000, NULL);
    CHECK_OK(feed_finish(feed, &arena, &file, &err));
    CHECK_INT(ask_int("SELECT count(*) FROM (SELECT n, row_number() OVER () - 1 AS r FROM "
                      "read_parquet('%s')) WHERE n = r",
                      options.path),
              300000);
}

TEST("a projection writes other values, and types, than were fed") {
    static Field written_fields[] = {
        {.id = 4, .name = STR("n"), .type = {.kind = TYPE_STRING}},
        {.id = 3, .name = STR("t"), .type = {.kind = TYPE_STRING}},
    };
    static const Schema written = {.fields = written_fields, .len = 2};
    static const Str projection[] = {STR("sha256(n::VARCHAR)"), STR("NULL")};
    OWNED(feed_close) RowFeed *feed = NULL;
    FeedOptions options = {
        .fed = &numbers, .written = &written, .projection = projection, .path = new_path()};
    DataFile file;
    CHECK_OK(feed_open(open_engine(), &options, &feed, &err));
    produce_on(feed, 2, 10000, NULL);
    CHECK_OK(feed_finish(feed, &arena, &file, &err));
    CHECK_INT(stats_of(&file, 3)->null_count, 10000);
    CHECK_INT(ask_int("SELECT count(*) FROM read_parquet('%s') JOIN range(10000) r(i) ON "
                      "n = sha256(i::VARCHAR)",
                      options.path),
              10000);
}

/* ---- Every type, with its extremes ---- */

static Field element_long = {.name = STR("element"), .type = {.kind = TYPE_LONG}};
static Field element_text = {.name = STR("element"), .type = {.kind = TYPE_STRING}};
static Field element_list = {
    .name = STR("element"), .type = {.kind = TYPE_LIST, .fields = &element_text, .field_count = 1}
};
#define DECIMAL(p, s)                                                                              \
    { .kind = TYPE_DECIMAL, .precision = p, .scale = s }
static Field all_fields[] = {
    {.name = STR("bo"),   .type = {.kind = TYPE_BOOLEAN}},
    {.name = STR("i"),    .type = {.kind = TYPE_INT}    },
    {.name = STR("l"),    .type = {.kind = TYPE_LONG}   },
    {.name = STR("f"),    .type = {.kind = TYPE_FLOAT}  },
    {.name = STR("d"),    .type = {.kind = TYPE_DOUBLE} },
    {.name = STR("d4"),   .type = DECIMAL(4,              2)},
    {.name = STR("d9"),                   .type = DECIMAL(9,                                 0)},
    {.name = STR("d18"),                 .type = DECIMAL(18,               18)},
    {.name = STR("d38"),.type = DECIMAL(38,10)},
    {.name = STR("da"),  .type = {.kind = TYPE_DATE}                             },
    {.name = STR("ti"),                   .type = {.kind = TYPE_TIME}                                },
    {.name = STR("ts"),                   .type = {.kind = TYPE_TIMESTAMP}   },
    {.name = STR("tz"),                   .type = {.kind = TYPE_TIMESTAMPTZ}},
    {.name = STR("s"),                   .type = {.kind = TYPE_STRING}                             },
    {.name = STR("u"),                   .type = {.kind = TYPE_UUID}                                 },
    {.name = STR("bi"),                   .type = {.kind = TYPE_BINARY}    },
    {.name = STR("li"),                   .type = {.kind = TYPE_LIST, .fields = &element_long, .field_count = 1}},
    {.name = STR("ll"),                   .type = {.kind = TYPE_LIST, .fields = &element_list, .field_count = 1}                            },
};
static Schema all = {.fields = all_fields, .len = COUNT(all_fields)};

/* Of a UUID, which is flipped: the least one has it set. */
#define TOP_BIT ((__int128)((unsigned __int128)1 << 127))

#define SET(column, row, type, value)                                                              \
    do {                                                                                           \
        BatchVector *vector_ = batch_vector(batch, column);                                        \
        ((type *)vector_values(vector_))[row] = (type)(value);                                     \
        vector_set_valid(vector_, row);                                                            \
    } while (0)

/* Row 0: the least of each; row 1: the greatest; row 2: NULL; row 3: something plain. */
static void fill_scalars(RowBatch *batch, size_t row, bool most) {
    __int128 e38 = 1;
    for (int i = 0; i < 38; i++) e38 *= 10;
    SET(0, row, uint8_t, most);
    SET(1, row, int32_t, most ? INT32_MAX : INT32_MIN);
    SET(2, row, int64_t, most ? INT64_MAX : INT64_MIN);
    SET(3, row, float, most ? __builtin_inff() : -3.4028235e38f);
    SET(4, row, double, most ? 1.7976931348623157e308 : __builtin_nan(""));
    SET(5, row, int16_t, most ? 9999 : -9999);
    SET(6, row, int32_t, most ? 999999999 : -999999999);
    SET(7, row, int64_t, most ? 999999999999999999 : -999999999999999999);
    SET(8, row, __int128, most ? e38 - 1 : 1 - e38);
    SET(9, row, int32_t, most ? 2932896 : -719162);
    SET(10, row, int64_t, most ? 86399999999 : 0);
    SET(11, row, int64_t, most ? 253402300799999999 : -62135596800000000);
    SET(12, row, int64_t, most ? 253402300799999999 : -62135596800000000);
    SET(14, row, __int128, most ? ~TOP_BIT : TOP_BIT);
}

static void fill_lists(RowBatch *batch, size_t row, bool most) {
    size_t at, inner_at;
    BatchVector *longs = vector_list(batch_vector(batch, 16), row, most ? 3000 : 0, &at);
    for (size_t i = 0; most && i < 3000; i++) {
        if (i % 3 == 0) continue; /* stays NULL */
        ((int64_t *)vector_values(longs))[at + i] = (int64_t)i;
        vector_set_valid(longs, at + i);
    }
    BatchVector *lists = vector_list(batch_vector(batch, 17), row, 3, &at);
    BatchVector *texts = vector_list(lists, at, 2, &inner_at);
    vector_bytes(texts, inner_at, STR("x"));
    vector_bytes(texts, inner_at + 1, STR("a text that is not inlined"));
    vector_list(lists, at + 1, 0, &inner_at);
}

static void fill_all(RowBatch *batch) {
    char large[100000];
    memset(large, 'z', sizeof large);
    for (size_t row = 0; row < 2; row++) {
        fill_scalars(batch, row, row);
        vector_bytes(batch_vector(batch, 13), row, row ? (Str){large, sizeof large} : (Str){0});
        vector_bytes(batch_vector(batch, 15), row, (Str){"\0\xff\0", row ? 3 : 0});
        fill_lists(batch, row, row);
    }
}

static int64_t ask_all(const char *path, const char *condition) {
    OWNED(text_close) Text sql = {0};
    text_print(&sql, "SELECT count(*) FROM read_parquet('%%s') WHERE %s", condition);
    text_add_byte(&sql, 0);
    return ask_int(sql.data, path);
}

TEST("every type comes back with its extremes, lists of lists included") {
    OWNED(feed_close) RowFeed *feed = NULL;
    int32_t last = 0;
    FeedOptions options = {.fed = &all, .written = &all, .path = new_path()};
    DataFile file;
    schema_assign_ids(&all, &last);
    CHECK_OK(feed_open(open_engine(), &options, &feed, &err));
    for (int i = 0; i < 20; i++) { /* batches are used again, without what was in them */
        RowBatch *batch = feed_take(feed);
        CHECK(batch != NULL);
        if (i % 2 == 0) fill_all(batch);
        feed_give(feed, batch, 3);
    }
    CHECK_OK(feed_finish(feed, &arena, &file, &err));
    CHECK_INT(file.rows, 60);
    CHECK_INT(ask_all(options.path,
                      "NOT bo AND i = -2147483648 AND l = -9223372036854775808 AND "
                      "f = -3.4028235e38::FLOAT AND isnan(d) AND d4 = -99.99 AND d9 = -999999999 "
                      "AND d18 = -0.999999999999999999 AND d38 = "
                      "-9999999999999999999999999999.9999999999 AND da = '0001-01-01' AND "
                      "ti = '00:00:00' AND ts = '0001-01-01 00:00:00' AND "
                      "epoch_us(tz) = -62135596800000000 AND s = '' AND "
                      "u = '00000000-0000-0000-0000-000000000000' AND bi = ''::BLOB AND "
                      "li = [] AND ll = [['x', 'a text that is not inlined'], [], NULL]"),
              10);
    CHECK_INT(
        ask_all(options.path,
                "bo AND i = 2147483647 AND l = 9223372036854775807 AND isinf(f) AND "
                "d = 1.7976931348623157e308 AND d4 = 99.99 AND d9 = 999999999 AND "
                "d18 = 0.999999999999999999 AND d38 = 9999999999999999999999999999.9999999999 AND "
                "da = '9999-12-31' AND ti = '23:59:59.999999' AND "
                "ts = '9999-12-31 23:59:59.999999' AND epoch_us(tz) = 253402300799999999 AND "
                "s = repeat('z', 100000) AND u = 'ffffffff-ffff-ffff-ffff-ffffffffffff' AND "
                "bi = '\\x00\\xFF\\x00'::BLOB AND len(li) = 3000 AND "
                "li = [CASE WHEN x %% 3 > 0 THEN x END for x in range(3000)] AND len(ll) = 3"),
        10);
    CHECK_INT(ask_all(options.path, "COLUMNS(*) IS NULL"), 40);
}

/* ---- Ends ---- */

typedef struct Flag {
    atomic_bool set;
} Flag;

static bool is_set(void *context) {
    return atomic_load(&((Flag *)context)->set);
}

static void *set_soon(void *context) {
    usleep(50000);
    atomic_store(&((Flag *)context)->set, true);
    return NULL;
}

TEST("a cancel wakes producers that wait, and leaves no file") {
    OWNED(feed_close) RowFeed *feed = NULL;
    Flag flag = {0};
    pthread_t thread;
    FeedOptions options = {.fed = &numbers,
                           .written = &numbers,
                           .path = new_path(),
                           .cancelled = is_set,
                           .context = &flag};
    DataFile file;
    CHECK_OK(feed_open(open_engine(), &options, &feed, &err));
    CHECK(pthread_create(&thread, NULL, set_soon, &flag) == 0);
    produce_on(feed, 4, INT64_C(1) << 50, NULL);
    pthread_join(thread, NULL);
    CHECK(feed_take(feed) == NULL);
    CHECK(!feed_finish(feed, &arena, &file, &err));
    CHECK(err.kind == LH_CANCELLED && access(options.path, F_OK) != 0);
}

TEST("a cancel ends a feed that no row comes to") {
    OWNED(feed_close) RowFeed *feed = NULL;
    Flag flag = {0};
    FeedOptions options = {.fed = &numbers,
                           .written = &numbers,
                           .path = new_path(),
                           .cancelled = is_set,
                           .context = &flag};
    DataFile file;
    CHECK_OK(feed_open(open_engine(), &options, &feed, &err));
    usleep(100000);
    atomic_store(&flag.set, true);
    for (int i = 0; i < 500; i++) {
        RowBatch *batch = feed_take(feed);
        if (!batch) break;
        feed_give(feed, batch, 0);
        usleep(10000);
    }
    CHECK(feed_take(feed) == NULL && !feed_finish(feed, &arena, &file, &err));
    CHECK(err.kind == LH_CANCELLED);
}

TEST("closing an unfinished feed ends it at once, waiting or full, and leaves no file") {
    for (int full = 0; full < 2; full++) {
        RowFeed *feed = NULL;
        FeedOptions options = {.fed = &numbers, .written = &numbers, .path = new_path()};
        CHECK_OK(feed_open(open_engine(), &options, &feed, &err));
        if (full) produce_on(feed, 1, 20000, NULL);
        int64_t start = clock_us();
        feed_close(&feed);
        CHECK(clock_us() - start < 5000000 && access(options.path, F_OK) != 0);
    }
}

TEST("feeds that wait for their rows hold up no other") {
    OWNED(feed_close) RowFeed *busy = NULL;
    RowFeed *idle[3];
    DataFile file;
    for (size_t i = 0; i < COUNT(idle); i++) {
        FeedOptions options = {.fed = &numbers, .written = &numbers, .path = new_path()};
        CHECK_OK(feed_open(open_engine(), &options, &idle[i], &err));
        produce_on(idle[i], 1, 5000, NULL);
    }
    FeedOptions options = {.fed = &numbers, .written = &numbers, .path = new_path()};
    CHECK_OK(feed_open(open_engine(), &options, &busy, &err));
    produce_on(busy, 2, 400000, NULL);
    CHECK_OK(feed_finish(busy, &arena, &file, &err));
    CHECK_INT(file.rows, 400000);
    for (size_t i = 0; i < COUNT(idle); i++) {
        CHECK_OK(feed_finish(idle[i], &arena, &file, &err));
        CHECK_INT(file.rows, 5000);
        feed_close(&idle[i]);
    }
}

TEST("a feed of no rows is an empty file") {
    OWNED(feed_close) RowFeed *feed = NULL;
    FeedOptions options = {.fed = &numbers, .written = &numbers, .path = new_path()};
    DataFile file;
    CHECK_OK(feed_open(open_engine(), &options, &feed, &err));
    CHECK_OK(feed_finish(feed, &arena, &file, &err));
    CHECK_INT(file.rows, 0);
}

TEST("a disk that is full ends the producers, and finish says why") {
    OWNED(feed_close) RowFeed *feed = NULL;
    FeedOptions options = {.fed = &numbers, .written = &numbers, .path = new_path()};
    struct rlimit old, tiny;
    DataFile file;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    tiny = (struct rlimit){1 << 20, old.rlim_max};
    CHECK_OK(feed_open(open_engine(), &options, &feed, &err));
    setrlimit(RLIMIT_FSIZE, &tiny);
    produce_on(feed, 2, INT64_C(1) << 50, NULL);
    bool ok = feed_finish(feed, &arena, &file, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK(!ok && err.kind != LH_CANCELLED);
    CHECK(access(options.path, F_OK) != 0);
}

TEST("a statement that cannot run gives its error, and takes no rows") {
    static const Str projection[] = {STR("error('half-way: ' || n)"), STR("t")};
    OWNED(feed_close) RowFeed *feed = NULL;
    FeedOptions options = {
        .fed = &numbers, .written = &numbers, .projection = projection, .path = new_path()};
    DataFile file;
    CHECK_OK(feed_open(open_engine(), &options, &feed, &err));
    produce_on(feed, 2, INT64_C(1) << 50, NULL);
    CHECK(!feed_finish(feed, &arena, &file, &err));
    CHECK(strstr(err.message, "half-way") != NULL);
}

TEST("a text that is not UTF-8 fails the feed, short or long, and names the column") {
    static const Str bad[] = {STR("\xff"), STR("a longer text with an end of \xc3")};
    for (size_t i = 0; i < 2; i++) {
        OWNED(feed_close) RowFeed *feed = NULL;
        FeedOptions options = {.fed = &numbers, .written = &numbers, .path = new_path()};
        DataFile file;
        CHECK_OK(feed_open(open_engine(), &options, &feed, &err));
        RowBatch *batch = feed_take(feed);
        vector_bytes(batch_vector(batch, 1), 0, bad[i]);
        feed_give(feed, batch, 1);
        CHECK(!feed_finish(feed, &arena, &file, &err));
        CHECK_STR(str_from(err_word(&err)), "invalid_utf8");
        CHECK(strstr(err.message, "'t'") != NULL);
    }
}

TEST("the engine closes") {
    engine_close(&engine);
    arena_close(&arena);
    CHECK(engine == NULL);
}
