#include "kit/remote_store.h"
#include "lance/lance_kit.h"
#include "lance/table.h"

/* A writer whose commit is carried out and then said to have failed, as when an answer is lost. */
static bool (*commit_really)(ObjectWriter *writer, ObjectInfo *out, Err *failure);
static bool lose_answer, lose_request;

static bool commit_unheard(ObjectWriter *writer, ObjectInfo *out, Err *failure) {
    if (lose_request) return err_set(failure, LH_OFFLINE, "nobody answers");
    if (!commit_really(writer, out, failure)) return false;
    return !lose_answer || err_set(failure, LH_OFFLINE, "the answer was lost");
}

static ReadCache *cache_open(void) {
    ReadCache *cache;
    CHECK_OK(read_cache_open(kit_dir(), 64 << 20, &cache, &err));
    return cache;
}

TEST("a table in a remote store is created, changed and read through the read cache") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(read_cache_close) ReadCache *cache = cache_open();
    OWNED(store_close) Store *store = kit_store(kit_dir());
    (void)remote_make(store, cache);
    LanceSchema schema = kit_schema(&arena);
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    for (uint64_t i = 0; i < 3; i++) CHECK_OK(kit_append(table, &schema, i * 100, 100));
    uint64_t addresses[] = {5, (uint64_t)2 << 32 | 50, (uint64_t)1 << 32}, gone = 7, deleted;
    LanceBatch batch;
    CHECK_OK(lance_delete(table, &gone, 1, &deleted, &err));
    CHECK_OK(lance_take(table, addresses, 3, kit_names(&schema, &arena), schema.len, &arena, &batch,
                        &err));
    static const uint64_t numbers[] = {5, 250, 100};
    for (size_t i = 0; i < 3; i++)
        for (size_t c = 0; c < schema.len; c++)
            kit_check_value(&schema.fields[c], &batch.columns[c], i, numbers[i]);
    LanceCompacted done;
    CHECK_OK(lance_compact(table, NULL, &done, &err));
    CHECK_INT(kit_rows(table), 299);
}

static void take_one_row(const char *file_version, bool nullable) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(read_cache_close) ReadCache *cache = cache_open();
    OWNED(store_close) Store *store = kit_store(kit_dir());
    RemoteStore *remote = remote_make(store, cache);
    LanceField field = {.name = STR("v"),
                        .type = lance_type(STR("fixed_size_list:float:768")),
                        .nullable = nullable};
    LanceSchema schema = {&field, 1};
    OWNED(lance_close) LanceTable *table = kit_table_in(store, file_version, &schema);
    CHECK_OK(kit_append(table, &schema, 0, 8000)); /* 24 MB */
    cache_hooked();
    remote_reset(remote);
    uint64_t address = 4321;
    LanceBatch batch;
    CHECK_OK(lance_take(table, &address, 1, &field.name, 1, &arena, &batch, &err));
    kit_check_value(&field, batch.columns, 0, 4321);
    CHECK(remote->bytes < 6 << 20);
    CHECK(remote->requests > 0);
    remote->offline = true;
    address = 20;
    CHECK(!lance_take(table, &address, 1, &field.name, 1, &arena, &batch, &err));
    CHECK_INT(err.kind, LH_OFFLINE);
    remote->offline = false;
    CHECK_OK(lance_take(table, &address, 1, &field.name, 1, &arena, &batch, &err));
}

TEST("read by ranges, one row of a large table costs a few blocks and not the table, in files of "
     "every "
     "version, and with nulls among the rows") {
    for (size_t i = 0; i < COUNT(kit_file_versions); i++)
        for (int nullable = 0; nullable <= 1; nullable++)
            take_one_row(kit_file_versions[i], nullable);
}

static LanceTable *unheard_table(Store *store, RemoteStore *remote, const LanceSchema *schema) {
    LanceTable *table = kit_table(store, schema);
    CHECK_OK(kit_append(table, schema, 0, 10));
    commit_really = remote->ops.writer_commit;
    remote->ops.writer_commit = commit_unheard;
    return table;
}

TEST("a commit whose answer was lost is recognised as done, and nothing is done twice") {
    OWNED(read_cache_close) ReadCache *cache = cache_open();
    OWNED(store_close) Store *store = kit_store(kit_dir());
    RemoteStore *remote = remote_make(store, cache);
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = unheard_table(store, remote, &schema);
    uint64_t row = 1, deleted;
    lose_answer = true;
    /* The deletion file's own write is not heard of either: the change says so and stops. */
    CHECK(!lance_delete(table, &row, 1, &deleted, &err));
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK_INT(kit_rows(table), 10);
    CHECK_OK(lance_restore(table, 1, &err)); /* one write only: the manifest */
    CHECK_INT(kit_version(table), 3);
    lose_answer = false;
    CHECK_OK(lance_restore(table, 2, &err));
    CHECK_INT(kit_version(table), 4);
    CHECK_INT(kit_rows(table), 10);
}

TEST("a commit that nobody heard of fails as out of reach, and the table stands where it stood") {
    OWNED(read_cache_close) ReadCache *cache = cache_open();
    OWNED(store_close) Store *store = kit_store(kit_dir());
    RemoteStore *remote = remote_make(store, cache);
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = unheard_table(store, remote, &schema);
    lose_request = true;
    CHECK(!lance_restore(table, 1, &err));
    CHECK_INT(err.kind, LH_OFFLINE);
    lose_request = false;
    CHECK_INT(kit_version(table), 2);
    CHECK_OK(kit_append(table, &schema, 10, 10));
    CHECK_INT(kit_rows(table), 20);
}
