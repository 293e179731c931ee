#include "catalog/lake.h"

static bool commit_one(Lake *lake, CommitMode mode, int64_t *version) {
    Field field = {.id = 1, .name = STR("id"), .type = {.kind = TYPE_LONG}};
    Schema schema = {.fields = &field, .len = 1};
    DataFile file = {.key = STR("warehouse/main/t/data/x.parquet"), .rows = 1, .bytes = 1};
    Commit commit = {
        .dataset = STR("t"), .mode = mode, .schema = &schema, .files = &file, .file_count = 1};
    return catalog_commit(lake->catalog, &commit, version, &err);
}

/* Appends files that exist in name only, for ever, and says each version once it is acknowledged.
 */
static void append_forever(void *dir) {
    Lake lake;
    lake_open(&lake, dir);
    for (int64_t version;;) {
        CHECK_OK(commit_one(&lake, COMMIT_APPEND, &version));
        kit_acknowledge(&version, sizeof version);
    }
}

TEST("killed in the middle of commits: every acknowledged version is there, at most one more") {
    Lake lake;
    const char *dir = kit_dir();
    int64_t created;
    lake_open(&lake, dir);
    CHECK_OK(commit_one(&lake, COMMIT_CREATE, &created));
    lake_close(&lake);
    for (int round = 0; round < 12; round++) {
        OWNED(table_release) Table *table = NULL;
        const DataFile *files;
        size_t count, acks;
        const int64_t *acknowledged =
            kit_kill(append_forever, (void *)dir, 60000, sizeof *acknowledged, &acks);
        lake_open(&lake, dir);
        CHECK_OK(catalog_load(lake.catalog, STR("t"), 0, &table, &err));
        int64_t version = table_version(table);
        CHECK(version == acknowledged[acks - 1] || version == acknowledged[acks - 1] + 1);
        CHECK_OK(table_files(table, &files, &count, &err));
        CHECK_INT(count, version);
        CHECK_INT(table_rows(table), version);
        table_release(&table);
        lake_close(&lake);
    }
}
