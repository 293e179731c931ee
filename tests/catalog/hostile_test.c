/* Documents that somebody damaged or made up: refused with a word, other datasets unharmed. */
#include "catalog/lake.h"

static Bucket *primary(Lake *lake) {
    Bucket *bucket = NULL;
    CHECK_OK(bucket_find(lake->buckets, STR("primary"), &bucket, &err));
    return bucket;
}

/* The current document of `t` with a part of it replaced, once. */
static void edit_document(Lake *lake, const char *part, const char *by) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(bucket_release) Bucket *bucket = primary(lake);
    OWNED(text_close) Text edited = {0};
    ListOptions options = {.prefix = STR("warehouse/main/t/metadata/00"), .limit = 10};
    ObjectList list;
    Bytes text;
    size_t at;
    CHECK_OK(store_list(bucket_store(bucket), &options, &arena, &list, &err));
    Str key = list.objects[list.object_count - 1].key;
    CHECK_OK(store_read(bucket_store(bucket), key, 1 << 20, &arena, &text, &err));
    CHECK(str_find(str_of(text), str_from(part), &at));
    text_add(&edited, str_slice(str_of(text), 0, at));
    text_add(&edited, str_from(by));
    text_add(&edited, str_slice(str_of(text), at + str_from(part).len, text.size));
    CHECK_OK(store_write(bucket_store(bucket), key, text_bytes(&edited), NULL, &err));
}

static ErrKind load_after(const char *part, const char *by, bool files) {
    OWNED(lake_close) Lake lake = {0};
    OWNED(table_release) Table *table = NULL;
    const char *dir = kit_dir();
    const DataFile *list;
    size_t count;
    int64_t version;
    lake_open(&lake, dir);
    CHECK_OK(lake_ingest(&lake, "t", COMMIT_CREATE, "SELECT 1 AS a", &version));
    edit_document(&lake, part, by);
    lake_close(&lake);
    lake_open(&lake, dir);
    err = (Err){0};
    bool ok = catalog_load(lake.catalog, STR("t"), 0, &table, &err);
    CHECK(ok == files);
    if (ok) CHECK(!table_files(table, &list, &count, &err));
    CHECK(err.message[0]);
    return err.kind;
}

TEST("a damaged document is refused as damaged, one of a later format as impossible") {
    CHECK_INT(load_after("{\"format", "[\"format", false), LH_CORRUPT);
    CHECK_INT(load_after("\"table-uuid\"", "\"table-guid\"", false), LH_CORRUPT);
    CHECK_INT(load_after("\"current-schema-id\":0", "\"current-schema-id\":9", false), LH_CORRUPT);
    CHECK_INT(load_after("\"current-snapshot-id\":", "\"current-snapshot-id\":1", false),
              LH_CORRUPT);
    CHECK_INT(load_after("\"format-version\":2", "\"format-version\":3", false), LH_IMPOSSIBLE);
    CHECK_INT(load_after("\"type\":\"int\"", "\"type\":\"variant\"", false), LH_IMPOSSIBLE);
}

TEST("a document cannot name files outside its table's folder") {
    CHECK_INT(load_after("/warehouse/main/t/metadata/snap", "/etc/snap", true), LH_IMPOSSIBLE);
    CHECK_INT(load_after("/warehouse/main/t/metadata/snap",
                         "/warehouse/main/t/../other/metadata/snap", true),
              LH_INVALID);
    CHECK_INT(load_after("metadata/snap-", "metadata/snip-", true), LH_CORRUPT);
}

TEST("a damaged dataset is listed with its error, and the others go on") {
    OWNED(lake_close) Lake lake = {0};
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text text = {0};
    const char *dir = kit_dir();
    const Json *list;
    int64_t version;
    lake_open(&lake, dir);
    CHECK_OK(lake_ingest(&lake, "t", COMMIT_CREATE, "SELECT 1 AS a", &version));
    CHECK_OK(lake_ingest(&lake, "u", COMMIT_CREATE, "SELECT 1 AS a", &version));
    edit_document(&lake, "{", "");
    lake_close(&lake);
    lake_open(&lake, dir);
    CHECK_OK(catalog_write_list(lake.catalog, &(JsonWriter){.out = &text}, &err));
    CHECK_OK(json_read(text_str(&text), &arena, &list, &err));
    CHECK_INT(list->len, 2);
    CHECK(json_get(&list->items[0], "error"));
    CHECK_INT(json_get_int(&list->items[1], "rows", 0), 1);
    CHECK_INT(lake_read(&lake, "u", 0, "max(a)"), 1);
}
