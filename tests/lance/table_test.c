#include "lance/data_file.h"
#include "lance/lance_kit.h"

#include <unistd.h>

static void check_rows_come_back(const char *file_version) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_schema(&arena);
    OWNED(lance_close) LanceTable *table = kit_table_in(store, file_version, &schema);
    CHECK_OK(kit_append(table, &schema, 0, 1));
    CHECK_OK(kit_append(table, &schema, 1, 6999));
    CHECK_OK(kit_append(table, &schema, 7000, 3000));
    LanceInfo info;
    lance_info(table, &info);
    CHECK_INT(info.rows, 10000);
    CHECK_STR(str_from(info.file_version), file_version);
    static const size_t sizes[] = {1024, 333, 10000};
    for (size_t s = 0; s < COUNT(sizes); s++) {
        OWNED(lance_scan_close) LanceScan *scan = NULL;
        LanceScanOptions options = {.columns = kit_names(&schema, &arena),
                                    .column_count = schema.len,
                                    .batch_rows = sizes[s]};
        LanceBatch batch;
        uint64_t n = 0;
        CHECK_OK(lance_scan(table, &options, &scan, &err));
        for (;;) {
            CHECK_OK(lance_scan_next(scan, &batch, &err));
            if (batch.rows == 0) break;
            for (size_t row = 0; row < batch.rows; row += 13)
                for (size_t c = 0; c < schema.len; c++)
                    kit_check_value(&schema.fields[c], &batch.columns[c], row, n + row);
            n += batch.rows;
        }
        CHECK_INT(n, 10000);
    }
    uint64_t addresses[500];
    LanceBatch taken;
    for (uint64_t i = 0; i < 500; i++) {
        uint64_t n = i * 7919 % 10000;
        addresses[i] = n == 0     ? 0
                       : n < 7000 ? (uint64_t)1 << 32 | (n - 1)
                                  : (uint64_t)2 << 32 | (n - 7000);
    }
    CHECK_OK(lance_take(table, addresses, 500, kit_names(&schema, &arena), schema.len, &arena,
                        &taken, &err));
    for (uint64_t i = 0; i < 500; i++)
        for (size_t c = 0; c < schema.len; c++)
            kit_check_value(&schema.fields[c], &taken.columns[c], i, i * 7919 % 10000);
}

TEST(
    "10,000 rows of every type come back as they went in, by scans of any batch and by takes, from "
    "files of every version") {
    for (size_t i = 0; i < COUNT(kit_file_versions); i++)
        check_rows_come_back(kit_file_versions[i]);
}

/* How many data and index files there are below the table; all of them are of the version. */
static size_t files_of_version(Store *store, uint32_t version) {
    OWNED(arena_close) Arena arena = {0};
    ListOptions options = {.prefix = STR("a/t.lance/"), .limit = STORE_LIST_MAX};
    ObjectList list;
    size_t count = 0;
    CHECK_OK(store_list(store, &options, &arena, &list, &err));
    for (size_t i = 0; i < list.object_count; i++) {
        OWNED(lance_file_close) LanceFile *file = NULL;
        uint32_t major, minor;
        if (!str_ends(list.objects[i].key, STR(".lance")) &&
            !str_ends(list.objects[i].key, STR(".idx")))
            continue;
        CHECK_OK(lance_file_open(store, list.objects[i].key, 0, &file, &err));
        lance_file_version(file, &major, &minor);
        CHECK(major == 2 && minor == version);
        count++;
    }
    return count;
}

TEST("every file that a change or an index adds is of the version that the table was created in") {
    LanceField fields[] = {
        {.name = STR("id"), .type = lance_type(STR("int64"))                  },
        {.name = STR("v"),  .type = lance_type(STR("fixed_size_list:float:8"))}
    };
    LanceSchema schema = {fields, COUNT(fields)};
    LanceVectorIndexOptions options = {.column = STR("v"), .partitions = 2};
    for (uint32_t minor = 0; minor < COUNT(kit_file_versions); minor++) {
        OWNED(arena_close) Arena arena = {0};
        OWNED(store_close) Store *store = kit_store(kit_dir());
        OWNED(lance_close)
        LanceTable *table = kit_table_in(store, kit_file_versions[minor], &schema);
        LanceBatch batch = made_rows(&schema, 900, 2, &arena);
        uint64_t rows[] = {3, 4};
        LanceCompacted compacted;
        CHECK_OK(kit_append(table, &schema, 0, 600));
        CHECK_OK(lance_index_vectors(table, &options, NULL, &err));
        CHECK_OK(lance_index_scalar(table, STR("id"), NULL, &err));
        CHECK_OK(lance_update(table, rows, 2, &batch, &err));
        CHECK_OK(lance_compact(table, NULL, &compacted, &err));
        CHECK_OK(lance_index_update(table, NULL, NULL, &err));
        CHECK_INT(files_of_version(store, minor), 3 + 4 + 4);
    }
}

TEST("deleted rows are gone from scans and takes, twice deleting is no error, and a version that "
     "was checked out still has them") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    CHECK_OK(kit_append(table, &schema, 0, 100));
    uint64_t rows[] = {5, 99, 5, 0}, deleted = 9;
    int64_t ids[200];
    LanceBatch batch;
    Str name = STR("id");
    CHECK_OK(lance_delete(table, rows, 4, &deleted, &err));
    CHECK_INT(deleted, 3);
    CHECK_INT(kit_version(table), 3);
    CHECK_OK(lance_delete(table, rows, 4, &deleted, &err));
    CHECK_INT(deleted, 0);
    CHECK_INT(kit_version(table), 3); /* nothing changed, no version */
    CHECK_INT(kit_ids(table, ids, 200), 97);
    CHECK_INT(ids[0], 1);
    CHECK(!lance_take(table, rows, 1, &name, 1, &arena, &batch, &err));
    CHECK_STR(str_from(err_word(&err)), "row_not_found");
    CHECK_OK(lance_checkout(table, 2, &err));
    CHECK_INT(kit_ids(table, ids, 200), 100);
    CHECK(!kit_append(table, &schema, 0, 1));
    CHECK_STR(str_from(err_word(&err)), "lance_conflict");
    CHECK_OK(lance_refresh(table, &err));
    CHECK_INT(kit_ids(table, ids, 200), 97);
}

TEST("a fragment without a row left is no part of the table any more") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    LanceInfo info;
    uint64_t rows[10];
    CHECK_OK(kit_append(table, &schema, 0, 10));
    CHECK_OK(kit_append(table, &schema, 10, 10));
    for (uint64_t i = 0; i < 10; i++) rows[i] = i;
    CHECK_OK(lance_delete(table, rows, 10, NULL, &err));
    lance_info(table, &info);
    CHECK_INT(info.fragments, 1);
    CHECK_INT(info.rows, 10);
    CHECK_OK(kit_append(table, &schema, 20, 1)); /* its id is not given again */
    int64_t ids[20];
    CHECK_INT(kit_ids(table, ids, 20), 11);
    CHECK_INT(ids[10], 20);
}

TEST("an update is one version: the old rows go, the new ones come, and not twice") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    CHECK_OK(kit_append(table, &schema, 0, 10));
    LanceBatch batch = made_rows(&schema, 50, 2, &arena);
    uint64_t rows[] = {1, 2};
    int64_t ids[20];
    CHECK_OK(lance_update(table, rows, 2, &batch, &err));
    CHECK_INT(kit_version(table), 3);
    CHECK_INT(kit_ids(table, ids, 20), 10);
    CHECK_INT(ids[8], 50);
    CHECK(!lance_update(table, rows, 2, &batch, &err));
    CHECK_STR(str_from(err_word(&err)), "lance_conflict");
    CHECK_INT(kit_rows(table), 10);
}

TEST("compaction keeps the rows and their order, once; small and much deleted fragments go") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    LanceCompacted done;
    LanceInfo info;
    int64_t ids[600];
    for (uint64_t i = 0; i < 50; i++) CHECK_OK(kit_append(table, &schema, i * 10, 10));
    uint64_t gone = (uint64_t)3 << 32 | 4;
    CHECK_OK(lance_delete(table, &gone, 1, NULL, &err));
    CHECK_OK(lance_compact(table, &(LanceCompactOptions){.rows_max = 200}, &done, &err));
    CHECK_INT(done.fragments_before, 50);
    CHECK_INT(done.fragments_after, 3);
    lance_info(table, &info);
    CHECK_INT(info.fragments, 3);
    CHECK_INT(info.rows_deleted, 0);
    CHECK_INT(kit_ids(table, ids, 600), 499);
    for (size_t i = 0; i < 499; i++) {
        int64_t n = (int64_t)i + (i >= 34);
        CHECK_INT(ids[i], n % MADE_NULL_EACH == 3 ? -1 : n);
    }
    CHECK_OK(lance_compact(table, &(LanceCompactOptions){.rows_max = 100}, &done, &err));
    CHECK_INT(done.fragments_before, 0);
}

TEST("restoring makes an old version the latest, and a clean-up leaves what the latest needs") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    LanceVersion *versions;
    LanceCleaned cleaned;
    size_t count;
    int64_t ids[40];
    for (uint64_t i = 0; i < 3; i++) CHECK_OK(kit_append(table, &schema, i * 10, 10));
    uint64_t row = 3;
    CHECK_OK(lance_delete(table, &row, 1, NULL, &err));
    CHECK_OK(lance_restore(table, 3, &err));
    CHECK_INT(kit_ids(table, ids, 40), 20);
    CHECK_OK(lance_versions(table, &arena, &versions, &count, &err));
    CHECK_INT(count, 6);
    CHECK_STR(str_from(versions[0].operation), "Overwrite");
    CHECK_STR(str_from(versions[4].operation), "Delete");
    CHECK_STR(str_from(versions[5].operation), "Restore");
    CHECK_OK(lance_cleanup(table, INT64_MAX, 0, &cleaned, &err));
    CHECK_INT(cleaned.versions, 5);
    CHECK_INT(cleaned.files, 2); /* the third append's data, the deletion */
    CHECK_INT(kit_ids(table, ids, 40), 20);
    CHECK_OK(kit_append(table, &schema, 90, 10));
    CHECK_INT(kit_version(table), 7);
    lance_close(&table);
    CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &table, &err));
    CHECK_INT(kit_ids(table, ids, 40), 30);
    CHECK(!lance_checkout(table, 2, &err));
    CHECK_STR(str_from(err_word(&err)), "version_not_found");
}

TEST("files that no version names are left alone until they are old") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    LanceCleaned cleaned;
    Str stray = STR("a/t.lance/data/00000000000000000000000000000000.lance");
    CHECK_OK(kit_append(table, &schema, 0, 10));
    CHECK_OK(store_write(store, stray, bytes_of(STR("x")), NULL, &err));
    CHECK_OK(lance_cleanup(table, INT64_MAX, clock_now_ms() - 60000, &cleaned, &err));
    CHECK_INT(cleaned.files, 0);
    CHECK_OK(lance_cleanup(table, INT64_MAX, clock_now_ms() + 1000, &cleaned, &err));
    CHECK_INT(cleaned.files, 1);
    CHECK_INT(kit_rows(table), 10);
}

TEST("a table is created once; what is not there says so by name") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    LanceTable *other = NULL;
    LanceScan *scan;
    CHECK(!lance_create(store, STR("a/t.lance"), &schema, &other, &err));
    CHECK_STR(str_from(err_word(&err)), "table_exists");
    CHECK(!lance_create_in(store, STR("a/u.lance"), "2.3", &schema, &other, &err));
    CHECK_STR(str_from(err_word(&err)), "lance_unsupported");
    CHECK(!lance_open(store, STR("a/u.lance"), 0, &other, &err));
    CHECK_STR(str_from(err_word(&err)), "table_not_found");
    CHECK(!lance_open(store, STR("a/t.lance"), 7, &other, &err));
    CHECK_STR(str_from(err_word(&err)), "version_not_found");
    Str name = STR("no");
    LanceScanOptions options = {.columns = &name, .column_count = 1};
    CHECK(!lance_scan(table, &options, &scan, &err));
    CHECK_STR(str_from(err_word(&err)), "column_not_found");
    CHECK(!lance_open(store, STR("../t.lance"), 0, &other, &err));
    CHECK_INT(err.kind, LH_INVALID);
}

TEST("a null in a column that may not be null is refused, and leaves no file") {
    OWNED(arena_close) Arena arena = {0};
    const char *dir = kit_dir();
    OWNED(store_close) Store *store = kit_store(dir);
    LanceField field = {.name = STR("x"), .type = lance_type(STR("int32")), .nullable = true};
    LanceSchema schema = {&field, 1};
    LanceBatch batch = made_rows(&schema, 0, 10, &arena);
    field.nullable = false;
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    CHECK(!lance_append(table, &batch, &err));
    CHECK_INT(err.kind, LH_INVALID);
    ObjectList list;
    ListOptions options = {.prefix = STR("a/t.lance/data/"), .limit = 10};
    CHECK_OK(store_list(store, &options, &arena, &list, &err));
    CHECK_INT(list.object_count, 0);
}

TEST("a data file that is shorter than its table says is an error, whatever its length") {
    OWNED(arena_close) Arena arena = {0};
    const char *dir = kit_dir();
    OWNED(store_close) Store *store = kit_store(dir);
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    CHECK_OK(kit_append(table, &schema, 0, 50));
    ObjectList list;
    ListOptions options = {.prefix = STR("a/t.lance/data/"), .limit = 10};
    CHECK_OK(store_list(store, &options, &arena, &list, &err));
    const char *path =
        arena_cstr(&arena, arena_print(&arena, "%s/%.*s", dir, SHOW(list.objects[0].key)));
    for (int64_t size = (int64_t)list.objects[0].info.size - 1; size >= 0; size -= 41) {
        OWNED(lance_close) LanceTable *again = NULL;
        uint64_t address = 7;
        LanceBatch batch;
        Str name = STR("text");
        CHECK(truncate(path, size) == 0);
        CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &again, &err));
        CHECK(!lance_take(again, &address, 1, &name, 1, &arena, &batch, &err));
        CHECK_INT(err.kind, LH_CORRUPT);
    }
}
