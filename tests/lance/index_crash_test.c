#include "lance/lance_kit.h"

#define DIMENSION 16
#define FIRST_ROWS 2000

static LanceSchema vector_schema(void) {
    static LanceField fields[2];
    fields[0] = (LanceField){.name = STR("id"), .type = lance_type(STR("int64"))};
    fields[1] =
        (LanceField){.name = STR("vector"), .type = lance_type(STR("fixed_size_list:float:16"))};
    return (LanceSchema){fields, 2};
}

/* The vector of a row follows from its id, so that a search can tell whether it found it. */
static void vector_of(uint64_t id, float out[DIMENSION]) {
    uint64_t state = id;
    for (size_t i = 0; i < DIMENSION; i++) out[i] = (float)(random_next(&state) % 1000) / 500 - 1;
}

static bool add_rows(LanceTable *table, uint64_t from, size_t rows) {
    OWNED(arena_close) Arena arena = {0};
    int64_t *ids = arena_array(&arena, int64_t, rows);
    float *vectors = arena_array(&arena, float, rows *DIMENSION);
    for (size_t i = 0; i < rows; i++) {
        ids[i] = (int64_t)(from + i);
        vector_of(from + i, vectors + i * DIMENSION);
    }
    LanceColumn columns[] = {{.values = ids}, {.values = vectors}};
    LanceBatch batch = {.rows = rows, .column_count = 2, .columns = columns};
    return lance_append(table, &batch, &err);
}

static bool change(LanceTable *table, uint64_t n) {
    LanceVectorIndexOptions options = {.column = STR("vector"),
                                       .metric = LANCE_L2,
                                       .partitions = 4 + (uint32_t)(n % 5),
                                       .iterations_max = 3};
    LanceCompacted done;
    switch (n % 6) {
    case 0:
        return lance_index_vectors(table, &options, NULL, &err);
    case 1:
        return lance_index_scalar(table, STR("id"), NULL, &err);
    case 3:
        return lance_compact(table, NULL, &done, &err);
    case 4:
        return lance_index_update(table, NULL, NULL, &err);
    default:
        return add_rows(table, kit_rows(table), 20);
    }
}

static void change_forever(void *dir) {
    Store *store = kit_store(dir);
    LanceTable *table;
    CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &table, &err));
    for (uint64_t n = random_u64() % 6;; n++) {
        CHECK_OK(change(table, n));
        uint64_t version = kit_version(table);
        kit_acknowledge(&version, sizeof version);
    }
}

static void check_found(LanceTable *table, uint64_t id) {
    OWNED(arena_close) Arena arena = {0};
    float query[DIMENSION];
    uint64_t *rows;
    LanceHit *hits;
    size_t count;
    LanceKey key = {.kind = LANCE_INT, .integer = (int64_t)id};
    vector_of(id, query);
    LanceSearchOptions options = {.column = STR("vector"),
                                  .query = query,
                                  .dimension = DIMENSION,
                                  .k = 5,
                                  .metric = LANCE_L2,
                                  .nprobes = 16,
                                  .refine = 100};
    CHECK_OK(lance_find(table, STR("id"), &key, &arena, &rows, &count, &err));
    CHECK_INT(count, 1);
    CHECK_OK(lance_search(table, &options, &arena, &hits, &count, &err));
    CHECK_INT(count, 5);
    CHECK(hits[0].distance == 0 && hits[0].address == rows[0]);
}

static void kill_often(const char *file_version) {
    const char *dir = kit_dir();
    LanceSchema schema = vector_schema();
    Store *store = kit_store(dir);
    LanceTable *table = kit_table_in(store, file_version, &schema);
    CHECK_OK(add_rows(table, 0, FIRST_ROWS));
    lance_close(&table);
    store_close(&store);
    for (int round = 0; round < kit_kills(50); round++) {
        size_t acks;
        const uint64_t *all = kit_kill(change_forever, (void *)dir, 60000, sizeof *all, &acks);
        uint64_t known = all[acks - 1];
        LanceCleaned cleaned;
        store = kit_store(dir);
        CHECK_OK(lance_open(store, STR("a/t.lance"), 0, &table, &err));
        /* An update of both indexes is two versions. */
        CHECK(kit_version(table) >= known && kit_version(table) <= known + 2);
        uint64_t rows = kit_rows(table);
        for (uint64_t i = 0; i < 20; i++) check_found(table, random_u64() % rows);
        check_found(table, rows - 1);
        if (round % 10 == 9) CHECK_OK(lance_cleanup(table, INT64_MAX, INT64_MAX, &cleaned, &err));
        check_found(table, 0);
        lance_close(&table);
        store_close(&store);
    }
}

TEST(
    "killed at 50 moments of indexing, appending and compacting: the last version opens, and every "
    "row is found by its vector and by its id") {
    kill_often("2.0");
}
TEST("the same in files of LanceDB's default version") {
    kill_often("2.2");
}
