/* Files of indexes that no meta.json names: what a crash during a build or a delete leaves. */
#include "vector/indexes.h"

/* A broken index keeps its files: somebody may mend it. */
static bool is_named(Indexes *indexes, Str bucket, Str key, Arena *arena) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    Str rest = str_slice(key, 8, key.len), name = str_until(&rest, '/');
    Err err;
    if (indexes_is_held(indexes, name)) return true;
    if (!indexes_find_any(indexes, name, &entry, &err)) return false;
    if (!entry->index || !str_equal(entry->meta.bucket, bucket)) return !entry->index;
    return str_is(rest, "meta.json") || str_ends(rest, STR(".log")) ||
           str_is(rest, "agent.lease") || str_starts(rest, STR("evals/")) ||
           str_starts(key, meta_rows_prefix(&entry->meta, arena)) ||
           str_equal(key, meta_build_key(&entry->meta, arena)) ||
           str_equal(key, meta_vectors_key(&entry->meta, arena)) ||
           str_equal(key, meta_text_key(&entry->meta, arena)) ||
           (str_is(entry->meta.vector_backend, "lance") &&
            (str_starts(rest, STR("docs.lance/")) ||
             str_equal(key, meta_words_key(&entry->meta, arena))));
}

bool indexes_sweep(Indexes *indexes, Str bucket_name, int64_t before_ms, int64_t *removed,
                   Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    OWNED(arena_close) Arena arena = {0};
    ListOptions options = {.prefix = STR("vectors/"), .limit = STORE_LIST_MAX};
    ObjectList list;
    *removed = 0;
    if (!bucket_find(indexes->buckets, bucket_name, &bucket, err)) return false;
    do {
        if (!store_list(bucket_store(bucket), &options, &arena, &list, err)) return false;
        for (size_t i = 0; i < list.object_count; i++) {
            const ObjectEntry *object = &list.objects[i];
            if (object->info.modified_ms >= before_ms ||
                is_named(indexes, bucket_name, object->key, &arena))
                continue;
            if (!store_remove(bucket_store(bucket), object->key, err)) return false;
            ++*removed;
        }
        options.after = list.next;
    } while (list.next.len > 0);
    return true;
}
