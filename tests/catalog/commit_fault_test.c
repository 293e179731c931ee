#include "storage/fault.h"

#include "catalog/lake.h"

typedef struct Prepared { /* an append whose file is written already */
    Arena arena;
    const Schema *schema;
    DataFile file;
    Str bucket, location;
} Prepared;

static void prepare(Lake *lake, Prepared *out) {
    Schema wanted = lake_schema("SELECT 1::BIGINT AS id", &out->arena);
    CHECK_OK(catalog_plan(lake->catalog, STR("t"), COMMIT_APPEND, (Str){0}, &wanted, &out->arena,
                          &out->schema, &out->bucket, &out->location, &err));
    lake_file(lake, "SELECT 1::BIGINT AS id", out->schema, out->bucket, out->location, &out->arena,
              &out->file);
}

static bool append(Lake *lake, const Prepared *prepared, int64_t *version) {
    Commit commit = {.dataset = STR("t"),
                     .mode = COMMIT_APPEND,
                     .schema = prepared->schema,
                     .files = &prepared->file,
                     .file_count = 1};
    return catalog_commit(lake->catalog, &commit, version, &err);
}

static int metadata_objects(Lake *lake) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(bucket_release) Bucket *bucket = NULL;
    ListOptions options = {.prefix = STR("warehouse/main/t/metadata/"), .limit = 1000};
    ObjectList list;
    int count = 0;
    CHECK_OK(bucket_find(lake->buckets, STR("primary"), &bucket, &err));
    CHECK_OK(store_list(bucket_store(bucket), &options, &arena, &list, &err));
    for (size_t i = 0; i < list.object_count; i++) {
        size_t at;
        count += !str_find(list.objects[i].key, STR("/metadata/v"), &at);
    }
    return count;
}

/* Another catalog reads what is on disk, as after a restart. */
static int64_t version_on_disk(Lake *lake) {
    OWNED(catalog_close) Catalog *other = NULL;
    OWNED(table_release) Table *table = NULL;
    const DataFile *files;
    size_t count;
    CHECK_OK(catalog_open(lake->buckets, NULL, &other, &err));
    CHECK_OK(catalog_load(other, STR("t"), 0, &table, &err));
    CHECK_OK(table_files(table, &files, &count, &err));
    CHECK_INT(count, table_version(table));
    int64_t version = table_version(table);
    table_release(&table);
    catalog_close(&other);
    return version;
}

TEST("whichever call of a commit fails, the last version or the new one is there, and whole") {
    bool met = true;
    int failures = 0;
    for (int n = 1; met; n++) {
        OWNED(lake_close) Lake lake = {0};
        Prepared prepared = {0};
        int64_t version = 0, created;
        lake_open(&lake, kit_dir());
        CHECK_OK(lake_ingest(&lake, "t", COMMIT_CREATE, "SELECT 1::BIGINT AS id", &created));
        prepare(&lake, &prepared);
        int before = metadata_objects(&lake);
        fault_in = n;
        bool ok = append(&lake, &prepared, &version);
        met = fault_in == 0;
        fault_in = 0;
        int64_t there = version_on_disk(&lake);
        if (ok) CHECK_INT(there, 2);
        bool unknown = !ok && str_is(str_from(err_word(&err)), "commit_unknown");
        if (!ok && !unknown) {
            CHECK_INT(there, 1);
            CHECK_INT(metadata_objects(&lake), before); /* nothing half-done stays behind */
            CHECK_OK(append(&lake, &prepared, &version));
            CHECK_INT(version, 2);
        }
        CHECK(!unknown || there == 1 || there == 2);
        failures += !ok;
        arena_close(&prepared.arena);
    }
    CHECK(failures >= 10);
}
