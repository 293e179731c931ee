/* The registry: which indexes there are, found at start in every bucket by
 * vectors/<index>/meta.json and kept behind a read-write lock. */
#include "vector/indexes.h"
#include "vector/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UPKEEP_WAIT_US 10000000
#define UPKEEP_LOOK_US 10000
#define FOLLOWERS_WAIT_US 2000

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
    return store_remove(store, meta_key(meta->index, "meta.json", &arena), err) &&
           store_remove_below(store, meta_key(meta->index, "", &arena), err);
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
        out->memory_bytes += index_entry_memory(all[i]);
        index_entry_release(&all[i]);
    }
}
