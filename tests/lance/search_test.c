#include "lance/lance_kit.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#define DIMENSION 32
#define CLUSTERS 24

static uint64_t state = 11;
static float normal(void) { /* Irwin and Hall, near enough */
    float sum = 0;
    for (int i = 0; i < 4; i++) sum += (float)(random_next(&state) % 1000) / 1000;
    return sum - 2;
}

/* Vectors in clusters of unlike weight and width, as embedders give them. */
static void vectors_make(float *out, size_t count) {
    static float centres[CLUSTERS][DIMENSION];
    if (centres[0][0] == 0)
        for (size_t i = 0; i < CLUSTERS * DIMENSION; i++)
            centres[i / DIMENSION][i % DIMENSION] = normal();
    for (size_t i = 0; i < count; i++) {
        size_t cluster = (random_next(&state) % CLUSTERS) * (random_next(&state) % 100) / 100;
        for (size_t d = 0; d < DIMENSION; d++)
            out[i * DIMENSION + d] =
                centres[cluster][d] + normal() * (0.3f + (float)(cluster % 5) * 0.1f);
    }
}

static LanceSchema vector_schema(void) {
    static LanceField fields[2];
    fields[0] = (LanceField){.name = STR("id"), .type = lance_type(STR("int64"))};
    fields[1] = (LanceField){.name = STR("vector"),
                             .type = lance_type(STR("fixed_size_list:float:32")),
                             .nullable = true};
    return (LanceSchema){fields, 2};
}

static void add_rows(LanceTable *table, size_t from, size_t rows, const float *vectors) {
    OWNED(arena_close) Arena arena = {0};
    int64_t *ids = arena_array(&arena, int64_t, rows);
    for (size_t i = 0; i < rows; i++) ids[i] = (int64_t)(from + i);
    LanceColumn columns[] = {{.values = ids}, {.values = vectors}};
    LanceBatch batch = {.rows = rows, .column_count = 2, .columns = columns};
    CHECK_OK(lance_append(table, &batch, &err));
}

static LanceTable *filled_table(Store *store, size_t fragments, size_t rows) {
    OWNED(arena_close) Arena arena = {0};
    LanceSchema schema = vector_schema();
    LanceTable *table = kit_table(store, &schema);
    float *vectors = arena_array(&arena, float, rows *DIMENSION);
    for (size_t i = 0; i < fragments; i++) {
        vectors_make(vectors, rows);
        add_rows(table, i * rows, rows, vectors);
    }
    return table;
}

static void build(LanceTable *table, LanceMetric metric) {
    LanceVectorIndexOptions options = {.column = STR("vector"), .metric = metric};
    CHECK_OK(lance_index_vectors(table, &options, NULL, &err));
}

static LanceSearchOptions ask(const float *query, LanceMetric metric) {
    return (LanceSearchOptions){
        .column = STR("vector"), .query = query, .dimension = DIMENSION, .k = 10, .metric = metric};
}

static double recall(LanceTable *table, LanceMetric metric, size_t queries) {
    size_t found = 0, wanted = 0;
    for (size_t q = 0; q < queries; q++) {
        OWNED(arena_close) Arena arena = {0};
        float query[DIMENSION];
        LanceHit *hits, *exact;
        size_t count, exact_count;
        vectors_make(query, 1);
        LanceSearchOptions options = ask(query, metric);
        CHECK_OK(lance_search(table, &options, &arena, &hits, &count, &err));
        options.exact = true;
        CHECK_OK(lance_search(table, &options, &arena, &exact, &exact_count, &err));
        for (size_t i = 0; i < exact_count; i++)
            for (size_t k = 0; k < count; k++) found += hits[k].address == exact[i].address;
        for (size_t i = 1; i < count; i++) CHECK(hits[i - 1].distance <= hits[i].distance);
        wanted += exact_count;
    }
    return (double)found / (double)wanted;
}

TEST("an index with nothing but defaults finds at least 95 of 100 neighbours, by every metric") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    OWNED(lance_close) LanceTable *table = filled_table(store, 3, 4000);
    for (int metric = LANCE_COSINE; metric <= LANCE_DOT; metric++) {
        build(table, (LanceMetric)metric);
        double share = recall(table, (LanceMetric)metric, 100);
        if (share < 0.95) printf("%s: %.3f\n", metric == LANCE_DOT ? "dot" : "distance", share);
        CHECK(share >= 0.95);
    }
    LanceInfo info;
    lance_info(table, &info);
    CHECK_INT(info.indexes, 1); /* each took the place of the one before */
}

TEST("exact search is what comparing every row gives") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = vector_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    float *rows = arena_array(&arena, float, 500 * DIMENSION), query[DIMENSION];
    vectors_make(rows, 500);
    vectors_make(query, 1);
    add_rows(table, 0, 500, rows);
    LanceSearchOptions options = ask(query, LANCE_L2);
    LanceHit *hits;
    size_t count;
    CHECK_OK(lance_search(table, &options, &arena, &hits, &count, &err));
    CHECK_INT(count, 10);
    for (size_t i = 0; i < 500; i++) {
        double distance = 0;
        bool among = false;
        for (size_t d = 0; d < DIMENSION; d++)
            distance += pow((double)rows[i * DIMENSION + d] - query[d], 2);
        for (size_t k = 0; k < count; k++)
            if (hits[k].address == i) {
                among = true;
                CHECK(fabs(hits[k].distance - distance) < 1e-4);
            }
        CHECK(among || distance >= hits[9].distance - 1e-4);
    }
}

static bool found(LanceTable *table, const float *query, uint64_t address, uint32_t refine) {
    OWNED(arena_close) Arena arena = {0};
    LanceHit *hits;
    size_t count;
    LanceSearchOptions options = ask(query, LANCE_L2);
    options.codes_only = refine == 0;
    CHECK_OK(lance_search(table, &options, &arena, &hits, &count, &err));
    for (size_t i = 0; i < count; i++)
        if (hits[i].address == address) return true;
    return false;
}

TEST(
    "rows that were appended after the build are found, deleted ones are not, and compaction moves "
    "them without losing any") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    OWNED(lance_close) LanceTable *table = filled_table(store, 2, 1500);
    float fresh[3 * DIMENSION];
    LanceBatch batch;
    Str column = STR("vector");
    uint64_t gone = (1ull << 32) + 77, late = (2ull << 32) + 1;
    build(table, LANCE_L2);
    vectors_make(fresh, 3);
    CHECK(!found(table, fresh + DIMENSION, late, 10));
    add_rows(table, 3000, 3, fresh);
    CHECK(found(table, fresh + DIMENSION, late, 10));
    CHECK_OK(lance_take(table, &gone, 1, &column, 1, &arena, &batch, &err));
    const float *vector = batch.columns[0].values;
    CHECK(found(table, vector, gone, 10) && found(table, vector, gone, 0));
    CHECK_OK(lance_delete(table, &gone, 1, NULL, &err));
    CHECK(!found(table, vector, gone, 10) && !found(table, vector, gone, 0));
    LanceCompacted done;
    CHECK_OK(lance_compact(table, NULL, &done, &err));
    CHECK_INT(kit_rows(table), 3002);
    CHECK(recall(table, LANCE_L2, 30) >= 0.95);
    CHECK(found(table, fresh + DIMENSION, (3ull << 32) + 3000, 10));
}

static bool is_odd(void *context, uint64_t address) {
    ++*(size_t *)context;
    return address % 2 == 1;
}

TEST("only allowed rows are found: a few by list, many by list, or by a function") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    OWNED(lance_close) LanceTable *table = filled_table(store, 1, 12000);
    uint64_t *allowed = arena_array(&arena, uint64_t, 6000);
    float query[DIMENSION];
    LanceHit *hits;
    size_t count, asked = 0;
    build(table, LANCE_COSINE);
    for (size_t i = 0; i < 6000; i++) allowed[i] = i * 2;
    for (size_t some = 5; some <= 6000; some += 1999) {
        vectors_make(query, 1);
        LanceSearchOptions options = ask(query, LANCE_COSINE);
        options.allowed = allowed;
        options.allowed_count = some;
        CHECK_OK(lance_search(table, &options, &arena, &hits, &count, &err));
        CHECK_INT(count, MIN(some, 10));
        for (size_t i = 0; i < count; i++)
            CHECK(hits[i].address % 2 == 0 && hits[i].address < some * 2);
    }
    LanceSearchOptions options = ask(query, LANCE_COSINE);
    options.allows = is_odd;
    options.context = &asked;
    CHECK_OK(lance_search(table, &options, &arena, &hits, &count, &err));
    CHECK_INT(count, 10);
    for (size_t i = 0; i < count; i++) CHECK(hits[i].address % 2 == 1);
    CHECK(asked > 0 && asked < 12000);
}

TEST("null vectors and those without a direction are passed over") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = vector_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    float *rows = arena_array(&arena, float, 600 * DIMENSION), query[DIMENSION];
    int64_t *ids = arena_array(&arena, int64_t, 600);
    uint8_t *validity = arena_alloc(&arena, 600 / 8);
    vectors_make(rows, 600);
    vectors_make(query, 1);
    memset(validity, 0xfe, 600 / 8); /* every eighth is null */
    for (size_t i = 1; i < 600; i += 8) memset(rows + i * DIMENSION, 0, DIMENSION * sizeof *rows);
    rows[2 * DIMENSION] = NAN;
    LanceColumn columns[] = {
        {.values = ids        },
        { .values = rows, .validity = validity}
    };
    LanceBatch batch = {.rows = 600, .column_count = 2, .columns = columns};
    CHECK_OK(lance_append(table, &batch, &err));
    for (int indexed = 0; indexed < 2; indexed++) {
        LanceHit *hits;
        size_t count;
        LanceSearchOptions options = ask(query, LANCE_COSINE);
        options.k = 600;
        options.nprobes = 1000;
        CHECK_OK(lance_search(table, &options, &arena, &hits, &count, &err));
        CHECK_INT(count, 600 - 75 - 75 - 1);
        for (size_t i = 0; i < count; i++) CHECK(hits[i].address % 8 > 1 && hits[i].address != 2);
        build(table, LANCE_COSINE);
    }
}

TEST("what cannot be built or asked is refused by name") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = vector_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    float query[DIMENSION] = {0};
    LanceHit *hits;
    size_t count;
    LanceVectorIndexOptions options = {.column = STR("vector")};
    CHECK(!lance_index_vectors(table, &options, NULL, &err));
    CHECK_STR(str_from(err_word(&err)), "lance_nothing_to_index");
    vectors_make(query, 1);
    add_rows(table, 0, 1, query);
    options.sub_vectors = 5;
    CHECK(!lance_index_vectors(table, &options, NULL, &err) && err.kind == LH_INVALID);
    options = (LanceVectorIndexOptions){.column = STR("id")};
    CHECK(!lance_index_vectors(table, &options, NULL, &err) && err.kind == LH_INVALID);
    LanceSearchOptions search = ask(query, LANCE_COSINE);
    search.dimension = 31;
    CHECK(!lance_search(table, &search, &arena, &hits, &count, &err) && err.kind == LH_INVALID);
    search = ask(query, LANCE_COSINE);
    memset(query, 0, sizeof query);
    CHECK(!lance_search(table, &search, &arena, &hits, &count, &err) && err.kind == LH_INVALID);
    search.k = 0;
    CHECK(!lance_search(table, &search, &arena, &hits, &count, &err) && err.kind == LH_INVALID);
}

static bool at_once(void *context) {
    return ++*(int *)context > 3;
}

TEST("a cancelled build leaves the table as it was, and no file") {
    const char *dir = kit_dir();
    OWNED(store_close) Store *store = kit_store(dir);
    OWNED(lance_close) LanceTable *table = filled_table(store, 1, 3000);
    int asked = 0;
    LanceWatch watch = {.cancelled = at_once, .context = &asked};
    LanceVectorIndexOptions options = {.column = STR("vector")};
    uint64_t version = kit_version(table);
    CHECK(!lance_index_vectors(table, &options, &watch, &err));
    CHECK_INT(err.kind, LH_CANCELLED);
    CHECK_INT(kit_version(table), version);
    OWNED(arena_close) Arena arena = {0};
    ObjectList list;
    ListOptions all = {.prefix = STR("a/t.lance/_indices/"), .limit = 10};
    CHECK_OK(store_list(store, &all, &arena, &list, &err));
    CHECK_INT(list.object_count, 0);
}

/* Threads. */

typedef struct Race {
    LanceTable *table;
    _Atomic bool stop;
    _Atomic size_t searches, bad;
} Race;

static void *race_search(void *argument) {
    Race *race = argument;
    uint64_t mine = 99;
    while (!race->stop) {
        OWNED(arena_close) Arena arena = {0};
        float query[DIMENSION];
        LanceHit *hits;
        size_t count;
        Err failed = {0};
        for (size_t i = 0; i < DIMENSION; i++)
            query[i] = (float)(random_next(&mine) % 100) / 50 - 1;
        LanceSearchOptions options = ask(query, LANCE_COSINE);
        bool ok = lance_search(race->table, &options, &arena, &hits, &count, &failed);
        if (!ok || count != 10) race->bad++;
        race->searches++;
    }
    return NULL;
}

TEST("searches go on while rows are appended and deleted and the index is built anew") {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    OWNED(lance_close) LanceTable *table = filled_table(store, 1, 2000);
    Race race = {.table = table};
    pthread_t threads[2];
    float more[40 * DIMENSION];
    build(table, LANCE_COSINE);
    for (size_t i = 0; i < 2; i++) pthread_create(&threads[i], NULL, race_search, &race);
    for (uint64_t i = 0; i < 12; i++) {
        vectors_make(more, 40);
        add_rows(table, 2000 + i * 40, 40, more);
        CHECK_OK(lance_delete(table, &i, 1, NULL, &err));
        if (i % 4 == 3) build(table, LANCE_COSINE);
    }
    race.stop = true;
    for (size_t i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    CHECK(race.searches > 0);
    CHECK_INT(race.bad, 0);
}
