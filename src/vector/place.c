/* Where an index is. Its meta.json in a bucket says so, and a move (move.c) hands it on:
 *
 *     source's meta.json   target's meta.json    a put
 *     moves 4              moves 5, moved        is acknowledged at the source
 *     moves 4, moving_to   moves 5, moved        waits
 *     moves 4, moving_to   moves 5               waits
 *     moves 4, moved       moves 5               is made again at the target
 *     (gone)               moves 5
 *
 * Each step is a conditional write, so that of a move and of a server that takes the index back
 * from one that has died (moves 6 at the source) only one comes through. A put reads meta.json
 * after its batch is durable: where the place still is the index's and no move has begun, a later
 * move lists the log after that, and takes the batch along. */
#include "vector/indexes.h"

#include <unistd.h>

#define META_SIZE_MAX (1 << 20)
#define MOVE_LOOK_US 20000
#define MOVE_WAIT_US 10000000 /* of a put, for a move to come to its end */
#define MOVE_DEAD_US 30000000 /* after which it is taken back: nobody is at it any more */

static bool index_changed(Str index, Err *err) {
    return err_code(err, LH_CONFLICT, "index_changed",
                    "index '%.*s' was changed by another server: try again", SHOW(index));
}

static bool index_moving(const IndexMeta *meta, Err *err) {
    return err_code(err, LH_CONFLICT, "index_busy",
                    "index '%.*s' is being moved to bucket '%.*s': try again when that is done",
                    SHOW(meta->index), SHOW(meta->moving_to));
}

bool meta_load(Store *store, Str key, Arena *arena, IndexMeta *out, Err *err) {
    Bytes text;
    const Json *json;
    return store_read(store, key, META_SIZE_MAX, arena, &text, err) &&
           json_read(str_of(text), arena, &json, err) && meta_read(json, out, err);
}

static bool same_state(const IndexMeta *a, const IndexMeta *b) {
    return str_equal(a->build, b->build) && a->promotion == b->promotion && a->moves == b->moves &&
           a->moved == b->moved && str_equal(a->moving_to, b->moving_to);
}

bool index_swap_meta(Store *store, const IndexMeta *from, const IndexMeta *to, Err *err) {
    OWNED(object_close) ObjectReader *reader = NULL;
    OWNED(text_close) Text text = {0};
    OWNED(arena_close) Arena arena = {0};
    Str key = meta_key(to->index, "meta.json", &arena);
    IndexMeta meta;
    JsonWriter w = {.out = &text};
    if (!store_open(store, key, NULL, &reader, err) || !meta_load(store, key, &arena, &meta, err))
        return err->kind == LH_MISSING ? index_changed(to->index, err) : false;
    if (!same_state(&meta, from))
        return meta.moving_to.len && !meta.moved ? index_moving(&meta, err)
                                                 : index_changed(to->index, err);
    jw_object(&w);
    meta_write(to, &w);
    jw_end(&w);
    /* The etag is older than what was read, or the same: in between, the condition fails. */
    PutCondition same = {.if_match = str_from(object_info(reader)->etag)};
    return store_write(store, key, text_bytes(&text), &same, err) ||
           (err->kind == LH_PRECONDITION && index_changed(to->index, err));
}

/* ---- Finding it ---- */

static bool load_in(Indexes *indexes, Str bucket_name, Str key, Arena *arena, IndexMeta *out,
                    Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    if (!bucket_find(indexes->buckets, bucket_name, &bucket, err) ||
        !meta_load(bucket_store(bucket), key, arena, out, err))
        return false;
    out->bucket = bucket_name;
    return true;
}

/* What a move that has not ended is about to make of `from`. */
static bool is_ahead(const IndexMeta *meta, const IndexMeta *from) {
    return from->moving_to.len > 0 && from->moves + 1 == meta->moves;
}

/* One look into every bucket: the meta.json with the most moves is the index, but for the copy of a
 * move that has not ended. *out is without a build when there is none. */
static bool look_everywhere(Indexes *indexes, const IndexMeta *index, Arena *arena, IndexMeta *out,
                            Err *err) {
    Str key = meta_key(index->index, "meta.json", arena);
    size_t count;
    Str *names = bucket_names(indexes->buckets, arena, &count);
    *out = (IndexMeta){0};
    for (size_t i = 0; i < count; i++) {
        IndexMeta meta;
        Err why = {0};
        if (!load_in(indexes, names[i], key, arena, &meta, &why)) {
            if (why.kind == LH_MISSING) continue;
            return *err = why, false;
        }
        if (meta.moved || meta.created_ms != index->created_ms ||
            !str_equal(meta.row_log, index->row_log))
            continue;
        bool first = out->build.len == 0;
        if (first || is_ahead(out, &meta) || (meta.moves > out->moves && !is_ahead(&meta, out)))
            *out = meta;
    }
    return true;
}

/* Twice the same: what a first look read before a move began, the second sees marked. */
bool index_find_place(Indexes *indexes, const IndexMeta *index, Arena *arena, IndexMeta *out,
                      Err *err) {
    IndexMeta before;
    if (!look_everywhere(indexes, index, arena, out, err)) return false;
    do {
        before = *out;
        if (!look_everywhere(indexes, index, arena, out, err)) return false;
    } while (out->moves != before.moves || !str_equal(out->bucket, before.bucket));
    return out->build.len > 0 ||
           err_code(err, LH_MISSING, "index_not_found",
                    "index '%.*s' was deleted by another server, or moved to a bucket that is not "
                    "known here",
                    SHOW(index->index));
}

bool meta_same_place(const IndexMeta *a, const IndexMeta *b) {
    return a->moves == b->moves && str_equal(a->bucket, b->bucket);
}

bool index_meta_now(Indexes *indexes, const IndexEntry *entry, Arena *arena, IndexMeta *out,
                    Err *err) {
    IndexMeta meta;
    Str key = meta_key(entry->meta.index, "meta.json", arena);
    if (!load_in(indexes, entry->meta.bucket, key, arena, &meta, err)) {
        if (err->kind != LH_MISSING) return false;
    } else if (!meta.moved && (meta_same_place(&meta, &entry->meta) ||
                               !str_equal(meta.row_log, entry->meta.row_log))) {
        *out = meta;
        return true;
    }
    return index_find_place(indexes, &entry->meta, arena, out, err);
}

/* ---- Waiting for a move ---- */

static bool take_back(Indexes *indexes, const IndexMeta *now, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    IndexMeta back = *now;
    back.moving_to = (Str){0};
    back.moves += 2; /* the copy, if it is there, has one more */
    if (!bucket_find(indexes->buckets, now->bucket, &bucket, err) ||
        !index_swap_meta(bucket_store(bucket), now, &back, err))
        return false;
    log_warn("index '%.*s': its move to bucket '%.*s' was not ended: it stays in '%.*s'",
             SHOW(now->index), SHOW(now->moving_to), SHOW(now->bucket));
    return true;
}

/* On a bucket that is not shared nobody else can be at it. */
static bool is_dead(Indexes *indexes, IndexEntry *entry) {
    int64_t now = clock_us(), since = atomic_load(&entry->moving_since_us);
    if (since == 0) atomic_store(&entry->moving_since_us, since = now);
    return !buckets_shared(indexes->buckets) || now - since > MOVE_DEAD_US;
}

bool index_settle(Indexes *indexes, IndexEntry *entry, Arena *arena, IndexMeta *out, Err *err) {
    for (int64_t until = clock_us() + MOVE_WAIT_US;; usleep(MOVE_LOOK_US)) {
        Err why;
        IndexMeta now;
        if (!index_meta_now(indexes, entry, arena, &now, err)) return false;
        if (now.moving_to.len == 0) {
            atomic_store(&entry->moving_since_us, 0);
            *out = now;
            return true;
        }
        if (is_dead(indexes, entry) && take_back(indexes, &now, &why)) continue;
        if (clock_us() > until) return index_moving(&now, err);
    }
}
