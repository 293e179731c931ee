/* Lance tables: what an append of 100 rows and a take of one row cost, on a table of vectors as an
 * index has it. bench/lance.mjs runs it beside LanceDB.
 * usage: lance DIR     prints JSON: medians in microseconds, bytes that an append wrote */
#include "lance/lance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIMENSION 768
#define ROWS 100
#define APPENDS 200
#define TAKES 5000

static Err err;

static void check(bool ok) {
    if (!ok) fprintf(stderr, "lance: %s\n", err.message), exit(1);
}

static LanceBatch rows_make(Arena *arena, size_t rows) {
    LanceColumn *columns = arena_array(arena, LanceColumn, 2);
    uint64_t *offsets = arena_array(arena, uint64_t, rows + 1);
    char *ids = arena_alloc(arena, rows * 16);
    float *vectors = arena_alloc(arena, rows * DIMENSION * sizeof *vectors);
    for (size_t i = 0; i < rows; i++)
        offsets[i + 1] = offsets[i] + (size_t)snprintf(ids + offsets[i], 16, "doc-%06zu", i);
    for (size_t i = 0; i < rows * DIMENSION; i++) vectors[i] = (float)(random_u64() % 1000) / 1000;
    columns[0] = (LanceColumn){.values = ids, .offsets = offsets};
    columns[1] = (LanceColumn){.values = vectors};
    return (LanceBatch){.rows = rows, .column_count = 2, .columns = columns};
}

static int by_value(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

static int median(int *times, size_t count) {
    qsort(times, count, sizeof *times, by_value);
    return times[count / 2];
}

static int appends(LanceTable *table, uint64_t *bytes) {
    static int times[APPENDS];
    OWNED(arena_close) Arena arena = {0};
    LanceBatch batch = rows_make(&arena, ROWS);
    LanceInfo before, after;
    for (size_t i = 0; i < APPENDS; i++) {
        lance_info(table, &before);
        int64_t start = clock_us();
        check(lance_append(table, &batch, &err));
        times[i] = (int)(clock_us() - start);
    }
    lance_info(table, &after);
    *bytes = after.bytes - before.bytes;
    return median(times, APPENDS);
}

/* Each take gets its columns by name anew, as a request does. */
static double takes(LanceTable *table, uint64_t first, uint64_t fragments, uint64_t rows) {
    const Str names[] = {STR("id"), STR("vector")};
    int64_t start = clock_us();
    for (size_t i = 0; i < TAKES; i++) {
        OWNED(arena_close) Arena arena = {0};
        LanceBatch batch;
        uint64_t address = (first + random_u64() % fragments) << 32 | random_u64() % rows;
        check(lance_take(table, &address, 1, names, 2, &arena, &batch, &err));
    }
    return (double)(clock_us() - start) / TAKES;
}

static double scan(LanceTable *table) {
    OWNED(lance_scan_close) LanceScan *open = NULL;
    const Str name = STR("vector");
    LanceBatch batch;
    uint64_t rows = 0;
    float sum = 0;
    int64_t start = clock_us();
    check(lance_scan(table, &(LanceScanOptions){.columns = &name, .column_count = 1}, &open, &err));
    do {
        check(lance_scan_next(open, &batch, &err));
        const float *values = batch.rows ? batch.columns[0].values : NULL;
        for (size_t i = 0; i < batch.rows; i++) sum += values[i * DIMENSION];
        rows += batch.rows;
    } while (batch.rows > 0);
    return sum < 0 ? 0 : (double)rows / ((double)(clock_us() - start) / 1e6);
}

int main(int argc, char **argv) {
    OWNED(store_close) Store *store = NULL;
    OWNED(lance_close) LanceTable *table = NULL;
    LanceField fields[] = {
        {.name = STR("id"),     .type = lance_type(STR("string"))                   },
        {.name = STR("vector"), .type = lance_type(STR("fixed_size_list:float:768"))},
    };
    LanceSchema schema = {fields, 2};
    uint64_t bytes;
    LanceCompacted done;
    if (argc < 2) return fprintf(stderr, "usage: lance DIR\n"), 2;
    check(store_local_open(str_from(argv[1]), &store, &err));
    check(lance_create(store, STR("ours.lance"), &schema, &table, &err));
    int append_us = appends(table, &bytes);
    double take_us = takes(table, 0, APPENDS, ROWS), scan_rate = scan(table);
    check(lance_compact(table, NULL, &done, &err));
    double compacted_us = takes(table, APPENDS, 1, (uint64_t)APPENDS * ROWS);
    printf("{\"append_us\":%d,\"append_bytes\":%llu,\"take_us\":%.2f,\"take_compacted_us\":%.2f,"
           "\"scan_rows_per_s\":%.0f}\n",
           append_us, (unsigned long long)bytes, take_us, compacted_us, scan_rate);
    return 0;
}
