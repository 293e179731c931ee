/* How fast a MySQL table is read and decoded, its batches thrown away.
 *
 *     mysql_pull DSN TABLE PARTS [ROUNDS]
 *
 * prints CSV: parts, rows, seconds, rows per second. Beside it: mariadb --quick -NBr -e "SELECT
 * columns FROM table" >/dev/null on the same socket. */
#include "../tests/ingest/fed_rows.h"

#include "base/base.h"

typedef struct Part {
    Source *source;
    RowFeed *feed;
    size_t part;
    bool ok;
    Err err;
    pthread_t thread;
} Part;

static void *run(void *context) {
    Part *part = context;
    part->ok = part->source->ops->pull(part->source, part->part, part->feed, &part->err);
    return NULL;
}

static bool round_of(const SourceRequest *request, Err *err) {
    OWNED(source_close) Source *source = NULL;
    Part parts[SOURCE_PARTS_MAX];
    int64_t start = clock_us();
    if (!source_mysql(request, &source, err)) return false;
    OWNED(fed_close) RowFeed *feed = fed_open(source, false);
    for (size_t i = 0; i < source->parts; i++) {
        parts[i] = (Part){source, feed, i};
        if (pthread_create(&parts[i].thread, NULL, run, &parts[i])) abort();
    }
    bool ok = true;
    for (size_t i = 0; i < source->parts; i++) {
        pthread_join(parts[i].thread, NULL);
        if (!parts[i].ok) *err = parts[i].err, ok = false;
    }
    double seconds = (double)(clock_us() - start) / 1e6;
    printf("%zu,%lld,%.3f,%.0f\n", source->parts, (long long)feed->given, seconds,
           (double)feed->given / seconds);
    return ok;
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: mysql_pull DSN TABLE PARTS [ROUNDS]\n"), 2;
    SourceRequest request = {.dsn = str_from(argv[1]),
                             .table = str_from(argv[2]),
                             .parallel = atoi(argv[3]),
                             .batch_rows = FEED_BATCH_ROWS,
                             .connect_timeout_ms = 5000,
                             .idle_timeout_ms = 60000};
    Err err = {0};
    for (int i = 0; i < (argc > 4 ? atoi(argv[4]) : 1); i++)
        if (!round_of(&request, &err)) return fprintf(stderr, "%s\n", err.message), 1;
    return 0;
}
