/* How fast rows of PostgreSQL are pulled and decoded, without what is then done with them: batches
 * are filled and thrown away. In turns with what is asked beside it (psql's COPY, by bench/run), so
 * that whatever else the machine does falls on both. Prints the medians in milliseconds.
 *
 *     postgres_pull DSN TABLE ROUNDS "COMMAND TO COMPARE WITH" */
#include "ingest/source.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* In place of query/feed.c: one batch a part, of memory that stays. */
struct BatchVector {
    Type type;
    void *values;
    Text bytes;
    size_t valid;
    BatchVector *child;
    size_t elements;
};
struct RowBatch {
    BatchVector *vectors;
    size_t count;
};
struct RowFeed {
    const Source *source;
    size_t part;
    RowBatch batch;
    Str seen; /* what was decoded is there to be read */
    int64_t rows;
};

static void vector_init(BatchVector *vector, const Type *type) {
    vector->type = *type;
    vector->values = calloc(FEED_BATCH_ROWS, 16);
    if (type->kind != TYPE_LIST) return;
    vector->child = calloc(1, sizeof *vector->child);
    vector_init(vector->child, &type->fields[0].type);
}

RowBatch *feed_take(RowFeed *feed) {
    RowBatch *batch = &feed->batch;
    if (!batch->vectors) {
        batch->count = feed->source->column_count;
        batch->vectors = calloc(batch->count, sizeof *batch->vectors);
        for (size_t i = 0; i < batch->count; i++)
            vector_init(&batch->vectors[i], &feed->source->columns[i].type);
    }
    for (size_t i = 0; i < batch->count; i++) {
        text_clear(&batch->vectors[i].bytes);
        batch->vectors[i].elements = 0;
    }
    return batch;
}

void feed_give(RowFeed *feed, RowBatch *batch, size_t rows) {
    (void)batch;
    feed->rows += (int64_t)rows;
}

BatchVector *batch_vector(RowBatch *batch, size_t column) {
    return &batch->vectors[column];
}

void *vector_values(BatchVector *vector) {
    return vector->values;
}

void vector_set_valid(BatchVector *vector, size_t row) {
    vector->valid += row;
}

void vector_bytes(BatchVector *vector, size_t row, Str value) {
    vector->valid += row;
    text_add(&vector->bytes, value);
}

BatchVector *vector_list(BatchVector *vector, size_t row, size_t len, size_t *at) {
    BatchVector *child = vector->child;
    vector->valid += row;
    *at = child->elements;
    child->elements += len;
    child->values = realloc(child->values, MAX(child->elements, (size_t)FEED_BATCH_ROWS) * 16);
    return child;
}

static void *pull_part(void *context) {
    RowFeed *feed = context;
    Source *source = (Source *)(uintptr_t)feed->source;
    Err err = {0};
    if (!source->ops->pull(source, feed->part, feed, &err)) {
        fprintf(stderr, "postgres_pull: %s\n", err.message);
        exit(1);
    }
    return NULL;
}

static int64_t pull(const SourceRequest *request, int64_t *rows) {
    OWNED(source_close) Source *source = NULL;
    RowFeed feeds[SOURCE_PARTS_MAX] = {0};
    pthread_t threads[SOURCE_PARTS_MAX];
    Err err = {0};
    int64_t began = clock_us();
    if (!source_postgres(request, &source, &err)) {
        fprintf(stderr, "postgres_pull: %s\n", err.message);
        exit(1);
    }
    *rows = 0;
    for (size_t i = 0; i < source->parts; i++) {
        feeds[i].source = source;
        feeds[i].part = i;
        pthread_create(&threads[i], NULL, pull_part, &feeds[i]);
    }
    for (size_t i = 0; i < source->parts; i++) {
        pthread_join(threads[i], NULL);
        *rows += feeds[i].rows;
    }
    return (clock_us() - began) / 1000; /* the batches stay: a round is a few MB */
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

#define ROUNDS_MAX 100

static void print_median(const char *name, int64_t *times, int rounds, int64_t rows) {
    qsort(times, (size_t)rounds, sizeof *times, by_value);
    int64_t median = times[rounds / 2];
    printf("%s,%lld,%.0f\n", name, (long long)median, (double)rows * 1000 / (double)MAX(median, 1));
}

int main(int argc, char **argv) {
    int64_t times[3][ROUNDS_MAX], rows = 0;
    if (argc != 5) return fprintf(stderr, "usage: postgres_pull DSN TABLE ROUNDS COMMAND\n"), 2;
    int rounds = MIN(MAX(atoi(argv[3]), 1), ROUNDS_MAX);
    SourceRequest request = {.dsn = str_from(argv[1]),
                             .table = str_from(argv[2]),
                             .connect_timeout_ms = 10000,
                             .idle_timeout_ms = 60000};
    for (int i = 0; i < rounds; i++) {
        for (int parts = 1; parts <= 2; parts++) {
            request.parallel = parts;
            times[parts - 1][i] = pull(&request, &rows);
        }
        int64_t began = clock_us();
        if (system(argv[4])) return fprintf(stderr, "postgres_pull: %s fails\n", argv[4]), 1;
        times[2][i] = (clock_us() - began) / 1000;
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("what,median_ms,rows_per_s\n");
    print_median("one part", times[0], rounds, rows);
    print_median("two parts", times[1], rounds, rows);
    print_median("command", times[2], rounds, rows);
    printf("memory,%ld MB,\n", usage.ru_maxrss / 1024);
    return 0;
}
