/* The registry: which indexes there are, found at start in every bucket by
 * vectors/<index>/meta.json and kept behind a read-write lock. */
#include "vector/indexes.h"
#include "vector/index_lance.h"
#include "vector/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UPKEEP_WAIT_US 10000000
#define UPKEEP_LOOK_US 10000
#define FOLLOWERS_WAIT_US 2000

static void entry_free(IndexEntry *entry) {
    overlay_close(&entry->overlay);
    doc_table_close(&entry->docs);
    text_tail_close(&entry->tail);
    embedder_close(&entry->embedder);
    text_index_close(&entry->text);
    index_close(&entry->index);
    bucket_release(&entry->bucket);
    pthread_mutex_destroy(&entry->lock);
    pthread_mutex_destroy(&entry->rows_lock);
    arena_close(&entry->arena);
    free(entry);
}

void index_entry_release(IndexEntry **entry) {
    if (!*entry) return;
    if (atomic_fetch_sub(&(*entry)->holders, 1) == 1) entry_free(*entry);
    *entry = NULL;
}

static bool open_embedder(Ai *ai, IndexEntry *entry, Err *err) {
    Bytes statistics = entry->index->ops->embedder(entry->index);
    if (entry->meta.model.len == 0) return true;
    /* Without its model an index still answers vectors, and words by its text index. */
    if (!ai_embedder(ai, entry->meta.model, &entry->embedder, &entry->no_model)) return true;
    return (statistics.size == 0 || embedder_load(entry->embedder, statistics, err)) &&
           embedder_expect(entry->embedder, entry->meta.model_digest,
                           (size_t)entry->meta.dimensions, err);
}

bool index_entry_embed(const IndexEntry *entry, const Str *texts, size_t count, float *out,
                       Err *err) {
    return entry->embedder ? embedder_embed(entry->embedder, texts, count, out, err)
                           : index_no_model(entry, err);
}

bool index_no_model(const IndexEntry *entry, Err *err) {
    if (entry->meta.model.len == 0)
        return err_code(err, LH_IMPOSSIBLE, "no_model",
                        "index '%.*s' has vectors of its own and no model: search it with 'vector'",
                        SHOW(entry->meta.index));
    return err_code(err, LH_IMPOSSIBLE, "wrong_model",
                    "index '%.*s' was made by model '%.*s', which is not there: %.200s",
                    SHOW(entry->meta.index), SHOW(entry->meta.model), entry->no_model.message);
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

static bool open_overlay(Indexes *indexes, IndexEntry *entry, Err *err) {
    const OverlayOptions options = {.entry = entry,
                                    .dimensions = entry->index->dimensions,
                                    .metric = metric_of(entry->meta.metric),
                                    .texts = entry->text,
                                    .passes_others = true};
    entry->rows_known = (uint64_t)entry->meta.rows_after;
    if (!overlay_open(&options, &entry->overlay, err) || !entry_follow(indexes, entry, err))
        return false;
    entry->rows_merged = entry->rows_known;
    return true;
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
           open_embedder(indexes->ai, entry, err) && open_overlay(indexes, entry, err);
}

IndexEntry *index_entry_open(Indexes *indexes, const IndexMeta *meta) {
    IndexEntry *entry = calloc(1, sizeof *entry);
    Err err = {0};
    if (!entry) abort();
    atomic_init(&entry->holders, 1);
    pthread_mutex_init(&entry->lock, NULL);
    pthread_mutex_init(&entry->rows_lock, NULL);
    entry->meta = meta_copy(meta, &entry->arena);
    if (!entry_load(indexes, entry, &err)) {
        overlay_close(&entry->overlay);
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
    Err ignored;
    for (size_t i = 0; i < indexes->entry_count; i++)
        if (str_distance(indexes->entries[i]->meta.index, name) <= 2 &&
            profile_bound_admits(&indexes->entries[i]->meta, &ignored))
            near = indexes->entries[i];
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
    bool ok = found ? profile_bound_admits(&indexes->entries[at]->meta, err)
                    : not_found(indexes, name, err);
    if (ok) {
        *out = indexes->entries[at];
        atomic_fetch_add(&(*out)->holders, 1);
    }
    pthread_rwlock_unlock(&indexes->lock);
    return ok;
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

static Building *find_building(Indexes *indexes, Str name) {
    for (size_t i = 0; i < indexes->building_count; i++)
        if (str_is(name, indexes->building[i].name)) return &indexes->building[i];
    return NULL;
}

static bool add_building(Indexes *indexes, Str name, bool upkeep, Err *err) {
    if (indexes->building_count == COUNT(indexes->building) ||
        indexes->entry_count == INDEX_COUNT_MAX)
        return err_set(err, LH_BUSY, "too many indexes: at most %d, %zu of them being built",
                       INDEX_COUNT_MAX, COUNT(indexes->building));
    Building *building = &indexes->building[indexes->building_count++];
    snprintf(building->name, sizeof building->name, "%.*s", SHOW(name));
    building->upkeep = upkeep;
    return true;
}

bool indexes_reserve(Indexes *indexes, Str name, Err *err) {
    bool found;
    pthread_rwlock_wrlock(&indexes->lock);
    entry_place(indexes, name, &found);
    bool ok = found || find_building(indexes, name)
                  ? err_code(err, LH_CONFLICT, "index_exists", "there is an index '%.*s' already",
                             SHOW(name))
                  : add_building(indexes, name, false, err);
    pthread_rwlock_unlock(&indexes->lock);
    return ok;
}

/* *upkeep: why it failed is upkeep. */
static bool try_hold(Indexes *indexes, Str name, bool for_upkeep, bool *upkeep, Err *err) {
    pthread_rwlock_wrlock(&indexes->lock);
    const Building *other = find_building(indexes, name);
    *upkeep = other && other->upkeep;
    bool ok =
        other ? err_code(err, LH_CONFLICT, "index_busy",
                         "index '%.*s' is being changed: try again when that is done", SHOW(name))
              : add_building(indexes, name, for_upkeep, err);
    pthread_rwlock_unlock(&indexes->lock);
    return ok;
}

bool indexes_hold(Indexes *indexes, Str name, Err *err) {
    bool upkeep;
    for (int64_t until = clock_us() + UPKEEP_WAIT_US;; usleep(UPKEEP_LOOK_US)) {
        if (try_hold(indexes, name, false, &upkeep, err)) return true;
        if (!upkeep || clock_us() > until) return false;
    }
}

bool indexes_hold_upkeep(Indexes *indexes, Str name, Err *err) {
    bool upkeep;
    return try_hold(indexes, name, true, &upkeep, err);
}

bool indexes_is_held(Indexes *indexes, Str name) {
    pthread_rwlock_rdlock(&indexes->lock);
    bool held = find_building(indexes, name);
    pthread_rwlock_unlock(&indexes->lock);
    return held;
}

bool index_place(Indexes *indexes, Str name, Bucket **out, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    pthread_rwlock_rdlock(&indexes->placement);
    if (indexes_find_any(indexes, name, &entry, err) &&
        bucket_find(indexes->buckets, entry->meta.bucket, out, err))
        return true;
    pthread_rwlock_unlock(&indexes->placement);
    return false;
}

void index_place_end(Indexes *indexes) {
    pthread_rwlock_unlock(&indexes->placement);
}

void indexes_unreserve(Indexes *indexes, Str name) {
    pthread_rwlock_wrlock(&indexes->lock);
    Building *building = find_building(indexes, name);
    if (building) *building = indexes->building[--indexes->building_count];
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

void indexes_list(Indexes *indexes, IndexEntry *entry) {
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

bool indexes_publish_locked(Indexes *indexes, IndexEntry *entry, bool replaces, Err *err) {
    OWNED(index_entry_release) IndexEntry *old = NULL;
    bool ok = (!replaces || indexes_find_any(indexes, entry->meta.index, &old, err)) &&
              (!entry->index || entry_follow(indexes, entry, err));
    if (ok) indexes_list(indexes, entry);
    if (!ok) index_entry_release(&entry);
    return ok;
}

bool indexes_publish(Indexes *indexes, IndexEntry *entry, bool replaces, Err *err) {
    pthread_mutex_t *lock = indexes_row_lock(indexes, entry->meta.index);
    pthread_mutex_lock(lock);
    bool ok = indexes_publish_locked(indexes, entry, replaces, err);
    pthread_mutex_unlock(lock);
    return ok;
}

static void remove_meta(Indexes *indexes, const IndexMeta *meta) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    OWNED(arena_close) Arena arena = {0};
    Err why = {0};
    if (!bucket_find(indexes->buckets, meta->bucket, &bucket, &why) ||
        !store_remove(bucket_store(bucket), meta_key(meta->index, "meta.json", &arena), &why))
        log_warn("index '%.*s' in bucket '%.*s': %s", SHOW(meta->index), SHOW(meta->bucket),
                 why.message);
}

/* A move that a crash cut after its new meta.json leaves the index in two buckets: the copy with
 * more moves is it, and once that is open the other's meta.json goes, so that the rest of it is
 * swept. A copy that is damaged does not win; one that is out of reach does. Where other servers
 * are, the move may be under way: place.c knows, and nothing is removed. */
static bool is_the_place(Indexes *indexes, const IndexEntry *found) {
    OWNED(arena_close) Arena arena = {0};
    IndexMeta now;
    Err why = {0};
    if (index_find_place(indexes, &found->meta, &arena, &now, &why))
        return str_equal(now.bucket, found->meta.bucket);
    log_warn("index '%.*s': %s", SHOW(found->meta.index), why.message);
    return false;
}

static bool wins_over(Indexes *indexes, const IndexEntry *found, const IndexEntry *loaded) {
    const IndexEntry *last = found->meta.moves > loaded->meta.moves ? found : loaded;
    const IndexEntry *other = last == found ? loaded : found;
    if (!last->index && last->broken.kind != LH_OFFLINE && other->index) {
        log_error("index '%.*s' is damaged in bucket '%.*s': bucket '%.*s' still has it from "
                  "before it was moved",
                  SHOW(last->meta.index), SHOW(last->meta.bucket), SHOW(other->meta.bucket));
        return other == found;
    }
    log_info("index '%.*s' has moved to bucket '%.*s'", SHOW(last->meta.index),
             SHOW(last->meta.bucket));
    if (last->index) remove_meta(indexes, &other->meta);
    return last == found;
}

static void load_index(Indexes *indexes, const IndexMeta *meta) {
    OWNED(index_entry_release) IndexEntry *entry = index_entry_open(indexes, meta);
    OWNED(index_entry_release) IndexEntry *loaded = NULL;
    Err ignored;
    bool wins = true;
    if (indexes_find_any(indexes, meta->index, &loaded, &ignored)) {
        bool same =
            loaded->meta.created_ms == meta->created_ms && loaded->meta.moves != meta->moves;
        if (same && buckets_shared(indexes->buckets))
            wins = is_the_place(indexes, entry);
        else if (same)
            wins = wins_over(indexes, entry, loaded);
        else
            log_warn("bucket '%.*s' holds another index named '%.*s' than bucket '%.*s'",
                     SHOW(meta->bucket), SHOW(meta->index), SHOW(loaded->meta.bucket));
    }
    if (wins) indexes_list(indexes, TAKE(entry));
}

static void load_meta(Indexes *indexes, Store *store, Str bucket, Str directory) {
    OWNED(arena_close) Arena arena = {0};
    Str key = arena_print(&arena, "%.*smeta.json", SHOW(directory));
    IndexMeta meta;
    Err err = {0};
    if (!meta_load(store, key, &arena, &meta, &err)) {
        /* Without it the folder is what a build or a delete left behind: not an index. */
        if (err.kind != LH_MISSING)
            log_error("bucket '%.*s', '%.*s': %s", SHOW(bucket), SHOW(key), err.message);
        return;
    }
    meta.bucket = bucket;
    if (!meta.moved)
        load_index(indexes, &meta);
    else if (!buckets_shared(indexes->buckets)) /* whose move that was is no more */
        remove_meta(indexes, &meta);
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

bool indexes_open(Buckets *buckets, Catalog *catalog, Engine *engine, Ai *ai, Indexes **out,
                  Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Indexes *indexes = calloc(1, sizeof *indexes);
    size_t count;
    (void)err;
    if (!indexes) abort();
    *indexes = (Indexes){.buckets = buckets, .catalog = catalog, .engine = engine, .ai = ai};
    indexes->build_bytes_max = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 2;
    pthread_rwlock_init(&indexes->lock, NULL);
    for (size_t i = 0; i < ROW_LOCKS; i++) pthread_mutex_init(&indexes->row_locks[i], NULL);
    pthread_rwlock_init(&indexes->placement, NULL);
    Str *names = bucket_names(buckets, &arena, &count);
    for (size_t i = 0; i < count; i++) {
        Err why = {0}; /* a bucket that is down does not stop the server */
        if (!load_bucket(indexes, names[i], &why))
            log_warn("indexes of bucket '%.*s' are not loaded: %s", SHOW(names[i]), why.message);
    }
    engine_set_vector_search(engine, search_in_sql, indexes);
    *out = indexes;
    return true;
}

void indexes_limit_build(Indexes *indexes, int64_t bytes_max) {
    indexes->build_bytes_max = bytes_max;
}

void indexes_close(Indexes **indexes) {
    if (!*indexes) return;
    engine_set_vector_search((*indexes)->engine, NULL, NULL);
    while (atomic_load(&(*indexes)->followers) > 0) usleep(FOLLOWERS_WAIT_US);
    for (size_t i = 0; i < (*indexes)->entry_count; i++)
        index_entry_release(&(*indexes)->entries[i]);
    pthread_rwlock_destroy(&(*indexes)->placement);
    pthread_rwlock_destroy(&(*indexes)->lock);
    for (size_t i = 0; i < ROW_LOCKS; i++) pthread_mutex_destroy(&(*indexes)->row_locks[i]);
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

static void unlist_entry(Indexes *indexes, Str name) {
    IndexEntry *listed = NULL;
    bool found;
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
}

/* Where another server has it now; of its move and the drop only one comes through. */
static bool remove_index(Indexes *indexes, IndexEntry *entry, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    OWNED(arena_close) Arena arena = {0};
    IndexMeta now = entry->meta, gone;
    bool shared = buckets_shared(indexes->buckets);
    bool there = !shared || index_settle(indexes, entry, &arena, &now, err);
    if ((!there && err->kind != LH_MISSING) ||
        !bucket_find(indexes->buckets, now.bucket, &bucket, err))
        return false;
    gone = now;
    gone.moved = true;
    return (!shared || !there || index_swap_meta(bucket_store(bucket), &now, &gone, err)) &&
           remove_files(bucket_store(bucket), &now, err);
}

/* Rows that are put wait, and find no index then. */
bool index_drop(Indexes *indexes, Str name, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    pthread_mutex_t *lock = indexes_row_lock(indexes, name);
    pthread_rwlock_rdlock(&indexes->placement);
    pthread_mutex_lock(lock);
    bool removed =
        indexes_find_any(indexes, name, &entry, err) && remove_index(indexes, entry, err);
    if (removed) unlist_entry(indexes, name);
    pthread_mutex_unlock(lock);
    pthread_rwlock_unlock(&indexes->placement);
    return removed;
}

/* Whether the dataset has moved on since the build; unknown datasets count as moved. */
static bool is_stale(Indexes *indexes, const IndexMeta *meta) {
    OWNED(table_release) Table *table = NULL;
    Err err = {0};
    return !catalog_load(indexes->catalog, meta->dataset, 0, &table, &err) ||
           table_version(table) != meta->dataset_version;
}

static int64_t entry_memory(const IndexEntry *entry) {
    return entry->index ? entry->index->ops->memory_bytes(entry->index) +
                              (int64_t)atomic_load(&entry->overlay->bytes)
                        : 0;
}

/* Rows and documents as a search sees them. */
static void write_rows(const IndexEntry *entry, JsonWriter *w) {
    OWNED(rows_view_release) RowsView *view = entry->overlay ? overlay_view(entry->overlay) : NULL;
    IndexMeta meta = entry->meta;
    if (view) {
        meta.rows = (int64_t)rows_view_live(view);
        meta.documents += (int64_t)view->live_documents - (int64_t)view->dead_documents;
    }
    meta_write(&meta, w);
    jw_member_int(w, "rows_put", view ? (int64_t)view->live.count : 0);
    jw_member_int(w, "rows_deleted", view ? (int64_t)view->dead : 0);
}

void index_entry_write(Indexes *indexes, const IndexEntry *entry, JsonWriter *w) {
    jw_object(w);
    write_rows(entry, w);
    jw_member_int(w, "memory_bytes", entry_memory(entry));
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

IndexEntry **indexes_hold_admitted(Indexes *indexes, Arena *arena, size_t *count) {
    size_t kept = 0, total;
    IndexEntry **all = indexes_hold_all(indexes, arena, &total);
    Err ignored;
    for (size_t i = 0; i < total; i++)
        if (profile_bound_admits(&all[i]->meta, &ignored))
            all[kept++] = all[i];
        else
            index_entry_release(&all[i]);
    *count = kept;
    return all;
}

bool indexes_write(Indexes *indexes, JsonWriter *w, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    size_t count;
    IndexEntry **all = indexes_hold_admitted(indexes, &arena, &count);
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

bool index_is_known(Indexes *indexes, Str name) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    Err ignored;
    return indexes_find_any(indexes, name, &entry, &ignored);
}

void indexes_counts(Indexes *indexes, VectorCounts *out) {
    OWNED(arena_close) Arena arena = {0};
    size_t count;
    IndexEntry **all = indexes_hold_all(indexes, &arena, &count);
    *out = (VectorCounts){.indexes = (int64_t)count, .searches = atomic_load(&indexes->searches)};
    for (size_t i = 0; i < count; i++) {
        out->memory_bytes += entry_memory(all[i]);
        index_entry_release(&all[i]);
    }
}
