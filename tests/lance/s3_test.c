/* Tables on a real S3 server: versions are decided by conditional PUTs, rows are read by ranges. */
#include "kit/s3.h"
#include "lance/lance_kit.h"

#include <pthread.h>

#define WRITERS 3
#define APPENDS 8
#define CACHE_BYTES (4 << 20)

typedef struct Racer {
    Store *store;
    LanceTable *table;
    uint64_t from;
    bool ok;
    Err err;
} Racer;

static void *race(void *context) {
    Racer *racer = context;
    OWNED(arena_close) Arena arena = {0};
    LanceSchema schema;
    lance_schema(racer->table, &arena, &schema);
    racer->ok = true;
    for (uint64_t i = 0; racer->ok && i < APPENDS; i++) {
        LanceBatch batch = made_rows(&schema, racer->from + i * 10, 10, &arena);
        racer->ok = lance_append(racer->table, &batch, &racer->err);
    }
    return NULL;
}

/* A client of its own; `cache` NULL: the kit's. */
static Store *store_at(const char *prefix, ReadCache *cache) {
    S3Options options = kit_s3_options(kit_s3("ceph"), "lance");
    Store *store;
    options.prefix = str_from(prefix);
    if (cache) options.cache = cache;
    CHECK_OK(store_s3_open(&options, &store, &err));
    return store;
}

TEST("writers with stores of their own append to a table on S3 at once: every row is there once") {
    OWNED(store_close) Store *store = store_at("race", NULL);
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    pthread_t threads[WRITERS];
    Racer racers[WRITERS] = {0};
    static int64_t ids[500];
    for (uint64_t i = 0; i < WRITERS; i++) {
        racers[i].from = 1000 * (i + 1);
        racers[i].store = store_at("race", NULL);
        CHECK_OK(lance_open(racers[i].store, STR("a/t.lance"), 0, &racers[i].table, &err));
        pthread_create(&threads[i], NULL, race, &racers[i]);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        if (!racers[i].ok) printf("%s\n", racers[i].err.message);
        CHECK(racers[i].ok);
        lance_close(&racers[i].table);
        store_close(&racers[i].store);
    }
    CHECK_OK(lance_refresh(table, &err));
    CHECK_INT(kit_version(table), 1 + WRITERS * APPENDS);
    CHECK_INT(kit_ids(table, ids, COUNT(ids)), WRITERS * APPENDS * 10);
    for (size_t i = 0; i < WRITERS * APPENDS * 10; i++)
        for (size_t k = 0; k < i; k++) CHECK(ids[i] == -1 || ids[i] != ids[k]);
    uint64_t gone[] = {1, 2};
    LanceCompacted done;
    LanceCleaned cleaned;
    CHECK_OK(lance_delete(table, gone, 2, NULL, &err));
    CHECK_OK(lance_compact(table, NULL, &done, &err));
    CHECK_INT(done.fragments_after, 1);
    CHECK_OK(lance_cleanup(table, INT64_MAX, 0, &cleaned, &err));
    CHECK_INT(cleaned.versions, 2 + WRITERS * APPENDS);
    lance_close(&table);
    CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &table, &err));
    CHECK_INT(kit_rows(table), WRITERS * APPENDS * 10 - 2);
}

TEST("a table on S3 that is larger than the cache is read by ranges, and the cache keeps its "
     "bound") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(read_cache_close) ReadCache *cache = NULL;
    LanceField field = {.name = STR("v"), .type = lance_type(STR("fixed_size_list:float:768"))};
    LanceSchema schema = {&field, 1};
    cache_hooked();
    CHECK_OK(read_cache_open(kit_dir(), CACHE_BYTES, &cache, &err));
    OWNED(store_close) Store *store = store_at("large", cache);
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    OWNED(lance_scan_close) LanceScan *scan = NULL;
    CHECK_OK(kit_append(table, &schema, 0, 8000)); /* 24 MB */
    LanceBatch batch;
    uint64_t address = 4321, rows = 0;
    CHECK_OK(lance_take(table, &address, 1, &field.name, 1, &arena, &batch, &err));
    kit_check_value(&field, batch.columns, 0, address);
    CHECK(read_cache_bytes(cache) < 256 << 10); /* the row's blocks and those of the file's end */
    LanceScanOptions options = {.columns = &field.name, .column_count = 1, .batch_rows = 100};
    CHECK_OK(lance_scan(table, &options, &scan, &err));
    do {
        CHECK_OK(lance_scan_next(scan, &batch, &err));
        if (batch.rows > 0) kit_check_value(&field, batch.columns, 0, batch.addresses[0]);
        rows += batch.rows;
        CHECK(read_cache_bytes(cache) <= CACHE_BYTES);
    } while (batch.rows > 0);
    CHECK_INT(rows, 8000);
}
