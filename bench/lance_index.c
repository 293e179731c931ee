/* Vector indexes in Lance tables: building one, and searching it. bench/lance_index.mjs runs it
 * beside LanceDB, on data of bench/vector_data.c (base.f32, query.f32, exact.i32: ten nearest by
 * the cosine).
 *
 *     lance_index write ROOT TABLE DATA ROWS DIMENSION    doc_id and vector, one fragment;
 *                                                         prints milliseconds
 *     lance_index build ROOT TABLE PARTITIONS SUB_VECTORS prints milliseconds
 *     lance_index search ROOT TABLE DATA NPROBES REFINE CLIENTS prints JSON: recall of ten,
 *                       microseconds a search (median, 99 of 100), searches a second */
#include "lance/lance.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define K 10
#define PAGE_ROWS 8192
#define CLIENTS_MAX 16
#define ROUNDS 3

static Err err;

static void check(bool ok) {
    if (!ok) fprintf(stderr, "lance_index: %s\n", err.message), exit(1);
}

static void *data_read(const char *dir, const char *name, size_t *size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    if (!file) fprintf(stderr, "lance_index: cannot open '%s'\n", path), exit(1);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    void *data = malloc(*size + 1);
    if (!data || fread(data, 1, *size, file) != *size) exit(1);
    fclose(file);
    return data;
}

static void page_add(LanceWriter *writer, const float *vectors, size_t from, size_t rows) {
    OWNED(arena_close) Arena arena = {0};
    uint64_t *offsets = arena_array(&arena, uint64_t, rows + 1);
    char *ids = arena_alloc(&arena, rows * 16);
    for (size_t i = 0; i < rows; i++)
        offsets[i + 1] = offsets[i] + (size_t)snprintf(ids + offsets[i], 16, "doc-%06zu", from + i);
    LanceColumn columns[] = {
        {.values = ids, .offsets = offsets},
        {.values = vectors            }
    };
    LanceBatch batch = {.rows = rows, .column_count = 2, .columns = columns};
    check(lance_writer_add(writer, &batch, &err));
}

static int write_table(Store *store, char **words) {
    OWNED(lance_close) LanceTable *table = NULL;
    OWNED(lance_writer_close) LanceWriter *writer = NULL;
    size_t size, rows = (size_t)atol(words[2]), dimension = (size_t)atol(words[3]);
    float *vectors = data_read(words[1], "base.f32", &size);
    char type[64];
    snprintf(type, sizeof type, "fixed_size_list:float:%zu", dimension);
    LanceField fields[] = {
        {.name = STR("doc_id"), .type = lance_type(STR("string")) },
        {.name = STR("vector"), .type = lance_type(str_from(type))},
    };
    LanceSchema schema = {fields, 2};
    int64_t start = clock_us();
    check(lance_create(store, str_from(words[0]), &schema, &table, &err));
    check(lance_writer_open(table, NULL, &writer, &err));
    rows = MIN(rows, size / sizeof(float) / dimension);
    for (size_t at = 0; at < rows; at += PAGE_ROWS)
        page_add(writer, vectors + at * dimension, at, MIN((size_t)PAGE_ROWS, rows - at));
    check(lance_writer_commit(writer, &err));
    printf("%.1f\n", (double)(clock_us() - start) / 1000);
    free(vectors);
    return 0;
}

static int build(Store *store, char **words) {
    OWNED(lance_close) LanceTable *table = NULL;
    check(lance_open(store, str_from(words[0]), 0, &table, &err));
    LanceVectorIndexOptions options = {.column = STR("vector"),
                                       .metric = LANCE_COSINE,
                                       .partitions = (uint32_t)atol(words[1]),
                                       .sub_vectors = (uint32_t)atol(words[2])};
    int64_t start = clock_us();
    check(lance_index_vectors(table, &options, NULL, &err));
    printf("%.1f\n", (double)(clock_us() - start) / 1000);
    return 0;
}

typedef struct Client {
    LanceTable *table;
    const float *queries;
    const int32_t *exact;
    size_t dimension, first, step, count, hits;
    uint32_t nprobes, refine;
    int *times; /* nanoseconds, one a query */
    pthread_t thread;
} Client;

static size_t recall_of(const LanceHit *hits, size_t count, const int32_t *exact) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < K; k++)
            found += (int32_t)(hits[i].address & 0xffffffffu) == exact[k];
    return found;
}

static void *client_run(void *argument) {
    Client *client = argument;
    Err mine = {0};
    for (size_t i = client->first; i < client->count; i += client->step) {
        OWNED(arena_close) Arena arena = {0};
        LanceHit *hits;
        size_t count;
        LanceSearchOptions options = {.column = STR("vector"),
                                      .query = client->queries + i * client->dimension,
                                      .dimension = client->dimension,
                                      .k = K,
                                      .metric = LANCE_COSINE,
                                      .nprobes = client->nprobes,
                                      .refine = client->refine};
        int64_t start = clock_ns();
        if (!lance_search(client->table, &options, &arena, &hits, &count, &mine))
            fprintf(stderr, "lance_index: %s\n", mine.message), exit(1);
        client->times[i] = (int)(clock_ns() - start);
        client->hits += recall_of(hits, count, client->exact + i * K);
    }
    return NULL;
}

static int by_value(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

/* Once to warm up, then ROUNDS times; the last is reported, the best rate. */
static void search_print(const Client *of, size_t clients) {
    Client all[CLIENTS_MAX];
    double rate = 0;
    size_t hits = 0;
    for (int round = 0; round <= ROUNDS; round++) {
        int64_t start = clock_us();
        hits = 0;
        for (size_t i = 0; i < clients; i++) {
            all[i] = *of;
            all[i].first = i;
            all[i].step = clients;
            pthread_create(&all[i].thread, NULL, client_run, &all[i]);
        }
        for (size_t i = 0; i < clients; i++) pthread_join(all[i].thread, NULL), hits += all[i].hits;
        rate = MAX(rate, (double)of->count / ((double)(clock_us() - start) / 1e6));
    }
    qsort(of->times, of->count, sizeof *of->times, by_value);
    int middle = of->times[of->count / 2], late = of->times[of->count * 99 / 100];
    printf("{\"recall\":%.4f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"per_s\":%.0f}\n",
           (double)hits / (double)(of->count * K), middle / 1e3, late / 1e3, rate);
}

static int search(Store *store, char **words) {
    OWNED(lance_close) LanceTable *table = NULL;
    OWNED(arena_close) Arena arena = {0};
    LanceSchema schema;
    size_t size;
    check(lance_open(store, str_from(words[0]), 0, &table, &err));
    lance_schema(table, &arena, &schema);
    Client client = {.table = table, .dimension = schema.fields[1].type.dimension};
    client.queries = data_read(words[1], "query.f32", &size);
    client.count = size / sizeof(float) / client.dimension;
    client.exact = data_read(words[1], "exact.i32", &size);
    client.nprobes = (uint32_t)atol(words[2]);
    client.refine = (uint32_t)atol(words[3]);
    client.times = arena_array(&arena, int, client.count);
    search_print(&client, MIN((size_t)atol(words[4]), (size_t)CLIENTS_MAX));
    return 0;
}

int main(int argc, char **argv) {
    OWNED(store_close) Store *store = NULL;
    if (argc < 4)
        return fprintf(stderr, "usage: lance_index write|build|search ROOT TABLE ...\n"), 2;
    check(store_local_open_shared(str_from(argv[2]), &store, &err));
    if (str_is(str_from(argv[1]), "write") && argc == 7) return write_table(store, argv + 3);
    if (str_is(str_from(argv[1]), "build") && argc == 6) return build(store, argv + 3);
    if (str_is(str_from(argv[1]), "search") && argc == 8) return search(store, argv + 3);
    return fprintf(stderr, "lance_index: what shall be done?\n"), 2;
}
