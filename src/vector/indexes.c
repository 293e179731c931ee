/* The registry: which indexes there are, found at start in every bucket by
 * vectors/<index>/meta.json and kept behind a read-write lock. */
#include "vector/indexes.h"
#include "vector/index_lance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define META_SIZE_MAX (1 << 20)

static void entry_free(IndexEntry *entry) {
    doc_table_close(&entry->docs);
    embedder_close(&entry->embedder);
    text_index_close(&entry->text);
    index_close(&entry->index);
    bucket_release(&entry->bucket);
    pthread_mutex_destroy(&entry->lock);
    arena_close(&entry->arena);
    free(entry);
}

void index_entry_release(IndexEntry **entry) {
    if (!*entry) return;
    if (atomic_fetch_sub(&(*entry)->holders, 1) == 1) entry_free(*entry);
    *entry = NULL;
}

static bool open_embedder(IndexEntry *entry, Err *err) {
    Bytes statistics = entry->index->ops->embedder(entry->index);
    if (entry->meta.model.len == 0) return true;
    if (!embedder_open(entry->meta.model, &entry->embedder, err)) return false;
    if (statistics.size && !embedder_load(entry->embedder, statistics, err)) return false;
    if (!str_equal(embedder_digest(entry->embedder), entry->meta.model_digest))
        return err_set(err, LH_CORRUPT, "the model '%.*s' is not the one that made the vectors",
                       SHOW(entry->meta.model));
    return true;
}

static bool is_lance(const IndexMeta *meta) {
    return str_is(meta->vector_backend, "lance");
}

static bool open_text(Store *store, IndexEntry *entry, Err *err) {
    OWNED(local_file_close) LocalFile *file = NULL;
    Str key = meta_text_key(&entry->meta, &entry->arena);
    if (entry->meta.text_column.len == 0) return true;
    if (!store_local_file(store, key, LOCAL_WHOLE, true, &file, err) ||
        !text_index_open(local_file_path(file), &entry->text, err))
        return false;
    /* Rows that were appended to a Lance table since have no words yet. */
    size_t rows = text_index_rows(entry->text);
    if (is_lance(&entry->meta) && rows > entry->index->count) {
        log_warn("index '%.*s': rows of docs.lance are gone: its words are not searched until "
                 "/vectors/lance/index builds them anew",
                 SHOW(entry->meta.index));
        text_index_close(&entry->text);
        return true;
    }
    return is_lance(&entry->meta) || rows == entry->index->count ||
           err_set(err, LH_CORRUPT, "the text index has other rows than the index");
}

static bool open_file(Store *store, IndexEntry *entry, Err *err) {
    OWNED(local_file_close) LocalFile *file = NULL; /* mapped: it stays when it is evicted */
    Str key = meta_build_key(&entry->meta, &entry->arena);
    return store_local_file(store, key, LOCAL_WHOLE, true, &file, err) &&
           index_hnsw_open(local_file_path(file), &entry->index, err);
}

/* A table is read from its store for as long as it is open. */
static bool open_table(Bucket *bucket, IndexEntry *entry, Err *err) {
    entry->bucket = bucket_hold(bucket);
    entry->rows = arena_print(&entry->arena, "%.*s+%lld", SHOW(entry->meta.vectors),
                              (long long)entry->meta.rows);
    return index_lance_open(bucket_store(bucket), &entry->meta, &entry->index, err);
}

static bool open_index(Bucket *bucket, IndexEntry *entry, Err *err) {
    return is_lance(&entry->meta) ? open_table(bucket, entry, err)
                                  : open_file(bucket_store(bucket), entry, err);
}

static bool entry_load(Indexes *indexes, IndexEntry *entry, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    return bucket_find(indexes->buckets, entry->meta.bucket, &bucket, err) &&
           open_index(bucket, entry, err) && open_text(bucket_store(bucket), entry, err) &&
           open_embedder(entry, err);
}

IndexEntry *index_entry_open(Indexes *indexes, const IndexMeta *meta) {
    IndexEntry *entry = calloc(1, sizeof *entry);
    Err err = {0};
    if (!entry) abort();
    atomic_init(&entry->holders, 1);
    pthread_mutex_init(&entry->lock, NULL);
    entry->meta = meta_copy(meta, &entry->arena);
    if (!entry_load(indexes, entry, &err)) {
        index_close(&entry->index);
        entry->broken = err;
        log_error("index '%.*s' cannot be opened: %s", SHOW(meta->index), err.message);
    }
    return entry;
}

/* The entry's place, or where it would go; the lock is held. */
static size_t entry_place(const Indexes *indexes, Str name, bool *found) {
    size_t at = 0;
    while (at < indexes->entry_count && str_compare(indexes->entries[at]->meta.index, name) < 0)
        at++;
    *found = at < indexes->entry_count && str_equal(indexes->entries[at]->meta.index, name);
    return at;
}

static bool not_found(const Indexes *indexes, Str name, Err *err) {
    const IndexEntry *near = NULL;
    for (size_t i = 0; i < indexes->entry_count; i++)
        if (str_distance(indexes->entries[i]->meta.index, name) <= 2) near = indexes->entries[i];
    int len = (int)MIN(name.len, INDEX_NAME_MAX);
    if (near)
        return err_code(err, LH_MISSING, "index_not_found",
                        "no index named '%.*s'; did you mean '%.*s'?", len, name.data,
                        SHOW(near->meta.index));
    return err_code(err, LH_MISSING, "index_not_found", "no index named '%.*s'", len, name.data);
}

bool indexes_find_any(Indexes *indexes, Str name, IndexEntry **out, Err *err) {
    bool found;
    pthread_rwlock_rdlock(&indexes->lock);
    size_t at = entry_place(indexes, name, &found);
    if (found) {
        *out = indexes->entries[at];
        atomic_fetch_add(&(*out)->holders, 1);
    } else {
        not_found(indexes, name, err);
    }
    pthread_rwlock_unlock(&indexes->lock);
    return found;
}

bool indexes_find(Indexes *indexes, Str name, IndexEntry **out, Err *err) {
    IndexEntry *entry = NULL;
    if (!indexes_find_any(indexes, name, &entry, err)) return false;
    if (!entry->index) {
        *err = entry->broken;
        index_entry_release(&entry);
        return err_while(err, "index '%.*s'", SHOW(name));
    }
    *out = entry;
    return true;
}

static bool is_building(const Indexes *indexes, Str name) {
    for (size_t i = 0; i < indexes->building_count; i++)
        if (str_is(name, indexes->building[i])) return true;
    return false;
}

static bool add_building(Indexes *indexes, Str name, Err *err) {
    if (indexes->building_count == COUNT(indexes->building) ||
        indexes->entry_count == INDEX_COUNT_MAX)
        return err_set(err, LH_BUSY, "too many indexes: at most %d, %zu of them being built",
                       INDEX_COUNT_MAX, COUNT(indexes->building));
    snprintf(indexes->building[indexes->building_count++], INDEX_NAME_MAX + 1, "%.*s", SHOW(name));
    return true;
}

bool indexes_reserve(Indexes *indexes, Str name, Err *err) {
    bool found;
    pthread_rwlock_wrlock(&indexes->lock);
    entry_place(indexes, name, &found);
    bool ok = found || is_building(indexes, name)
                  ? err_code(err, LH_CONFLICT, "index_exists", "there is an index '%.*s' already",
                             SHOW(name))
                  : add_building(indexes, name, err);
    pthread_rwlock_unlock(&indexes->lock);
    return ok;
}

bool indexes_hold(Indexes *indexes, Str name, Err *err) {
    pthread_rwlock_wrlock(&indexes->lock);
    bool ok =
        is_building(indexes, name)
            ? err_code(err, LH_CONFLICT, "index_busy",
                       "index '%.*s' is being changed: try again when that is done", SHOW(name))
            : add_building(indexes, name, err);
    pthread_rwlock_unlock(&indexes->lock);
    return ok;
}

void indexes_unreserve(Indexes *indexes, Str name) {
    pthread_rwlock_wrlock(&indexes->lock);
    for (size_t i = 0; i < indexes->building_count; i++)
        if (str_is(name, indexes->building[i])) {
            indexes->building_count--;
            memmove(indexes->building[i], indexes->building[indexes->building_count],
                    sizeof indexes->building[i]);
            break;
        }
    pthread_rwlock_unlock(&indexes->lock);
}

static void entries_insert(Indexes *indexes, size_t at, IndexEntry *entry) {
    if (indexes->entry_count == indexes->entry_cap) {
        indexes->entry_cap = MAX(indexes->entry_cap * 2, 16);
        indexes->entries = realloc(indexes->entries, indexes->entry_cap * sizeof *indexes->entries);
        if (!indexes->entries) abort();
    }
    memmove(indexes->entries + at + 1, indexes->entries + at,
            (indexes->entry_count - at) * sizeof *indexes->entries);
    indexes->entries[at] = entry;
    indexes->entry_count++;
}

void indexes_publish(Indexes *indexes, IndexEntry *entry) {
    IndexEntry *old = NULL;
    bool found;
    pthread_rwlock_wrlock(&indexes->lock);
    size_t at = entry_place(indexes, entry->meta.index, &found);
    if (found) {
        old = indexes->entries[at];
        indexes->entries[at] = entry;
    } else {
        entries_insert(indexes, at, entry);
    }
    pthread_rwlock_unlock(&indexes->lock);
    index_entry_release(&old);
}

static bool index_changed(Str index, Err *err) {
    return err_code(err, LH_CONFLICT, "index_changed",
                    "index '%.*s' was changed by another server: try again", SHOW(index));
}

bool index_swap_meta(Store *store, const IndexMeta *from, const IndexMeta *to, Err *err) {
    OWNED(object_close) ObjectReader *reader = NULL;
    OWNED(text_close) Text text = {0};
    OWNED(arena_close) Arena arena = {0};
    Str key = meta_key(to->index, "meta.json", &arena);
    Bytes now;
    const Json *json;
    IndexMeta meta;
    JsonWriter w = {.out = &text};
    if (!store_open(store, key, NULL, &reader, err) ||
        !store_read(store, key, META_SIZE_MAX, &arena, &now, err) ||
        !json_read(str_of(now), &arena, &json, err) || !meta_read(json, &meta, err))
        return false;
    if (!str_equal(meta.build, from->build) || meta.promotion != from->promotion)
        return index_changed(to->index, err);
    jw_object(&w);
    meta_write(to, &w);
    jw_end(&w);
    /* The etag is older than what was read, or the same: in between, the condition fails. */
    PutCondition same = {.if_match = str_from(object_info(reader)->etag)};
    return store_write(store, key, text_bytes(&text), &same, err) ||
           (err->kind == LH_PRECONDITION && index_changed(to->index, err));
}

static void load_meta(Indexes *indexes, Store *store, Str bucket, Str directory) {
    OWNED(arena_close) Arena arena = {0};
    Str key = arena_print(&arena, "%.*smeta.json", SHOW(directory));
    Bytes text;
    const Json *json;
    IndexMeta meta;
    Err err = {0};
    if (!store_read(store, key, META_SIZE_MAX, &arena, &text, &err)) {
        /* Without it the folder is what a build or a delete left behind: not an index. */
        if (err.kind != LH_MISSING) log_error("%.*s: %s", SHOW(key), err.message);
        return;
    }
    if (!json_read(str_of(text), &arena, &json, &err) || !meta_read(json, &meta, &err)) {
        log_error("bucket '%.*s', '%.*s': %s", SHOW(bucket), SHOW(key), err.message);
        return;
    }
    meta.bucket = bucket;
    indexes_publish(indexes, index_entry_open(indexes, &meta));
}

static bool load_bucket(Indexes *indexes, Str name, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    OWNED(arena_close) Arena arena = {0};
    ListOptions options = {
        .prefix = STR("vectors/"), .delimiter = STR("/"), .limit = STORE_LIST_MAX};
    ObjectList list;
    if (!bucket_find(indexes->buckets, name, &bucket, err)) return false;
    do {
        if (!store_list(bucket_store(bucket), &options, &arena, &list, err)) return false;
        for (size_t i = 0; i < list.prefix_count; i++)
            load_meta(indexes, bucket_store(bucket), name, list.prefixes[i]);
        options.after = list.next;
    } while (list.next.len > 0);
    return true;
}

bool indexes_open(Buckets *buckets, Catalog *catalog, Engine *engine, Indexes **out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Indexes *indexes = calloc(1, sizeof *indexes);
    size_t count;
    (void)err;
    if (!indexes) abort();
    *indexes = (Indexes){.buckets = buckets, .catalog = catalog, .engine = engine};
    indexes->build_bytes_max = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 2;
    pthread_rwlock_init(&indexes->lock, NULL);
    Str *names = bucket_names(buckets, &arena, &count);
    for (size_t i = 0; i < count; i++) {
        Err why = {0}; /* a bucket that is down does not stop the server */
        if (!load_bucket(indexes, names[i], &why))
            log_warn("indexes of bucket '%.*s' are not loaded: %s", SHOW(names[i]), why.message);
    }
    *out = indexes;
    return true;
}

void indexes_limit_build(Indexes *indexes, int64_t bytes_max) {
    indexes->build_bytes_max = bytes_max;
}

void indexes_close(Indexes **indexes) {
    if (!*indexes) return;
    for (size_t i = 0; i < (*indexes)->entry_count; i++)
        index_entry_release(&(*indexes)->entries[i]);
    pthread_rwlock_destroy(&(*indexes)->lock);
    free((*indexes)->entries);
    free(*indexes);
    *indexes = NULL;
}

/* meta.json goes first, durably: from then on the rest is garbage. */
static bool remove_files(Store *store, const IndexMeta *meta, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    ListOptions options = {.prefix = meta_key(meta->index, "", &arena), .limit = STORE_LIST_MAX};
    ObjectList list;
    if (!store_remove(store, meta_key(meta->index, "meta.json", &arena), err)) return false;
    do {
        if (!store_list(store, &options, &arena, &list, err)) return false;
        for (size_t i = 0; i < list.object_count; i++)
            if (!store_remove(store, list.objects[i].key, err)) return false;
    } while (list.next.len > 0);
    return true;
}

bool index_drop(Indexes *indexes, Str name, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    OWNED(bucket_release) Bucket *bucket = NULL;
    IndexEntry *listed = NULL;
    bool found;
    if (!indexes_find_any(indexes, name, &entry, err)) return false;
    if (!bucket_find(indexes->buckets, entry->meta.bucket, &bucket, err)) return false;
    if (!remove_files(bucket_store(bucket), &entry->meta, err)) return false;
    pthread_rwlock_wrlock(&indexes->lock);
    size_t at = entry_place(indexes, name, &found);
    if (found) {
        listed = indexes->entries[at];
        indexes->entry_count--;
        memmove(indexes->entries + at, indexes->entries + at + 1,
                (indexes->entry_count - at) * sizeof *indexes->entries);
    }
    pthread_rwlock_unlock(&indexes->lock);
    index_entry_release(&listed);
    return true;
}

/* Whether the dataset has moved on since the build; unknown datasets count as moved. */
static bool is_stale(Indexes *indexes, const IndexMeta *meta) {
    OWNED(table_release) Table *table = NULL;
    Err err = {0};
    return !catalog_load(indexes->catalog, meta->dataset, 0, &table, &err) ||
           table_version(table) != meta->dataset_version;
}

void index_entry_write(Indexes *indexes, const IndexEntry *entry, JsonWriter *w) {
    jw_object(w);
    meta_write(&entry->meta, w);
    jw_member_int(w, "memory_bytes",
                  entry->index ? entry->index->ops->memory_bytes(entry->index) : 0);
    jw_member_flag(w, "stale", is_stale(indexes, &entry->meta));
    jw_name(w, "error");
    jw_cstr(w, entry->index ? NULL : entry->broken.message);
    jw_end(w);
}

IndexEntry **indexes_hold_all(Indexes *indexes, Arena *arena, size_t *count) {
    pthread_rwlock_rdlock(&indexes->lock);
    *count = indexes->entry_count;
    IndexEntry **all = arena_array(arena, IndexEntry *, *count + 1);
    for (size_t i = 0; i < *count; i++) {
        all[i] = indexes->entries[i];
        atomic_fetch_add(&all[i]->holders, 1);
    }
    pthread_rwlock_unlock(&indexes->lock);
    return all;
}

bool indexes_write(Indexes *indexes, JsonWriter *w, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    size_t count;
    IndexEntry **all = indexes_hold_all(indexes, &arena, &count);
    (void)err;
    jw_array(w);
    for (size_t i = 0; i < count; i++) {
        index_entry_write(indexes, all[i], w);
        index_entry_release(&all[i]);
    }
    jw_end(w);
    return true;
}

bool index_write(Indexes *indexes, Str name, JsonWriter *w, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    if (!indexes_find_any(indexes, name, &entry, err)) return false;
    index_entry_write(indexes, entry, w);
    return true;
}

bool indexes_bucket_in_use(Indexes *indexes, Str bucket, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    size_t count;
    bool ok = true;
    IndexEntry **all = indexes_hold_all(indexes, &arena, &count);
    for (size_t i = 0; i < count; i++) {
        if (ok && str_equal(all[i]->meta.bucket, bucket))
            ok = err_code(err, LH_CONFLICT, "bucket_in_use", "index '%.*s' lives in bucket '%.*s'",
                          SHOW(all[i]->meta.index), SHOW(bucket));
        index_entry_release(&all[i]);
    }
    return ok;
}

void indexes_of_dataset(Indexes *indexes, Str dataset, Arena *arena, Str **names, size_t *count) {
    size_t total;
    IndexEntry **all = indexes_hold_all(indexes, arena, &total);
    *names = arena_array(arena, Str, total + 1);
    *count = 0;
    for (size_t i = 0; i < total; i++) {
        if (str_equal(all[i]->meta.dataset, dataset))
            (*names)[(*count)++] = arena_copy(arena, all[i]->meta.index);
        index_entry_release(&all[i]);
    }
}

void indexes_counts(Indexes *indexes, VectorCounts *out) {
    OWNED(arena_close) Arena arena = {0};
    size_t count;
    IndexEntry **all = indexes_hold_all(indexes, &arena, &count);
    *out = (VectorCounts){.indexes = (int64_t)count, .searches = atomic_load(&indexes->searches)};
    for (size_t i = 0; i < count; i++) {
        if (all[i]->index) out->memory_bytes += all[i]->index->ops->memory_bytes(all[i]->index);
        index_entry_release(&all[i]);
    }
}
