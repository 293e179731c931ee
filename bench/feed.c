/* Five million rows of nine mixed columns into Parquet: fed by 1, 2 and 4 threads (feed.c), and by
 * a COPY of the same engine's that makes them itself from range(), in turns, so that whatever else
 * the machine does falls on both. Prints rows/s, the ratio to the COPY, and the memory at its most.
 *
 *     feed [ROWS] [ROUNDS] */
#include "query/query.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define THREADS_MAX 4
#define ROUNDS_MAX 15

static Field fields[] = {
    {.id = 1, .name = STR("id"),     .type = {.kind = TYPE_LONG}                                },
    {.id = 2, .name = STR("ref"),    .type = {.kind = TYPE_LONG}                                },
    {.id = 3, .name = STR("x"),      .type = {.kind = TYPE_DOUBLE}                              },
    {.id = 4, .name = STR("flag"),   .type = {.kind = TYPE_BOOLEAN}                             },
    {.id = 5, .name = STR("name"),   .type = {.kind = TYPE_STRING}                              },
    {.id = 6, .name = STR("mail"),   .type = {.kind = TYPE_STRING}                              },
    {.id = 7, .name = STR("state"),  .type = {.kind = TYPE_STRING}                              },
    {.id = 8, .name = STR("at"),     .type = {.kind = TYPE_TIMESTAMP}                           },
    {.id = 9, .name = STR("amount"), .type = {.kind = TYPE_DECIMAL, .precision = 12, .scale = 2}},
};
static const Schema schema = {.fields = fields, .len = COUNT(fields)};
static const char select_same[] =
    "SELECT n AS id, (n * 7919) %% 1000003 AS ref, n / 3.0 AS x, n %% 2 = 0 AS flag, "
    "'name ' || (n %% 50000) AS name, 'user.' || n || '@example.com' AS mail, "
    "'state' || (n %% 7) AS state, make_timestamp(1700000000000000 + n * 1000000) AS at, "
    "((n * 31) %% 10000000 / 100)::DECIMAL(12,2) AS amount FROM range(%lld) t(n)";

typedef struct Producer {
    RowFeed *feed;
    int64_t next, end;
} Producer;

static size_t put_text(char *out, const char *head, size_t head_len, int64_t n, const char *tail,
                       size_t tail_len) {
    char digits[24];
    size_t count = 0, len = head_len;
    memcpy(out, head, head_len);
    do digits[count++] = (char)('0' + n % 10);
    while (n /= 10);
    while (count) out[len++] = digits[--count];
    memcpy(out + len, tail, tail_len);
    return len + tail_len;
}

static void put(BatchVector *vector, size_t row, const char *head, int64_t n, const char *tail) {
    char text[64];
    vector_bytes(vector, row,
                 (Str){text, put_text(text, head, strlen(head), n, tail, strlen(tail))});
}

#define VALUES(column, type) ((type *)vector_values(batch_vector(batch, column)))

static void fill(RowBatch *batch, int64_t first, size_t rows) {
    int64_t *id = VALUES(0, int64_t), *ref = VALUES(1, int64_t), *at = VALUES(7, int64_t),
            *amount = VALUES(8, int64_t);
    double *x = VALUES(2, double);
    uint8_t *flag = VALUES(3, uint8_t);
    for (size_t i = 0; i < rows; i++) {
        int64_t n = first + (int64_t)i;
        id[i] = n;
        ref[i] = n * 7919 % 1000003;
        x[i] = (double)n / 3;
        flag[i] = n % 2 == 0;
        put(batch_vector(batch, 4), i, "name ", n % 50000, "");
        put(batch_vector(batch, 5), i, "user.", n, "@example.com");
        put(batch_vector(batch, 6), i, "state", n % 7, "");
        at[i] = 1700000000000000 + n * 1000000;
        amount[i] = n * 31 % 10000000;
        for (size_t c = 0; c < COUNT(fields); c++) vector_set_valid(batch_vector(batch, c), i);
    }
}

static void *produce(void *context) {
    Producer *p = context;
    RowBatch *batch;
    while (p->next < p->end && (batch = feed_take(p->feed))) {
        size_t rows = (size_t)MIN(p->end - p->next, FEED_BATCH_ROWS);
        fill(batch, p->next, rows);
        feed_give(p->feed, batch, rows);
        p->next += (int64_t)rows;
    }
    return NULL;
}

static void must(bool ok, const Err *err) {
    if (ok) return;
    fprintf(stderr, "feed: %s\n", err->message);
    exit(1);
}

/* Seconds of one run; threads 0: the COPY from range(). */
static double run_once(Engine *engine, int threads, int64_t rows, const char *path) {
    OWNED(arena_close) Arena arena = {0};
    DataFile file;
    Err err = {0};
    int64_t start = clock_us();
    if (threads == 0) {
        Str select = arena_print(&arena, select_same, (long long)rows);
        must(engine_copy_parquet(engine, select, &schema, path, NULL, NULL, &arena, &file, &err),
             &err);
    } else {
        OWNED(feed_close) RowFeed *feed = NULL;
        const FeedOptions options = {.fed = &schema, .written = &schema, .path = path};
        Producer producers[THREADS_MAX];
        pthread_t ids[THREADS_MAX];
        must(feed_open(engine, &options, &feed, &err), &err);
        for (int i = 0; i < threads; i++) {
            producers[i] = (Producer){feed, rows * i / threads, rows * (i + 1) / threads};
            if (pthread_create(&ids[i], NULL, produce, &producers[i])) exit(1);
        }
        for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
        must(feed_finish(feed, &arena, &file, &err), &err);
    }
    if (file.rows != rows) exit(1);
    unlink(path);
    return (double)(clock_us() - start) / 1e6;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static long memory_mib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

int main(int argc, char **argv) {
    static const int threads[] = {1, 2, 4, 0}; /* the COPY last: the memory of feeds comes first */
    int64_t rows = argc > 1 ? atoll(argv[1]) : 5000000;
    int rounds = argc > 2 ? MIN(MAX(atoi(argv[2]), 1), ROUNDS_MAX) : 5;
    double seconds[COUNT(threads)][ROUNDS_MAX];
    long memory[COUNT(threads)] = {0};
    char dir[] = "/tmp/feed-XXXXXX", path[64];
    Engine *engine = NULL;
    Err err = {0};
    if (!mkdtemp(dir)) return 1;
    EngineOptions options = {
        .memory_bytes = 1ll << 30, .spill_dir = dir, .spill_bytes_max = 1 << 30, .queries_max = 4};
    must(engine_open(&options, NULL, &engine, &err), &err);
    snprintf(path, sizeof path, "%s/out.parquet", dir);
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < COUNT(threads); i++) {
            seconds[i][round] = run_once(engine, threads[i], rows, path);
            if (round == 0) memory[i] = memory_mib();
        }
    for (size_t i = 0; i < COUNT(threads); i++)
        qsort(seconds[i], (size_t)rounds, sizeof **seconds, by_size);
    double copy = seconds[COUNT(threads) - 1][rounds / 2];
    printf("producers,rows_per_s,of_the_copy,memory_mib_so_far\n");
    for (size_t i = 0; i < COUNT(threads); i++) {
        double median = seconds[i][rounds / 2];
        printf("%d,%.0f,%.2f,%ld\n", threads[i], (double)rows / median, copy / median, memory[i]);
    }
    engine_close(&engine);
    rmdir(dir);
    return 0;
}
