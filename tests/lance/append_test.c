#include "lance/lance_kit.h"

static bool replace(LanceTable *table, const LanceSchema *schema, uint64_t from, size_t rows) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(lance_writer_close) LanceWriter *writer = NULL;
    LanceBatch batch = made_rows(schema, from, rows, &arena);
    return lance_writer_open(table, schema, &writer, &err) &&
           (rows == 0 || lance_writer_add(writer, &batch, &err)) &&
           lance_writer_replace(writer, &err);
}

static LanceSchema vectors_schema(void) {
    static LanceField fields[2];
    fields[0] = (LanceField){.name = STR("v"), .type = lance_type(STR("fixed_size_list:float:7"))};
    fields[1] = (LanceField){.name = STR("id"), .type = lance_type(STR("int64")), .nullable = true};
    return (LanceSchema){fields, 2};
}

TEST(
    "rows of other columns take the place of all in one version, and the version before is whole") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema small = kit_small_schema(), vectors = vectors_schema(), read;
    OWNED(lance_close) LanceTable *table = kit_table(store, &small);
    OWNED(lance_close) LanceTable *before = NULL;
    LanceVersion *versions;
    LanceBatch batch;
    LanceInfo info;
    size_t count;
    int64_t ids[60];
    CHECK_OK(kit_append(table, &small, 0, 10));
    CHECK_OK(lance_index_scalar(table, STR("id"), NULL, &err));
    CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &before, &err));
    CHECK_OK(replace(table, &vectors, 100, 20));
    lance_schema(table, &arena, &read);
    lance_info(table, &info);
    CHECK_INT(read.len, 2);
    CHECK_STR(read.fields[0].name, "v");
    CHECK_INT(read.fields[0].type.dimension, 7);
    CHECK_INT(info.version, 4);
    CHECK_INT(info.indexes, 0);
    CHECK_INT(kit_ids(table, ids, 60), 20);
    CHECK_INT(ids[19], 119);
    uint64_t address = (uint64_t)1 << 32 | 5;
    CHECK_OK(lance_take(table, &address, 1, &vectors.fields[0].name, 1, &arena, &batch, &err));
    kit_check_value(&vectors.fields[0], batch.columns, 0, 105);
    CHECK_INT(kit_ids(before, ids, 60), 10);
    CHECK_OK(lance_versions(table, &arena, &versions, &count, &err));
    CHECK_STR(str_from(versions[3].operation), "Overwrite");
    CHECK_OK(kit_append(table, &vectors, 120, 5));
    CHECK_OK(lance_restore(table, 3, &err));
    CHECK_INT(kit_ids(table, ids, 60), 10);
    CHECK_OK(kit_append(table, &small, 10, 10));
    CHECK_INT(kit_ids(table, ids, 60), 20);
}

TEST("a table without rows may get other columns too; an append of the old ones is then a "
     "conflict") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema small = kit_small_schema(), vectors = vectors_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &small);
    OWNED(lance_close) LanceTable *stale = NULL;
    CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &stale, &err));
    CHECK_OK(replace(table, &vectors, 0, 0));
    CHECK_INT(kit_version(table), 2);
    CHECK(!kit_append(stale, &small, 0, 10));
    CHECK_STR(str_from(err_word(&err)), "lance_conflict");
    CHECK_OK(kit_append(table, &vectors, 0, 10));
    CHECK_INT(kit_rows(table), 10);
}
