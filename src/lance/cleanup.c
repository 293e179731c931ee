/* Removing old versions, and files that nothing names any more.
 *
 * What is kept: the latest version, versions younger than asked, versions that a tag names; and
 * every data, deletion, index and transaction file that one of them names. Manifests go first, so
 * that no version that can still be seen lacks a file. A file that neither a kept nor a removed
 * version names may belong to a writer that has not committed yet: it goes only past an age of its
 * own. */
#include "lance/page.h"
#include "lance/table.h"

#include <stdlib.h>
#include <string.h>

#define TAG_BYTES_MAX (1u << 20)

/* Keys below the table's path, as a hash set. */
typedef struct KeySet {
    Str *slots;
    size_t cap, count;
} KeySet;

typedef struct Cleanup {
    LanceTable *table;
    Arena arena;
    KeySet kept, removed; /* of files that versions of either kind name */
    int64_t before_ms, orphans_before_ms;
    LanceCleaned done;
} Cleanup;

static size_t slot_of(const KeySet *set, Str key) {
    size_t at = (size_t)hash64(bytes_of(key)) & (set->cap - 1);
    while (set->slots[at].data && !str_equal(set->slots[at], key)) at = (at + 1) & (set->cap - 1);
    return at;
}

static void keys_grow(KeySet *set, Arena *arena) {
    KeySet grown = {.cap = set->cap ? set->cap * 2 : 256, .count = set->count};
    grown.slots = arena_array(arena, Str, grown.cap);
    for (size_t i = 0; i < set->cap; i++)
        if (set->slots[i].data) grown.slots[slot_of(&grown, set->slots[i])] = set->slots[i];
    *set = grown;
}

static void keys_add(KeySet *set, Arena *arena, Str key) {
    if (set->count * 2 >= set->cap) keys_grow(set, arena);
    size_t at = slot_of(set, key);
    if (set->slots[at].data) return;
    set->slots[at] = arena_copy(arena, key);
    set->count++;
}

static bool keys_have(const KeySet *set, Str key) {
    return set->cap > 0 && set->slots[slot_of(set, key)].data;
}

/* An index's files are named by their folder: "<path>/_indices/<uuid>". */
static void manifest_keys(Cleanup *cleanup, const Manifest *manifest, KeySet *set) {
    Str path = table_path(cleanup->table);
    Arena *arena = &cleanup->arena;
    for (size_t i = 0; i < manifest->fragment_count; i++) {
        const Fragment *fragment = &manifest->fragments[i];
        for (size_t k = 0; k < fragment->file_count; k++)
            keys_add(set, arena, data_key(path, fragment->files[k].path, arena));
        if (fragment->deletion.present)
            keys_add(set, arena, deletion_key(path, fragment->id, &fragment->deletion, arena));
    }
    for (size_t i = 0; i < manifest->index_count; i++) {
        char uuid[UUID_SIZE];
        uuid_text(manifest->indexes[i].uuid, uuid);
        keys_add(set, arena, arena_print(arena, "%.*s/_indices/%s", SHOW(path), uuid));
    }
    if (manifest->transaction_file.len > 0)
        keys_add(set, arena,
                 arena_print(arena, "%.*s/_transactions/%.*s", SHOW(path),
                             SHOW(manifest->transaction_file)));
}

typedef bool EachObject(Cleanup *cleanup, const ObjectEntry *entry, void *context, Err *err);

static bool each_object(Cleanup *cleanup, const char *folder, EachObject *each, void *context,
                        Err *err) {
    Str path = table_path(cleanup->table);
    ListOptions options = {
        .prefix = arena_print(&cleanup->arena, "%.*s/%s/", SHOW(path), folder),
        .limit = STORE_LIST_MAX,
    };
    do {
        ObjectList page;
        if (!store_list(table_store(cleanup->table), &options, &cleanup->arena, &page, err))
            return false;
        for (size_t i = 0; i < page.object_count; i++)
            if (!each(cleanup, &page.objects[i], context, err)) return false;
        options.after = page.next;
    } while (options.after.len > 0);
    return true;
}

/* Tags: _refs/tags/<name>.json with {"version": n}. */

typedef struct Tags {
    uint64_t *versions;
    size_t count;
} Tags;

static bool tag_read(Cleanup *cleanup, const ObjectEntry *entry, void *context, Err *err) {
    Tags *tags = context;
    Bytes bytes;
    const Json *json;
    if (!store_read(table_store(cleanup->table), entry->key, TAG_BYTES_MAX, &cleanup->arena, &bytes,
                    err) ||
        !json_read(str_of(bytes), &cleanup->arena, &json, err))
        return err_while(err, "the tag '%.*s'", SHOW(entry->key));
    int64_t version = json_get_int(json, "version", 0);
    if (version <= 0)
        return err_set(err, LH_CORRUPT, "the tag '%.*s' names no version", SHOW(entry->key));
    uint64_t *grown = arena_array(&cleanup->arena, uint64_t, tags->count + 1);
    if (tags->count) memcpy(grown, tags->versions, tags->count * sizeof *grown);
    grown[tags->count++] = (uint64_t)version;
    tags->versions = grown;
    return true;
}

static bool branch_refuse(Cleanup *cleanup, const ObjectEntry *entry, void *context, Err *err) {
    (void)cleanup, (void)context;
    return lance_unsupported(err, "the table has a branch ('%.*s'), whose files would be lost",
                             SHOW(entry->key));
}

/* Versions. */

static bool is_tagged(const Tags *tags, uint64_t version) {
    for (size_t i = 0; i < tags->count; i++)
        if (tags->versions[i] == version) return true;
    return false;
}

static bool version_remove(Cleanup *cleanup, uint64_t version, Err *err) {
    if (!table_remove_manifest(cleanup->table, version, err)) return false;
    cleanup->done.versions++;
    return true;
}

/* What the latest and the kept need is known before anything is removed. */
static bool versions_sort(Cleanup *cleanup, const Tags *tags, uint64_t *versions, size_t *count,
                          Err *err) {
    size_t all = *count, old = 0;
    for (size_t i = 0; i < all; i++) {
        OWNED(arena_close) Arena arena = {0};
        Manifest manifest;
        if (!table_read_manifest(cleanup->table, versions[i], &arena, &manifest, err)) return false;
        bool keep = i + 1 == all || manifest.committed_ms >= cleanup->before_ms ||
                    is_tagged(tags, versions[i]);
        manifest_keys(cleanup, &manifest, keep ? &cleanup->kept : &cleanup->removed);
        if (!keep) versions[old++] = versions[i];
    }
    *count = old;
    return true;
}

/* Files. */

static bool file_remove(Cleanup *cleanup, const ObjectEntry *entry, Str name, Err *err) {
    if (keys_have(&cleanup->kept, name)) return true;
    if (!keys_have(&cleanup->removed, name) &&
        entry->info.modified_ms >= cleanup->orphans_before_ms)
        return true;
    if (!store_remove(table_store(cleanup->table), entry->key, err)) return false;
    cleanup->done.files++;
    cleanup->done.bytes += entry->info.size;
    return true;
}

static bool file_visit(Cleanup *cleanup, const ObjectEntry *entry, void *context, Err *err) {
    (void)context;
    return file_remove(cleanup, entry, entry->key, err);
}

static bool index_file_visit(Cleanup *cleanup, const ObjectEntry *entry, void *context, Err *err) {
    size_t end = *(const size_t *)context + UUID_SIZE - 1;
    if (entry->key.len <= end || entry->key.data[end] != '/') return true; /* nobody's we know */
    return file_remove(cleanup, entry, str_slice(entry->key, 0, end), err);
}

static bool files_remove(Cleanup *cleanup, Err *err) {
    size_t prefix = table_path(cleanup->table).len + sizeof "/_indices/" - 1;
    return each_object(cleanup, "data", file_visit, NULL, err) &&
           each_object(cleanup, "_deletions", file_visit, NULL, err) &&
           each_object(cleanup, "_transactions", file_visit, NULL, err) &&
           each_object(cleanup, "_indices", index_file_visit, &prefix, err);
}

static bool cleanup_run(Cleanup *cleanup, Err *err) {
    Tags tags = {0};
    uint64_t *versions;
    size_t count;
    if (!each_object(cleanup, "tree", branch_refuse, NULL, err) ||
        !each_object(cleanup, "_refs/branches", branch_refuse, NULL, err) ||
        !each_object(cleanup, "_refs/tags", tag_read, &tags, err) ||
        !table_list_versions(cleanup->table, &cleanup->arena, &versions, &count, err) ||
        !versions_sort(cleanup, &tags, versions, &count, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!version_remove(cleanup, versions[i], err)) return false;
    return files_remove(cleanup, err);
}

bool lance_cleanup(LanceTable *table, int64_t before_ms, int64_t orphans_before_ms,
                   LanceCleaned *out, Err *err) {
    Cleanup cleanup = {
        .table = table, .before_ms = before_ms, .orphans_before_ms = orphans_before_ms};
    bool ok = cleanup_run(&cleanup, err);
    if (ok) *out = cleanup.done;
    arena_close(&cleanup.arena);
    return ok;
}
