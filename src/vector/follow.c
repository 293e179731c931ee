/* What other servers do to an index on a bucket that is shared: their batches of rows are read from
 * the log before a search, their builds are opened by a thread of its own, so that no search waits
 * for a file to come. */
#include "vector/indexes.h"

#include <stdlib.h>

#define LOOK_US 1000000         /* between looks at the log */
#define LOOK_FAILED_US 30000000 /* after one that failed */
#define BUILD_LOOK_US 5000000   /* between looks at meta.json */

void entry_log_close(EntryLog *log) {
    bucket_release(&log->bucket);
    arena_close(&log->arena);
}

bool entry_log_open(Indexes *indexes, const IndexMeta *meta, EntryLog *out, Err *err) {
    if (!bucket_find(indexes->buckets, meta->bucket, &out->bucket, err)) return false;
    out->log =
        (RowLog){.store = bucket_store(out->bucket), .prefix = meta_rows_prefix(meta, &out->arena)};
    return true;
}

pthread_mutex_t *indexes_row_lock(Indexes *indexes, Str name) {
    return &indexes->row_locks[hash64(bytes_of(name)) % ROW_LOCKS];
}

static bool apply(void *context, const RowBatch *batch, Err *err) {
    OverlayChange ignored;
    return overlay_apply(context, batch, &ignored, err);
}

bool entry_follow(Indexes *indexes, IndexEntry *entry, Err *err) {
    OWNED(entry_log_close) EntryLog log = {0};
    return entry_log_open(indexes, &entry->meta, &log, err) &&
           row_log_replay(&log.log, &entry->rows_known, apply, entry->overlay, err);
}

static bool is_current(const IndexEntry *entry, const IndexMeta *now) {
    return str_equal(entry->meta.build, now->build) && entry->meta.promotion == now->promotion &&
           meta_same_place(&entry->meta, now);
}

bool indexes_follow(Indexes *indexes, Str name, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    OWNED(index_entry_release) IndexEntry *fresh = NULL;
    OWNED(arena_close) Arena arena = {0};
    IndexMeta meta;
    if (!indexes_find_any(indexes, name, &entry, err) ||
        !index_settle(indexes, entry, &arena, &meta, err))
        return false;
    if (is_current(entry, &meta)) return true;
    fresh = index_entry_open(indexes, &meta);
    if (fresh->index) return indexes_publish(indexes, TAKE(fresh), true, err);
    *err = fresh->broken; /* what is open serves on */
    return err_while(err, "index '%.*s'", SHOW(name));
}

/* ---- In the background ---- */

typedef struct Follower {
    Indexes *indexes;
    IndexEntry *entry;
} Follower;

/* Nobody else changes the index here: a fold of this server's own swaps meta.json before it
 * publishes. */
static void follow_held(Follower *follower, Err *err) {
    Str name = follower->entry->meta.index;
    if (!indexes_hold(follower->indexes, name, err)) return; /* it follows then by itself */
    if (!indexes_follow(follower->indexes, name, err) && err->kind != LH_MISSING)
        log_warn("index '%.*s': %s", SHOW(name), err->message);
    indexes_unreserve(follower->indexes, name);
}

static void *follower_run(void *context) {
    Follower *follower = context;
    Indexes *indexes = follower->indexes;
    Arena arena = {0};
    IndexMeta meta;
    Err err = {0};
    /* One that is gone stays until it is asked to change: a delete of this server's own is seen
     * here half-way. */
    if (index_meta_now(indexes, follower->entry, &arena, &meta, &err) &&
        !is_current(follower->entry, &meta) && meta.moving_to.len == 0)
        follow_held(follower, &err);
    arena_close(&arena);
    index_entry_release(&follower->entry);
    free(follower);
    atomic_fetch_sub(&indexes->followers, 1);
    return NULL;
}

/* Under the entry's rows_lock. */
static void look_at_build(Indexes *indexes, IndexEntry *entry) {
    pthread_t thread;
    int64_t now = clock_us();
    if (now < entry->build_look_us) return;
    entry->build_look_us = now + BUILD_LOOK_US;
    Follower *follower = malloc(sizeof *follower);
    if (!follower) abort();
    *follower = (Follower){indexes, entry};
    atomic_fetch_add(&entry->holders, 1);
    atomic_fetch_add(&indexes->followers, 1);
    if (pthread_create(&thread, NULL, follower_run, follower) == 0) {
        pthread_detach(thread);
        return;
    }
    atomic_fetch_sub(&indexes->followers, 1);
    index_entry_release(&follower->entry);
    free(follower);
}

void entry_look(Indexes *indexes, IndexEntry *entry) {
    Err err = {0};
    if (clock_us() < atomic_load(&entry->rows_look_us)) return;
    if (pthread_mutex_trylock(&entry->rows_lock) != 0) return;
    bool ok = entry_follow(indexes, entry, &err);
    atomic_store(&entry->rows_look_us, clock_us() + (ok ? LOOK_US : LOOK_FAILED_US));
    look_at_build(indexes, entry);
    pthread_mutex_unlock(&entry->rows_lock);
    if (!ok) log_warn("index '%.*s': rows: %s", SHOW(entry->meta.index), err.message);
}
