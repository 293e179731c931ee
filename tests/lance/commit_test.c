#include "lance/commit.h"
#include "lance/lance_kit.h"

#include <pthread.h>

static LanceTable *open_again(Store *store) {
    LanceTable *table;
    CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &table, &err));
    return table;
}

TEST("appends and deletes through stale handles go on from what others committed") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *first = kit_table(store, &schema);
    CHECK_OK(kit_append(first, &schema, 0, 10));
    OWNED(lance_close) LanceTable *second = open_again(store);
    uint64_t one = 1, two = 2, deleted;
    int64_t ids[60];
    CHECK_OK(kit_append(first, &schema, 10, 10));
    CHECK_OK(lance_delete(first, &one, 1, NULL, &err));
    CHECK_OK(kit_append(second, &schema, 20, 10));
    CHECK_INT(kit_version(second), 5);
    CHECK_OK(lance_delete(first, &two, 1, &deleted, &err)); /* first is the stale one now */
    CHECK_INT(deleted, 1);
    CHECK_INT(kit_ids(first, ids, 60), 28);
    CHECK_OK(lance_refresh(second, &err));
    CHECK_INT(kit_ids(second, ids, 60), 28);
}

TEST("an update of a row that another deleted is a conflict, and leaves no file behind") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *first = kit_table(store, &schema);
    CHECK_OK(kit_append(first, &schema, 0, 10));
    OWNED(lance_close) LanceTable *second = open_again(store);
    LanceBatch batch = made_rows(&schema, 70, 1, &arena);
    uint64_t rows[] = {1, 2};
    CHECK_OK(lance_delete(first, rows, 1, NULL, &err));
    CHECK(!lance_update(second, rows, 2, &batch, &err));
    CHECK_STR(str_from(err_word(&err)), "lance_conflict");
    CHECK_OK(lance_refresh(second, &err));
    CHECK_INT(kit_rows(second), 9);
    CHECK_OK(lance_update(second, rows + 1, 1, &batch, &err));
    ObjectList list;
    ListOptions options = {.prefix = STR("a/t.lance/data/"), .limit = 10};
    CHECK_OK(store_list(store, &options, &arena, &list, &err));
    CHECK_INT(list.object_count, 2);
}

TEST("rows of a fragment that was compacted meanwhile are a conflict, not other rows") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *first = kit_table(store, &schema);
    LanceCompacted done;
    uint64_t row = 1;
    CHECK_OK(kit_append(first, &schema, 0, 10));
    CHECK_OK(kit_append(first, &schema, 10, 10));
    OWNED(lance_close) LanceTable *second = open_again(store);
    CHECK_OK(lance_compact(first, NULL, &done, &err));
    CHECK(!lance_delete(second, &row, 1, NULL, &err));
    CHECK_STR(str_from(err_word(&err)), "lance_conflict");
    CHECK_OK(lance_refresh(second, &err));
    CHECK_INT(kit_rows(second), 20);
}

TEST("a compaction that a delete overtook fails, and the row stays deleted") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *first = kit_table(store, &schema);
    LanceCompacted done;
    uint64_t row = 1;
    CHECK_OK(kit_append(first, &schema, 0, 10));
    CHECK_OK(kit_append(first, &schema, 10, 10));
    OWNED(lance_close) LanceTable *second = open_again(store);
    CHECK_OK(lance_delete(first, &row, 1, NULL, &err));
    CHECK(!lance_compact(second, NULL, &done, &err));
    CHECK_STR(str_from(err_word(&err)), "lance_conflict");
    CHECK_OK(lance_refresh(second, &err));
    CHECK_OK(lance_compact(second, NULL, &done, &err));
    CHECK_INT(kit_rows(second), 19);
}

TEST("after a restore by another, an append through a stale handle is refused") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *first = kit_table(store, &schema);
    CHECK_OK(kit_append(first, &schema, 0, 10));
    OWNED(lance_close) LanceTable *second = open_again(store);
    CHECK_OK(lance_restore(first, 1, &err));
    CHECK(!kit_append(second, &schema, 0, 1));
    CHECK_STR(str_from(err_word(&err)), "lance_conflict");
    CHECK_INT(kit_rows(first), 0);
}

typedef struct Racer {
    Store *store;
    LanceTable *shared; /* or NULL: a handle of its own */
    uint64_t from;
    bool ok;
} Racer;

static void *race(void *context) {
    Racer *racer = context;
    Err failure = {0};
    LanceSchema schema = {
        (LanceField[]){{.name = STR("id"), .type = lance_type(STR("int64")), .nullable = true},
                       {.name = STR("text"), .type = lance_type(STR("string")), .nullable = true}},
        2
    };
    OWNED(lance_close) LanceTable *own = NULL;
    racer->ok = racer->shared || lance_open(racer->store, STR("a/t.lance"), 0, &own, &failure);
    for (uint64_t i = 0; racer->ok && i < 15; i++) {
        OWNED(arena_close) Arena arena = {0};
        LanceBatch batch = made_rows(&schema, racer->from + i * 10, 10, &arena), taken;
        Str name = STR("text");
        uint64_t address = 0;
        racer->ok = lance_append(racer->shared ? racer->shared : own, &batch, &failure) &&
                    lance_take(racer->shared ? racer->shared : own, &address, 1, &name, 1, &arena,
                               &taken, &failure);
    }
    if (!racer->ok) printf("%s\n", failure.message);
    return NULL;
}

TEST("four writers, two of them on one handle, append at once: every row is there, each once") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    pthread_t threads[4];
    Racer racers[4];
    static int64_t ids[700];
    CHECK_OK(kit_append(table, &schema, 0, 1));
    for (uint64_t i = 0; i < 4; i++) {
        racers[i] = (Racer){store, i < 2 ? table : NULL, 1000 * (i + 1), false};
        pthread_create(&threads[i], NULL, race, &racers[i]);
    }
    for (size_t i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 4; i++) CHECK(racers[i].ok);
    CHECK_OK(lance_refresh(table, &err));
    CHECK_INT(kit_version(table), 62);
    CHECK_INT(kit_ids(table, ids, 700), 601);
    for (size_t i = 0; i < 601; i++)
        for (size_t k = 0; k < i; k++) CHECK(ids[i] == -1 || ids[i] != ids[k]);
}
