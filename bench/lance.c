/* Lance tables: what an append of 100 rows and a take of one row cost, on a table of vectors as an
 * index has it. Each append is followed by what it must at least have been to a program without
 * more thought: two files of the same sizes, each written and made durable, and then its folder.
 * bench/lance.mjs runs it beside LanceDB.
 * usage: lance DIR     prints JSON: medians in microseconds, bytes on the disk of an append */
#include "lance/lance.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIMENSION 768
#define ROWS 100
#define APPENDS 200
#define TAKES 5000
#define MANIFEST_BYTES 6000 /* of the middle one of so many appends */

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

static uint64_t bytes_below(Store *store, Str prefix) {
    OWNED(arena_close) Arena arena = {0};
    ListOptions options = {.prefix = prefix, .limit = STORE_LIST_MAX};
    ObjectList list;
    uint64_t bytes = 0;
    do {
        check(store_list(store, &options, &arena, &list, &err));
        for (size_t i = 0; i < list.object_count; i++) bytes += list.objects[i].info.size;
        options.after = list.next;
    } while (list.next.len > 0);
    return bytes;
}

static void write_durably(int folder, const void *data, size_t size) {
    char name[24];
    snprintf(name, sizeof name, "%016llx", (unsigned long long)random_u64());
    OWNED(fd_close) int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    check(fd >= 0 && fd_write(fd, (Bytes){data, size}, &err) && !fsync(fd) && !fsync(folder));
}

typedef struct Appended {
    int append_us, plain_us;
    uint64_t bytes; /* of each */
} Appended;

static Appended appends(Store *store, LanceTable *table, const char *dir) {
    static int times[APPENDS], plain[APPENDS];
    OWNED(arena_close) Arena arena = {0};
    OWNED(fd_close) int folder = open(dir, O_DIRECTORY | O_CLOEXEC);
    LanceBatch batch = rows_make(&arena, ROWS);
    uint64_t before = bytes_below(store, STR("ours.lance/"));
    for (size_t i = 0; i < APPENDS; i++) {
        int64_t start = clock_us();
        check(lance_append(table, &batch, &err));
        times[i] = (int)(clock_us() - start);
        start = clock_us();
        write_durably(folder, batch.columns[1].values, ROWS * DIMENSION * sizeof(float));
        write_durably(folder, batch.columns[1].values, MANIFEST_BYTES);
        plain[i] = (int)(clock_us() - start);
    }
    uint64_t bytes = (bytes_below(store, STR("ours.lance/")) - before) / APPENDS;
    return (Appended){median(times, APPENDS), median(plain, APPENDS), bytes};
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
    LanceCompacted done;
    if (argc < 2) return fprintf(stderr, "usage: lance DIR\n"), 2;
    check(store_local_open(str_from(argv[1]), &store, &err));
    check(lance_create(store, STR("ours.lance"), &schema, &table, &err));
    Appended appended = appends(store, table, argv[1]);
    double take_us = takes(table, 0, APPENDS, ROWS), scan_rate = scan(table);
    check(lance_compact(table, NULL, &done, &err));
    double compacted_us = takes(table, APPENDS, 1, (uint64_t)APPENDS * ROWS);
    printf("{\"append_us\":%d,\"plain_us\":%d,\"append_bytes\":%llu,\"take_us\":%.2f,"
           "\"take_compacted_us\":%.2f,\"scan_rows_per_s\":%.0f}\n",
           appended.append_us, appended.plain_us, (unsigned long long)appended.bytes, take_us,
           compacted_us, scan_rate);
    return 0;
}
