#include "lance/lance_kit.h"

/* What was acknowledged before the process was killed. */
typedef struct Progress {
    uint64_t version, rows;
} Progress;

static bool change(LanceTable *table, const LanceSchema *schema, uint64_t n) {
    LanceCompacted done;
    LanceInfo info;
    uint64_t row;
    lance_info(table, &info);
    if (n % 7 == 6) return lance_compact(table, NULL, &done, &err);
    if (n % 3 != 2) return kit_append(table, schema, n * 10, 10);
    OWNED(lance_scan_close) LanceScan *scan = NULL;
    LanceBatch batch;
    if (!lance_scan(table, &(LanceScanOptions){.batch_rows = 1}, &scan, &err) ||
        !lance_scan_next(scan, &batch, &err))
        return false;
    row = batch.addresses[0];
    return lance_delete(table, &row, 1, NULL, &err);
}

static void change_forever(void *dir) {
    LanceSchema schema = kit_small_schema();
    Store *store = kit_store(dir);
    LanceTable *table;
    CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &table, &err));
    for (uint64_t n = random_u64() % 7;; n++) {
        CHECK_OK(change(table, &schema, n));
        Progress progress = {kit_version(table), kit_rows(table)};
        kit_acknowledge(&progress, sizeof progress);
    }
}

static void kill_often(const char *file_version) {
    const char *dir = kit_dir();
    static int64_t ids[100000];
    LanceSchema schema = kit_small_schema();
    Store *store = kit_store(dir);
    LanceTable *table = kit_table_in(store, file_version, &schema);
    CHECK_OK(kit_append(table, &schema, 0, 100));
    lance_close(&table);
    store_close(&store);
    for (int round = 0; round < kit_kills(50); round++) {
        size_t acks;
        const Progress *all = kit_kill(change_forever, (void *)dir, 30000, sizeof *all, &acks);
        Progress known = all[acks - 1];
        store = kit_store(dir);
        CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &table, &err));
        CHECK(kit_version(table) == known.version || kit_version(table) == known.version + 1);
        if (kit_version(table) == known.version) CHECK_INT(kit_rows(table), known.rows);
        CHECK_INT(kit_ids(table, ids, COUNT(ids)), kit_rows(table));
        LanceCleaned cleaned;
        if (round % 10 == 9) CHECK_OK(lance_cleanup(table, INT64_MAX, INT64_MAX, &cleaned, &err));
        CHECK_INT(kit_ids(table, ids, COUNT(ids)), kit_rows(table));
        lance_close(&table);
        store_close(&store);
    }
}

TEST("killed at 50 moments of appends, deletes and compactions: what was acknowledged is there, at "
     "most one version more, and every row can be read") {
    kill_often("2.0");
}
TEST("the same in files of LanceDB's default version") {
    kill_often("2.2");
}
