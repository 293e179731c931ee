/* Files of a dataset that no version of it names: what a crash between writing and committing
 * leaves. Only data files and Avro files are looked at, and only past an age that no commit under
 * way can have; whatever is not understood stays. */
#include "catalog/table.h"

#include <stdlib.h>

typedef struct KeySet {
    Str *items; /* sorted once it is full */
    size_t len, cap;
    Arena arena;
} KeySet;

static void keys_close(KeySet *keys) {
    free(keys->items);
    arena_close(&keys->arena);
}

static void keys_add(KeySet *keys, Str key) {
    if (keys->len == keys->cap) {
        keys->cap = MAX(keys->cap * 2, 256);
        keys->items = realloc(keys->items, keys->cap * sizeof *keys->items);
        if (!keys->items) abort();
    }
    keys->items[keys->len++] = arena_copy(&keys->arena, key);
}

static int by_key(const void *a, const void *b) {
    return str_compare(*(const Str *)a, *(const Str *)b);
}

static void keys_sort(KeySet *keys) {
    if (keys->len) qsort(keys->items, keys->len, sizeof *keys->items, by_key);
}

static bool keys_have(const KeySet *keys, Str key) {
    return keys->len && bsearch(&key, keys->items, keys->len, sizeof key, by_key);
}

static bool add_uri(KeySet *keys, const Table *table, Str uri, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Str key;
    if (!table_key_of(table, uri, &arena, &key, err)) return false;
    keys_add(keys, key);
    return true;
}

static bool add_manifest(KeySet *keys, KeySet *read, const Table *table, const ManifestFile *row,
                         Err *err) {
    OWNED(arena_close) Arena arena = {0};
    ManifestEntry *entries;
    size_t count;
    for (size_t i = 0; i < read->len; i++)
        if (str_equal(read->items[i], row->path)) return true;
    keys_add(read, row->path);
    if (!add_uri(keys, table, row->path, err) ||
        !table_entries(table, row, false, &arena, &entries, &count, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!add_uri(keys, table, entries[i].path, err)) return false;
    return true;
}

static bool add_version(KeySet *keys, KeySet *read, Table *newest, int64_t version, Err *err) {
    OWNED(table_release) Table *table = NULL;
    OWNED(arena_close) Arena arena = {0};
    ManifestFile *rows;
    size_t count;
    if (!table_at_version(newest, version, &table, err)) return false;
    if (!table->snapshot) return true;
    if (!add_uri(keys, table, table->snapshot->manifest_list, err) ||
        !table_manifests(table, &arena, &rows, &count, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!add_manifest(keys, read, table, &rows[i], err)) return false;
    return true;
}

/* Snapshots that our versions do not reach (another engine's branches and tags) would lose files.
 */
static bool is_linear(const Metadata *metadata) {
    for (size_t i = 0; i < metadata->snapshot_count; i++) {
        bool logged = false;
        for (size_t j = 0; j < metadata->snapshot_log_len && !logged; j++)
            logged = metadata->snapshot_log[j].snapshot_id == metadata->snapshots[i].id;
        if (!logged) return false;
    }
    return true;
}

static bool named_keys(KeySet *keys, Table *table, Err *err) {
    OWNED(keys_close) KeySet read = {0};
    size_t versions = table->document->metadata.snapshot_log_len;
    for (size_t version = 1; version <= versions; version++)
        if (!add_version(keys, &read, table, (int64_t)version, err)) return false;
    keys_sort(keys);
    return true;
}

static bool sweep_folder(Store *store, Str prefix, Str suffix, const KeySet *keys,
                         int64_t before_ms, int64_t *removed, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    ListOptions options = {.prefix = prefix, .limit = STORE_LIST_MAX};
    ObjectList list;
    do {
        if (!store_list(store, &options, &arena, &list, err)) return false;
        for (size_t i = 0; i < list.object_count; i++) {
            const ObjectEntry *object = &list.objects[i];
            if (object->info.modified_ms >= before_ms || !str_ends(object->key, suffix) ||
                keys_have(keys, object->key))
                continue;
            if (!store_remove(store, object->key, err)) return false;
            ++*removed;
        }
        options.after = list.next;
    } while (list.next.len > 0);
    return true;
}

bool catalog_sweep(Catalog *catalog, Str dataset, int64_t before_ms, int64_t *removed, Err *err) {
    OWNED(keys_close) KeySet keys = {0};
    OWNED(table_release) Table *table = NULL;
    *removed = 0;
    if (!catalog_load(catalog, dataset, 0, &table, err)) return false;
    if (!is_linear(&table->document->metadata)) return true;
    if (!named_keys(&keys, table, err)) return false;
    Store *store = bucket_store(table->document->bucket);
    Str key = table_location_key(table);
    return sweep_folder(store, arena_print(&keys.arena, "%.*s/data/", SHOW(key)), STR(".parquet"),
                        &keys, before_ms, removed, err) &&
           sweep_folder(store, arena_print(&keys.arena, "%.*s/metadata/", SHOW(key)), STR(".avro"),
                        &keys, before_ms, removed, err);
}
