/* Tables on a real S3 server: versions are decided by conditional PUTs. */
#include "kit/s3.h"
#include "lance/lance_kit.h"

#include <pthread.h>

#define WRITERS 3
#define APPENDS 8

typedef struct Racer {
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

TEST("writers with handles of their own append to a table on S3 at once: every row is there once") {
    OWNED(store_close) Store *store = kit_s3_store(kit_s3("ceph"), "lance");
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    pthread_t threads[WRITERS];
    Racer racers[WRITERS] = {0};
    static int64_t ids[500];
    for (uint64_t i = 0; i < WRITERS; i++) {
        racers[i].from = 1000 * (i + 1);
        CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &racers[i].table, &err));
        pthread_create(&threads[i], NULL, race, &racers[i]);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        if (!racers[i].ok) printf("%s\n", racers[i].err.message);
        CHECK(racers[i].ok);
        lance_close(&racers[i].table);
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
