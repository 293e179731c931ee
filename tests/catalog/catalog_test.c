#include "catalog/lake.h"
#include "catalog/table.h"

#include <pthread.h>
#include <unistd.h>

#define COLUMNS "i::BIGINT AS id, 'row ' || i AS name, i * 0.5 AS half"

static size_t manifest_count(const Table *table) {
    OWNED(arena_close) Arena arena = {0};
    ManifestFile *rows;
    size_t count;
    CHECK_OK(table_manifests(table, &arena, &rows, &count, &err));
    return count;
}

static Lake *fresh(void) {
    static Lake lakes[32];
    static size_t used;
    Lake *lake = &lakes[used++];
    lake_open(lake, kit_dir());
    return lake;
}

static void ingest(Lake *lake, const char *name, CommitMode mode, const char *select,
                   int64_t wanted) {
    int64_t version = 0;
    CHECK_OK(lake_ingest(lake, name, mode, select, &version));
    CHECK_INT(version, wanted);
}

static const char *word(void) {
    return err_word(&err);
}

static void check_word(bool ok, ErrKind kind, const char *expected) {
    CHECK(!ok);
    CHECK_INT(err.kind, kind);
    CHECK_STR(str_from(word()), expected);
}

static const Json *json_of(Text *text, Arena *arena) {
    const Json *json = NULL;
    CHECK_OK(json_read(text_str(text), arena, &json, &err));
    text_clear(text);
    return json;
}

TEST("what is created and appended is read back, at every version, after a restart too") {
    Lake lake;
    const char *dir = kit_dir();
    lake_open(&lake, dir);
    ingest(&lake, "t", COMMIT_CREATE, "SELECT " COLUMNS " FROM range(100) t(i)", 1);
    ingest(&lake, "t", COMMIT_APPEND, "SELECT " COLUMNS " FROM range(100, 150) t(i)", 2);
    ingest(&lake, "t", COMMIT_APPEND, "SELECT " COLUMNS " FROM range(150, 151) t(i)", 3);
    for (int round = 0; round < 2; round++) {
        OWNED(table_release) Table *table = NULL;
        CHECK_INT(lake_read(&lake, "t", 0, "count(*)"), 151);
        CHECK_INT(lake_read(&lake, "t", 1, "sum(id)"), 4950);
        CHECK_INT(lake_read(&lake, "main.t", 2, "max(id)"), 149);
        CHECK_OK(catalog_load(lake.catalog, STR("t"), 0, &table, &err));
        CHECK_INT(table_rows(table), 151);
        CHECK_INT(table_version(table), 3);
        CHECK_STR(table_name(table), "t");
        CHECK_STR(table_location_key(table), "warehouse/main/t");
        CHECK(table_bytes(table) > 0);
        lake_close(&lake);
        if (round == 0) lake_open(&lake, dir);
    }
}

TEST("a create of what exists, an append to what does not, a version that is not: refused") {
    Lake *lake = fresh();
    Table *table;
    int64_t version;
    ingest(lake, "orders", COMMIT_CREATE, "SELECT 1 AS a", 1);
    check_word(lake_ingest(lake, "orders", COMMIT_CREATE, "SELECT 1 AS a", &version), LH_CONFLICT,
               "dataset_exists");
    check_word(lake_ingest(lake, "ordres", COMMIT_APPEND, "SELECT 1 AS a", &version), LH_MISSING,
               "dataset_not_found");
    CHECK(strstr(err.message, "did you mean 'orders'"));
    check_word(catalog_load(lake->catalog, STR("orders"), 2, &table, &err), LH_MISSING,
               "version_not_found");
    check_word(catalog_load(lake->catalog, STR("orders"), -1, &table, &err), LH_MISSING,
               "version_not_found");
    lake_close(lake);
}

TEST("names that are no SQL identifiers are refused") {
    const char *bad[] = {"",
                         "A",
                         "1a",
                         "a-b",
                         "a.b.c",
                         ".a",
                         "a.",
                         "a b",
                         "a/b",
                         "..",
                         "a..b",
                         "\xc3\xa9",
                         "a23456789012345678901234567890123456789012345678901234567890123x"};
    for (size_t i = 0; i < COUNT(bad); i++)
        check_word(dataset_name_check(str_from(bad[i]), &err), LH_INVALID, "bad_dataset_name");
    CHECK_OK(dataset_name_check(STR("_a1"), &err));
    CHECK_OK(dataset_name_check(STR("sales.orders_2024"), &err));
}

TEST("an append must agree with the columns, and each difference is named") {
    Lake *lake = fresh();
    int64_t version;
    ingest(lake, "t", COMMIT_CREATE, "SELECT 1::BIGINT AS a, 'x' AS b, 1.5::DOUBLE AS c", 1);
    check_word(lake_ingest(lake, "t", COMMIT_APPEND, "SELECT 'x' AS a, 1.5::DOUBLE AS c, 1 AS d",
                           &version),
               LH_CONFLICT, "schema_mismatch");
    CHECK(strstr(err.message, "'a' is VARCHAR, in the dataset it is BIGINT"));
    CHECK(strstr(err.message, "'d' (INTEGER) is not a column"));
    CHECK(strstr(err.message, "'b' (VARCHAR) is missing"));
    /* another order, and a narrower type that the caller casts to the planned one */
    ingest(lake, "t", COMMIT_APPEND, "SELECT 2.5::DOUBLE AS c, 'y' AS b, 2::BIGINT AS a", 2);
    CHECK_INT(lake_read(lake, "t", 0, "sum(a) * 100 + sum(c)::BIGINT"), 304);
    lake_close(lake);
}

TEST("a replace may change columns; those that stay keep their ids, old versions stay readable") {
    Lake *lake = fresh();
    OWNED(table_release) Table *before = NULL;
    OWNED(table_release) Table *after = NULL;
    ingest(lake, "t", COMMIT_CREATE, "SELECT 1::BIGINT AS a, 'x' AS b", 1);
    CHECK_OK(catalog_load(lake->catalog, STR("t"), 0, &before, &err));
    ingest(lake, "t", COMMIT_REPLACE, "SELECT 'now text' AS a, 'y' AS b, 7 AS c", 2);
    CHECK_OK(catalog_load(lake->catalog, STR("t"), 0, &after, &err));
    const Schema *old = table_schema(before), *new = table_schema(after);
    CHECK_INT(schema_find(new, STR("b"))->id, schema_find(old, STR("b"))->id);
    CHECK(schema_find(new, STR("a"))->id > 2);
    CHECK(schema_find(new, STR("c"))->id > schema_find(new, STR("a"))->id);
    CHECK_INT(table_rows(after), 1);
    CHECK_INT(lake_read(lake, "t", 1, "max(a)"), 1);
    CHECK_INT(lake_read(lake, "t", 0, "max(c)"), 7);
    ingest(lake, "t", COMMIT_APPEND, "SELECT 'more' AS a, 'z' AS b, 8 AS c", 3);
    CHECK_INT(lake_read(lake, "t", 0, "sum(c)"), 15);
    lake_close(lake);
}

TEST("a rollback is a new version that equals the old one, columns included") {
    Lake *lake = fresh();
    int64_t version;
    ingest(lake, "t", COMMIT_CREATE, "SELECT 1::BIGINT AS a", 1);
    ingest(lake, "t", COMMIT_REPLACE, "SELECT 'other' AS z", 2);
    CHECK_OK(catalog_rollback(lake->catalog, STR("t"), 1, &version, &err));
    CHECK_INT(version, 3);
    CHECK_INT(lake_read(lake, "t", 0, "max(a)"), 1);
    check_word(catalog_rollback(lake->catalog, STR("t"), 9, &version, &err), LH_MISSING,
               "version_not_found");
    ingest(lake, "t", COMMIT_APPEND, "SELECT 2::BIGINT AS a", 4);
    CHECK_INT(lake_read(lake, "t", 0, "sum(a)"), 3);
    lake_close(lake);
}

TEST("a patch sets and removes properties without a new version") {
    Lake *lake = fresh();
    OWNED(table_release) Table *table = NULL;
    Property set[] = {
        {STR(PROPERTY_OWNER), STR("data team")},
        {STR("x"),            STR("1")        }
    };
    Property clear[] = {
        {STR("x"), STR("")}
    };
    ingest(lake, "t", COMMIT_CREATE, "SELECT 1 AS a", 1);
    CHECK_OK(catalog_patch(lake->catalog, STR("t"), set, 2, &err));
    CHECK_OK(catalog_patch(lake->catalog, STR("t"), clear, 1, &err));
    CHECK_OK(catalog_load(lake->catalog, STR("t"), 0, &table, &err));
    CHECK_STR(table_property(table, PROPERTY_OWNER), "data team");
    CHECK_STR(table_property(table, "x"), "");
    CHECK_INT(table_version(table), 1);
    check_word(catalog_patch(lake->catalog, STR("none"), set, 2, &err), LH_MISSING,
               "dataset_not_found");
    lake_close(lake);
}

TEST("a dropped dataset is gone, its name serves again, and a purge removes its files") {
    Lake *lake = fresh();
    OWNED(arena_close) Arena arena = {0};
    OWNED(bucket_release) Bucket *bucket = NULL;
    ListOptions options = {.prefix = STR("warehouse/main/t/data/"), .limit = 100};
    ObjectList list;
    Table *table;
    Str *names;
    size_t count;
    CHECK_OK(bucket_find(lake->buckets, STR("primary"), &bucket, &err));
    ingest(lake, "t", COMMIT_CREATE, "SELECT 1 AS a", 1);
    CHECK_OK(catalog_drop(lake->catalog, STR("t"), false, &err));
    check_word(catalog_load(lake->catalog, STR("t"), 0, &table, &err), LH_MISSING,
               "dataset_not_found");
    check_word(catalog_drop(lake->catalog, STR("t"), false, &err), LH_MISSING, "dataset_not_found");
    CHECK_OK(store_list(bucket_store(bucket), &options, &arena, &list, &err));
    CHECK_INT(list.object_count, 1);
    ingest(lake, "t", COMMIT_CREATE, "SELECT 'again' AS b", 1);
    CHECK_OK(catalog_names(lake->catalog, &arena, &names, &count, &err));
    CHECK_INT(count, 1);
    CHECK_OK(catalog_drop(lake->catalog, STR("t"), true, &err));
    CHECK_OK(store_list(bucket_store(bucket), &options, &arena, &list, &err));
    CHECK_INT(list.object_count, 0);
    CHECK_OK(catalog_names(lake->catalog, &arena, &names, &count, &err));
    CHECK_INT(count, 0);
    lake_close(lake);
}

TEST("names come sorted, over all buckets, and a bucket with a dataset is in use") {
    Lake *lake = fresh();
    OWNED(arena_close) Arena arena = {0};
    Str *names;
    size_t count;
    ingest(lake, "zeta", COMMIT_CREATE, "SELECT 1 AS a", 1);
    ingest(lake, "sales.orders", COMMIT_CREATE, "SELECT 1 AS a", 1);
    ingest(lake, "alpha", COMMIT_CREATE, "SELECT 1 AS a", 1);
    CHECK_OK(catalog_names(lake->catalog, &arena, &names, &count, &err));
    CHECK_INT(count, 3);
    CHECK_STR(names[0], "alpha");
    CHECK_STR(names[1], "sales.orders");
    CHECK_STR(names[2], "zeta");
    check_word(catalog_bucket_in_use(lake->catalog, STR("primary"), &err), LH_CONFLICT,
               "bucket_in_use");
    CHECK_OK(catalog_bucket_in_use(lake->catalog, STR("rescue"), &err));
    lake_close(lake);
}

typedef struct Writer {
    Lake *lake;
    Catalog *catalog;
    const Schema *schema;
    DataFile files[5];
    int failed;
} Writer;

static void *append_run(void *context) {
    Writer *writer = context;
    for (size_t i = 0; i < COUNT(writer->files); i++) {
        Err mine = {0};
        int64_t version;
        Commit commit = {.dataset = STR("t"),
                         .mode = COMMIT_APPEND,
                         .schema = writer->schema,
                         .files = &writer->files[i],
                         .file_count = 1};
        writer->failed += !catalog_commit(writer->catalog, &commit, &version, &mine);
    }
    return NULL;
}

static void check_one_chain(Lake *lake, int64_t versions) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(bucket_release) Bucket *bucket = NULL;
    Bytes text;
    const Json *json;
    char key[80];
    CHECK_OK(bucket_find(lake->buckets, STR("primary"), &bucket, &err));
    snprintf(key, sizeof key, "warehouse/main/t/metadata/v%lld.metadata.json", (long long)versions);
    CHECK_OK(store_read(bucket_store(bucket), str_from(key), 1 << 24, &arena, &text, &err));
    CHECK_OK(json_read(str_of(text), &arena, &json, &err));
    const Json *snapshots = json_get(json, "snapshots");
    CHECK_INT(snapshots->len, versions);
    for (size_t i = 0; i < snapshots->len; i++) {
        int64_t parent = i ? json_get_int(&snapshots->items[i - 1], "snapshot-id", -2) : -1;
        CHECK_INT(json_get_int(&snapshots->items[i], "parent-snapshot-id", -1), parent);
        CHECK_INT(json_get_int(&snapshots->items[i], "sequence-number", 0), (int64_t)i + 1);
    }
}

/* The second catalog has a cache and locks of its own, as another process would have, so that its
 * commits really race for the pointers. */
TEST("of 40 commits by 8 threads over two catalogs none is lost, and they form one chain") {
    Lake *lake = fresh();
    OWNED(arena_close) Arena arena = {0};
    OWNED(catalog_close) Catalog *other = NULL;
    OWNED(table_release) Table *table = NULL;
    static Writer writers[8];
    pthread_t threads[8];
    Str bucket, location;
    const Schema *schema;
    ingest(lake, "t", COMMIT_CREATE, "SELECT 1::BIGINT AS id", 1);
    CHECK_OK(catalog_open(lake->buckets, NULL, &other, &err));
    Schema wanted = lake_schema("SELECT 1::BIGINT AS id", &arena);
    CHECK_OK(catalog_plan(lake->catalog, STR("t"), COMMIT_APPEND, (Str){0}, &wanted, &arena,
                          &schema, &bucket, &location, &err));
    for (int i = 0; i < 8; i++) {
        writers[i] =
            (Writer){.lake = lake, .catalog = i % 2 ? other : lake->catalog, .schema = schema};
        for (int j = 0; j < 5; j++)
            lake_file(lake, "SELECT 1::BIGINT AS id", schema, bucket, location, &arena,
                      &writers[i].files[j]);
    }
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, append_run, &writers[i]) == 0);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 8; i++) CHECK_INT(writers[i].failed, 0);
    CHECK_INT(lake_read(lake, "t", 0, "sum(id)"), 41);
    CHECK_OK(catalog_load(other, STR("t"), 0, &table, &err));
    CHECK_INT(table_version(table), 41);
    CHECK_INT(table_rows(table), 41);
    check_one_chain(lake, 41);
    catalog_close(&other);
    lake_close(lake);
}

TEST("after many appends the manifests are merged, and nothing is lost or changed") {
    Lake *lake = fresh();
    OWNED(arena_close) Arena arena = {0};
    OWNED(table_release) Table *table = NULL;
    const Schema *schema;
    const DataFile *files;
    DataFile file;
    size_t count;
    Str bucket, location;
    int64_t version;
    ingest(lake, "t", COMMIT_CREATE, "SELECT 0::BIGINT AS id", 1);
    Schema wanted = lake_schema("SELECT 1::BIGINT AS id", &arena);
    CHECK_OK(catalog_plan(lake->catalog, STR("t"), COMMIT_APPEND, (Str){0}, &wanted, &arena,
                          &schema, &bucket, &location, &err));
    for (int i = 1; i <= 80; i++) {
        char select[48];
        snprintf(select, sizeof select, "SELECT %d::BIGINT AS id", i);
        lake_file(lake, select, schema, bucket, location, &arena, &file);
        Commit commit = {.dataset = STR("t"),
                         .mode = COMMIT_APPEND,
                         .schema = schema,
                         .files = &file,
                         .file_count = 1};
        CHECK_OK(catalog_commit(lake->catalog, &commit, &version, &err));
    }
    CHECK_INT(version, 81);
    CHECK_INT(lake_read(lake, "t", 0, "sum(id)"), 80 * 81 / 2);
    CHECK_INT(lake_read(lake, "t", 70, "sum(id)"), 69 * 70 / 2);
    CHECK_OK(catalog_load(lake->catalog, STR("t"), 0, &table, &err));
    CHECK_OK(table_files(table, &files, &count, &err));
    CHECK_INT(count, 81);
    CHECK_INT(table_rows(table), 81);
    CHECK(manifest_count(table) < 64);
    lake_close(lake);
}

typedef struct Creator {
    Catalog *catalog;
    const Schema *schema;
    _Atomic int *won, *refused;
} Creator;

static void *create_run(void *context) {
    Creator *creator = context;
    Err mine = {0};
    int64_t version;
    Commit commit = {.dataset = STR("t"), .mode = COMMIT_CREATE, .schema = creator->schema};
    bool ok = catalog_commit(creator->catalog, &commit, &version, &mine);
    *creator->won += ok;
    *creator->refused += !ok && mine.kind == LH_CONFLICT;
    return NULL;
}

TEST("of racing creates one wins and the others are told that it exists") {
    Lake *lake = fresh();
    OWNED(arena_close) Arena arena = {0};
    OWNED(catalog_close) Catalog *other = NULL;
    pthread_t threads[8];
    Creator creators[8];
    _Atomic int won = 0, refused = 0;
    Str bucket, location;
    const Schema *schema;
    CHECK_OK(catalog_open(lake->buckets, NULL, &other, &err));
    Schema wanted = lake_schema("SELECT 1::BIGINT AS id", &arena);
    CHECK_OK(catalog_plan(lake->catalog, STR("t"), COMMIT_CREATE, (Str){0}, &wanted, &arena,
                          &schema, &bucket, &location, &err));
    for (int i = 0; i < 8; i++) {
        creators[i] = (Creator){i % 2 ? other : lake->catalog, schema, &won, &refused};
        CHECK(pthread_create(&threads[i], NULL, create_run, &creators[i]) == 0);
    }
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    CHECK_INT(won, 1);
    CHECK_INT(refused, 7);
    catalog_close(&other);
    lake_close(lake);
}

TEST("a replace made from an old version is refused when another commit came between") {
    Lake *lake = fresh();
    OWNED(arena_close) Arena arena = {0};
    int64_t version;
    Str bucket, location;
    const Schema *schema;
    ingest(lake, "t", COMMIT_CREATE, "SELECT 1::BIGINT AS id", 1);
    Schema wanted = lake_schema("SELECT 1::BIGINT AS id", &arena);
    CHECK_OK(catalog_plan(lake->catalog, STR("t"), COMMIT_REPLACE, (Str){0}, &wanted, &arena,
                          &schema, &bucket, &location, &err));
    ingest(lake, "t", COMMIT_APPEND, "SELECT 2::BIGINT AS id", 2);
    Commit commit = {.dataset = STR("t"),
                     .mode = COMMIT_REPLACE,
                     .schema = schema,
                     .base_version = 1,
                     .operation_note = "delete"};
    check_word(catalog_commit(lake->catalog, &commit, &version, &err), LH_CONFLICT,
               "dataset_changed");
    commit.base_version = 2;
    CHECK_OK(catalog_commit(lake->catalog, &commit, &version, &err));
    CHECK_INT(lake_read(lake, "t", 0, "count(*)"), 0);
    lake_close(lake);
}

typedef struct Heard {
    int count;
    CatalogEventKind kinds[8];
    int64_t versions[8];
} Heard;

static void hear(void *context, const CatalogEvent *event) {
    Heard *heard = context;
    heard->kinds[heard->count] = event->kind;
    heard->versions[heard->count++] = event->version;
}

TEST("subscribers hear of each change once it is made, and of none that was refused") {
    Lake *lake = fresh();
    Heard heard = {0};
    int64_t version;
    catalog_subscribe(lake->catalog, hear, &heard);
    ingest(lake, "t", COMMIT_CREATE, "SELECT 1 AS a", 1);
    CHECK(!lake_ingest(lake, "t", COMMIT_CREATE, "SELECT 1 AS a", &version));
    ingest(lake, "t", COMMIT_APPEND, "SELECT 2 AS a", 2);
    ingest(lake, "t", COMMIT_REPLACE, "SELECT 3 AS a", 3);
    CHECK_OK(catalog_drop(lake->catalog, STR("t"), false, &err));
    CHECK_INT(heard.count, 4);
    for (int i = 0; i < 4; i++) CHECK_INT(heard.kinds[i], DATASET_CREATED + i);
    CHECK_INT(heard.versions[1], 2);
    ingest(lake, "fresh", COMMIT_REPLACE, "SELECT 1 AS a", 1);
    CHECK_INT(heard.kinds[4], DATASET_CREATED);
    lake_close(lake);
}

TEST("a held table outlives commits, drops and the purge of what it lists") {
    Lake *lake = fresh();
    OWNED(table_release) Table *table = NULL;
    const DataFile *files;
    size_t count;
    ingest(lake, "t", COMMIT_CREATE, "SELECT 1 AS a", 1);
    CHECK_OK(catalog_load(lake->catalog, STR("t"), 0, &table, &err));
    CHECK_OK(table_files(table, &files, &count, &err));
    ingest(lake, "t", COMMIT_APPEND, "SELECT 2 AS a", 2);
    CHECK_OK(catalog_drop(lake->catalog, STR("t"), true, &err));
    CHECK_INT(count, 1);
    CHECK_INT(files[0].rows, 1);
    CHECK_INT(files[0].columns[0].null_count, 0);
    CHECK_STR(table_name(table), "t");
    lake_close(lake);
    CHECK_STR(table_bucket(table), "primary");
}

TEST("a lake that was copied elsewhere is readable and writable there") {
    Lake lake;
    const char *dir = kit_dir(), *other = kit_dir();
    char command[300];
    lake_open(&lake, dir);
    ingest(&lake, "t", COMMIT_CREATE, "SELECT 1::BIGINT AS a", 1);
    lake_close(&lake);
    snprintf(command, sizeof command, "cp -a '%s/.' '%s/' && rm -rf '%s/primary'", dir, other, dir);
    CHECK(system(command) == 0);
    lake_open(&lake, other);
    CHECK_INT(lake_read(&lake, "t", 0, "sum(a)"), 1);
    ingest(&lake, "t", COMMIT_APPEND, "SELECT 2::BIGINT AS a", 2);
    CHECK_INT(lake_read(&lake, "t", 0, "sum(a)"), 3);
    lake_close(&lake);
}

TEST("the answers name versions, columns, PII, lineage and history") {
    Lake *lake = fresh();
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text text = {0};
    int64_t version;
    Property set[] = {
        {STR(PROPERTY_PII),         STR("{\"name\":{\"kind\":\"name\",\"confidence\":0.9},"
                                "\"id\":{\"kind\":\"phone\",\"confidence\":0.6}}")},
        {STR(PROPERTY_PII_SET),     STR("{\"id\":null}")                                                     },
        {STR(PROPERTY_TAGS),        STR("[\"gold\"]")                                                        },
        {STR(PROPERTY_COLUMN_DOCS), STR("{\"half\":\"half of it\"}")                                         }
    };
    ingest(lake, "t", COMMIT_CREATE, "SELECT " COLUMNS " FROM range(3) t(i)", 1);
    ingest(lake, "t", COMMIT_APPEND, "SELECT " COLUMNS " FROM range(2) t(i)", 2);
    CHECK_OK(catalog_patch(lake->catalog, STR("t"), set, COUNT(set), &err));
    CHECK_OK(catalog_rollback(lake->catalog, STR("t"), 1, &version, &err));
    CHECK_OK(catalog_write_list(lake->catalog, &(JsonWriter){.out = &text}, &err));
    const Json *list = json_of(&text, &arena);
    CHECK_INT(list->len, 1);
    CHECK_INT(json_get_int(&list->items[0], "version", 0), 3);
    CHECK_INT(json_get_int(&list->items[0], "rows", 0), 3);
    CHECK_INT(json_get_int(&list->items[0], "columns", 0), 3);
    CHECK(json_get_flag(&list->items[0], "sensitive", false));
    CHECK_OK(catalog_write_dataset(lake->catalog, STR("t"), 2, &(JsonWriter){.out = &text}, &err));
    const Json *one = json_of(&text, &arena);
    CHECK_INT(json_get_int(one, "version", 0), 2);
    CHECK_INT(json_get_int(one, "rows", 0), 5);
    const Json *schema = json_get(one, "schema"), *history = json_get(one, "history");
    CHECK_STR(json_get_text(&schema->items[0], "type", STR("")), "BIGINT");
    CHECK(json_get(&schema->items[0], "pii")->kind == JSON_NULL);
    CHECK_STR(json_get_text(json_get(&schema->items[1], "pii"), "kind", STR("")), "name");
    CHECK_STR(json_get_text(&schema->items[2], "description", STR("")), "half of it");
    CHECK_INT(json_get(one, "lineage")->len, 2);
    CHECK_INT(history->len, 3);
    CHECK_INT(json_get_int(&history->items[1], "rows_added", 0), 2);
    CHECK_STR(json_get_text(&history->items[1], "operation", STR("")), "append");
    CHECK_STR(json_get_text(&history->items[2], "operation", STR("")), "rollback");
    CHECK_OK(
        catalog_write_lineage(lake->catalog, STR("t"), NULL, 0, &(JsonWriter){.out = &text}, &err));
    const Json *lineage = json_of(&text, &arena);
    CHECK_INT(json_get(lineage, "nodes")->len, 3);
    CHECK_INT(json_get(lineage, "edges")->len, 2);
    lake_close(lake);
}

TEST("a load costs microseconds when nothing changed") {
    Lake *lake = fresh();
    ingest(lake, "t", COMMIT_CREATE, "SELECT 1 AS a", 1);
    int64_t started = clock_us();
    for (int i = 0; i < 1000; i++) {
        OWNED(table_release) Table *table = NULL;
        CHECK_OK(catalog_load(lake->catalog, STR("t"), 0, &table, &err));
    }
    int64_t each_ns = clock_us() - started;
    if (getenv("LAKEHOUSE_TEST_LOG")) printf("  %lld ns a load\n", (long long)each_ns);
    CHECK(each_ns < 200000); /* generous: sanitizers and a busy machine */
    lake_close(lake);
}

static bool admits_t(const void *context, Str dataset, Str bucket) {
    const char *foreign = context;
    return str_is(dataset, "t") && !str_is(bucket, foreign);
}

TEST("a thread that is bound reads, changes and lists what it is admitted to, by its name and its "
     "home") {
    OWNED(arena_close) Arena arena = {0};
    Lake *lake = fresh();
    Str *names;
    size_t count;
    int64_t version;
    const Property owner = {STR(PROPERTY_OWNER), STR("me")};
    ingest(lake, "t", COMMIT_CREATE, "SELECT " COLUMNS " FROM range(3) t(i)", 1);
    ingest(lake, "u", COMMIT_CREATE, "SELECT " COLUMNS " FROM range(3) t(i)", 1);
    for (int round = 0; round < 2; round++) { /* then its home is another's */
        OWNED(table_release) Table *table = NULL;
        catalog_bound(admits_t, round ? "primary" : "elsewhere");
        CHECK(catalog_load(lake->catalog, STR("t"), 0, &table, &err) == !round);
        CHECK_OK(catalog_names(lake->catalog, &arena, &names, &count, &err));
        CHECK_INT(count, !round);
        CHECK(catalog_patch(lake->catalog, STR("t"), &owner, 1, &err) == !round);
        const char *others[] = {"u", "main.u", "t2"};
        for (size_t i = 0; i < COUNT(others); i++) {
            Str name = str_from(others[i]);
            check_word(catalog_load(lake->catalog, name, 0, &table, &err), LH_DENIED,
                       "out_of_scope");
            check_word(catalog_patch(lake->catalog, name, &owner, 1, &err), LH_DENIED,
                       "out_of_scope");
            check_word(catalog_rollback(lake->catalog, name, 1, &version, &err), LH_DENIED,
                       "out_of_scope");
            check_word(catalog_drop(lake->catalog, name, true, &err), LH_DENIED, "out_of_scope");
        }
        check_word(lake_ingest(lake, "v", COMMIT_CREATE, "SELECT 1 AS id", &version), LH_DENIED,
                   "out_of_scope");
        check_word(lake_ingest(lake, "u", COMMIT_REPLACE, "SELECT 1 AS id", &version), LH_DENIED,
                   "out_of_scope");
        catalog_bound(NULL, NULL);
    }
    CHECK_OK(catalog_names(lake->catalog, &arena, &names, &count, &err));
    CHECK_INT(count, 2);
    CHECK_OK(catalog_drop(lake->catalog, STR("u"), true, &err));
    lake_close(lake);
}

TEST("a commit is bound as well, whatever was planned before") {
    Lake *lake = fresh();
    int64_t version;
    ingest(lake, "t", COMMIT_CREATE, "SELECT " COLUMNS " FROM range(3) t(i)", 1);
    const Schema *schema;
    Str home, location;
    OWNED(table_release) Table *table = NULL;
    OWNED(arena_close) Arena arena = {0};
    CHECK_OK(catalog_load(lake->catalog, STR("t"), 0, &table, &err));
    CHECK_OK(catalog_plan(lake->catalog, STR("w"), COMMIT_CREATE, STR("primary"),
                          table_schema(table), &arena, &schema, &home, &location, &err));
    const Commit commit = {
        .dataset = STR("w"), .bucket = home, .mode = COMMIT_CREATE, .schema = schema};
    catalog_bound(admits_t, "");
    check_word(catalog_commit(lake->catalog, &commit, &version, &err), LH_DENIED, "out_of_scope");
    catalog_bound(NULL, NULL);
    CHECK_OK(catalog_commit(lake->catalog, &commit, &version, &err));
    lake_close(lake);
}
