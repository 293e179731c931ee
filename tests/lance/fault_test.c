#include "storage/fault.h"

#include "lance/lance_kit.h"

typedef bool Step(LanceTable *table, const LanceSchema *schema);

static bool step_append(LanceTable *table, const LanceSchema *schema) {
    return kit_append(table, schema, 20, 10);
}

static bool step_delete(LanceTable *table, const LanceSchema *schema) {
    uint64_t rows[] = {1, 2, (uint64_t)1 << 32};
    (void)schema;
    return lance_delete(table, rows, 3, NULL, &err);
}

static bool step_update(LanceTable *table, const LanceSchema *schema) {
    OWNED(arena_close) Arena arena = {0};
    LanceBatch batch = made_rows(schema, 30, 2, &arena);
    uint64_t rows[] = {1, 2};
    return lance_update(table, rows, 2, &batch, &err);
}

static bool step_compact(LanceTable *table, const LanceSchema *schema) {
    LanceCompacted done;
    (void)schema;
    return lance_compact(table, NULL, &done, &err);
}

static bool step_replace(LanceTable *table, const LanceSchema *schema) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(lance_writer_close) LanceWriter *writer = NULL;
    LanceBatch batch = made_rows(schema, 20, 10, &arena);
    return lance_writer_open(table, schema, &writer, &err) &&
           lance_writer_add(writer, &batch, &err) && lance_writer_replace(writer, &err);
}

/* Fails the first call of a change, then the second, until it meets none: the table stands at the
 * version before or at the one after, whole, and goes on from there. */
static void fail_each_call_in(const char *file_version, Step *step, uint64_t rows_after) {
    const char *dir = kit_dir();
    for (int n = 1;; n++) {
        char root[256];
        snprintf(root, sizeof root, "%s/%d", dir, n);
        OWNED(store_close) Store *store = kit_store(root);
        LanceSchema schema = kit_small_schema();
        OWNED(lance_close) LanceTable *table = kit_table_in(store, file_version, &schema);
        OWNED(lance_close) LanceTable *after = NULL;
        int64_t ids[60];
        CHECK_OK(kit_append(table, &schema, 0, 10));
        CHECK_OK(kit_append(table, &schema, 10, 10));
        fault_in = n;
        bool ok = step(table, &schema);
        bool met = fault_in == 0;
        fault_in = 0;
        CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &after, &err));
        uint64_t version = kit_version(after);
        CHECK(version == 3 || version == 4);
        CHECK(!ok || version == 4);
        CHECK_INT(kit_ids(after, ids, 60), version == 4 ? rows_after : 20);
        CHECK_OK(lance_refresh(table, &err));
        CHECK_OK(kit_append(table, &schema, 50, 5));
        CHECK_INT(kit_rows(table), (version == 4 ? rows_after : 20) + 5);
        if (!met) return CHECK(n > 4);
    }
}

static void fail_each_call(Step *step, uint64_t rows_after) {
    fail_each_call_in("2.0", step, rows_after);
    fail_each_call_in("2.2", step, rows_after);
}

TEST("whichever call of an append fails, the table has all of its rows or none") {
    fail_each_call(step_append, 30);
}
TEST("whichever call of a delete fails, the table is whole") {
    fail_each_call(step_delete, 17);
}
TEST("whichever call of an update fails, no row is lost and none comes twice") {
    fail_each_call(step_update, 20);
}
TEST("whichever call of a compaction fails, the table is whole") {
    fail_each_call(step_compact, 20);
}
TEST("whichever call of a replacement of rows and columns fails, the old rows are there or the "
     "new") {
    fail_each_call(step_replace, 10);
}
