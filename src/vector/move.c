/* Moving an index to another bucket: PATCH /vectors/indexes/{index} {"bucket"}.
 *
 * Every object below vectors/<index>/ is copied while the index stays in use; what was written
 * meanwhile (rows, trials, eval sets) is copied again while nobody may write; then the new
 * meta.json, whose `moves` is one more than the old one's, makes the copy the index. From then on
 * the old objects are garbage. A crash before that leaves the index where it was, and copies that a
 * sweep removes; a crash after it leaves both meta.json, of which the one with more moves wins at
 * the next start (indexes.c), and the other goes. */
#include "vector/indexes.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_SIZE (1 << 20)
#define META_SIZE_MAX (1 << 20)

/* An object that was copied, as it was then. */
typedef struct Copied {
    Str key;
    char etag[STORE_ETAG_SIZE];
} Copied;

typedef struct Move {
    Indexes *indexes;
    Job *job;
    Arena arena;
    IndexEntry *entry; /* as it was found */
    Bucket *from, *to;
    IndexMeta meta;             /* as it will be */
    char etag[STORE_ETAG_SIZE]; /* of the old meta.json */
    Copied *copied;
    size_t copied_count, copied_cap;
    int64_t bytes, bytes_total;
    uint8_t *piece;
    bool held;
    bool committed; /* the new meta.json is there, or may be */
} Move;

static void move_close(Move *move) {
    if (move->held) indexes_unreserve(move->indexes, move->meta.index);
    index_entry_release(&move->entry);
    bucket_release(&move->from);
    bucket_release(&move->to);
    free(move->copied);
    free(move->piece);
    arena_close(&move->arena);
}

static bool is_cancelled(const Move *move) {
    return move->job && job_cancelled(move->job);
}

static Str meta_name(Move *move) {
    return meta_key(move->meta.index, "meta.json", &move->arena);
}

/* ---- Copying ---- */

static bool copy_bytes(Move *move, ObjectReader *reader, ObjectWriter *writer, Err *err) {
    uint64_t size = object_info(reader)->size, offset = 0;
    size_t got;
    while (offset < size) {
        if (is_cancelled(move)) return err_set(err, LH_CANCELLED, "cancelled");
        if (!object_read(reader, offset, move->piece, PIECE_SIZE, &got, err)) return false;
        if (got == 0) return err_set(err, LH_CORRUPT, "an object ends before its size");
        if (!writer_write(writer, (Bytes){move->piece, got}, err)) return false;
        offset += got;
        move->bytes += (int64_t)got;
        if (move->job) job_progress(move->job, move->bytes, move->bytes_total, "bytes");
    }
    return true;
}

static Copied *copied_find(Move *move, Str key) {
    for (size_t i = 0; i < move->copied_count; i++)
        if (str_equal(move->copied[i].key, key)) return &move->copied[i];
    return NULL;
}

static Copied *copied_add(Move *move, Str key) {
    if (move->copied_count == move->copied_cap) {
        move->copied_cap = MAX(move->copied_cap * 2, 16);
        move->copied = realloc(move->copied, move->copied_cap * sizeof *move->copied);
        if (!move->copied) abort();
    }
    Copied *copied = &move->copied[move->copied_count++];
    *copied = (Copied){.key = arena_copy(&move->arena, key)};
    return copied;
}

static bool copy_object(Move *move, Str key, Err *err) {
    OWNED(object_close) ObjectReader *reader = NULL;
    OWNED(writer_close) ObjectWriter *writer = NULL;
    ObjectInfo written;
    Copied *copied = copied_find(move, key);
    if (!store_open(bucket_store(move->from), key, NULL, &reader, err))
        return err->kind == LH_MISSING; /* deleted since it was listed */
    if (copied && str_is(str_from(object_info(reader)->etag), copied->etag)) return true;
    if (!copied) copied = copied_add(move, key);
    if (!store_create(bucket_store(move->to), key, NULL, &writer, err) ||
        !copy_bytes(move, reader, writer, err) || !writer_commit(writer, &written, err))
        return err_while(err, "copying '%.*s'", SHOW(key));
    memcpy(copied->etag, object_info(reader)->etag, sizeof copied->etag);
    return true;
}

/* The lease is a server's claim, of no use elsewhere; meta.json is written last. */
static bool is_copied(Str key, Str prefix) {
    Str rest = str_slice(key, prefix.len, key.len);
    return !str_is(rest, "meta.json") && !str_is(rest, "agent.lease");
}

typedef bool EachObject(Move *move, const ObjectEntry *object, Err *err);

static bool each_object(Move *move, Bucket *bucket, EachObject *each, Err *err) {
    ListOptions options = {.prefix = meta_key(move->meta.index, "", &move->arena),
                           .limit = STORE_LIST_MAX};
    ObjectList list;
    do {
        OWNED(arena_close) Arena arena = {0};
        if (!store_list(bucket_store(bucket), &options, &arena, &list, err)) return false;
        for (size_t i = 0; i < list.object_count; i++)
            if (is_copied(list.objects[i].key, options.prefix) &&
                !each(move, &list.objects[i], err))
                return false;
        options.after = arena_copy(&move->arena, list.next);
    } while (options.after.len > 0);
    return true;
}

static bool count_object(Move *move, const ObjectEntry *object, Err *err) {
    (void)err;
    move->bytes_total += (int64_t)object->info.size;
    return true;
}

static bool copy_each(Move *move, const ObjectEntry *object, Err *err) {
    return copy_object(move, object->key, err);
}

/* What was deleted since it was copied must not come back with the move. */
static bool drop_deleted(Move *move, Err *err) {
    ObjectInfo info;
    for (size_t i = 0; i < move->copied_count; i++) {
        if (store_head(bucket_store(move->from), move->copied[i].key, &info, err)) continue;
        if (err->kind != LH_MISSING ||
            !store_remove(bucket_store(move->to), move->copied[i].key, err))
            return false;
    }
    return true;
}

/* ---- Making the copy the index ---- */

static bool changed(const Move *move, Err *err) {
    return err_code(err, LH_CONFLICT, "index_changed",
                    "index '%.*s' was changed while it was copied: try again",
                    SHOW(move->meta.index));
}

static bool check_unchanged(Move *move, Err *err) {
    ObjectInfo info;
    if (!store_head(bucket_store(move->from), meta_name(move), &info, err))
        return err->kind == LH_MISSING ? changed(move, err) : false;
    return str_is(str_from(info.etag), move->etag) || changed(move, err);
}

/* A meta.json that an earlier move left in the bucket is replaced; another index's is not. */
static bool target_condition(Move *move, PutCondition *out, Err *err) {
    OWNED(object_close) ObjectReader *reader = NULL;
    Bytes data;
    const Json *json;
    IndexMeta there;
    Store *store = bucket_store(move->to);
    *out = (PutCondition){.if_absent = true};
    if (!store_open(store, meta_name(move), NULL, &reader, err)) return err->kind == LH_MISSING;
    if (store_read(store, meta_name(move), META_SIZE_MAX, &move->arena, &data, err) &&
        json_read(str_of(data), &move->arena, &json, err) && meta_read(json, &there, err) &&
        there.created_ms == move->meta.created_ms && there.moves < move->meta.moves) {
        *out = (PutCondition){.if_match =
                                  arena_copy(&move->arena, str_from(object_info(reader)->etag))};
        return true;
    }
    return err_code(err, LH_CONFLICT, "index_exists",
                    "bucket '%.*s' holds another index named '%.*s'", SHOW(move->meta.bucket),
                    SHOW(move->meta.index));
}

static bool write_meta(Move *move, Err *err) {
    OWNED(text_close) Text text = {0};
    PutCondition condition;
    JsonWriter w = {.out = &text};
    jw_object(&w);
    meta_write(&move->meta, &w);
    jw_end(&w);
    return target_condition(move, &condition, err) &&
           store_write(bucket_store(move->to), meta_name(move), text_bytes(&text), &condition, err);
}

/* The new meta.json was written, or may be, and is not in force: the old one is made to win. */
static void claim_back(Move *move) {
    IndexMeta back = move->entry->meta;
    Err why = {0};
    back.moves = move->meta.moves + 1;
    if (!index_swap_meta(bucket_store(move->from), &move->entry->meta, &back, &why) ||
        !indexes_publish_locked(move->indexes, index_entry_open(move->indexes, &back), true, &why))
        log_error("index '%.*s' may be found in bucket '%.*s' after a restart: %s",
                  SHOW(back.index), SHOW(move->meta.bucket), why.message);
}

/* Nobody writes to the index meanwhile. The copy is opened before it counts. */
static bool commit(Move *move, Err *err) {
    if (!each_object(move, move->from, copy_each, err) || !drop_deleted(move, err) ||
        !check_unchanged(move, err))
        return false;
    IndexEntry *entry = index_entry_open(move->indexes, &move->meta);
    if (!entry->index) *err = entry->broken;
    bool ok = entry->index && write_meta(move, err);
    move->committed = ok || (entry->index && err->kind == LH_OFFLINE);
    if (!ok) index_entry_release(&entry);
    ok = ok && indexes_publish_locked(move->indexes, entry, true, err);
    if (!ok && move->committed) claim_back(move);
    return ok;
}

/* ---- Removing ---- */

static bool remove_each(Move *move, const ObjectEntry *object, Err *err) {
    return store_remove(bucket_store(move->from), object->key, err);
}

/* What cannot be removed now is swept later. */
static void remove_old(Move *move) {
    Err why = {0};
    Store *store = bucket_store(move->from);
    if (!store_remove(store, meta_name(move), &why) ||
        !store_remove(store, meta_key(move->meta.index, "agent.lease", &move->arena), &why) ||
        !each_object(move, move->from, remove_each, &why))
        log_warn("index '%.*s' has moved, and its old objects are not all removed: %s",
                 SHOW(move->meta.index), why.message);
}

/* What a meta.json names, or may name, is kept. */
static void remove_copies(Move *move) {
    Err ignored;
    if (move->committed) return;
    for (size_t i = 0; i < move->copied_count; i++)
        store_remove(bucket_store(move->to), move->copied[i].key, &ignored);
}

/* ---- The whole ---- */

static bool move_open(Move *move, Str index, Str bucket, Err *err) {
    ObjectInfo info;
    if (!indexes_hold(move->indexes, index, err)) return false;
    move->held = true;
    move->meta.index = index;
    if (!indexes_find(move->indexes, index, &move->entry, err) ||
        !bucket_find(move->indexes->buckets, move->entry->meta.bucket, &move->from, err) ||
        !bucket_find(move->indexes->buckets, bucket, &move->to, err) ||
        !store_check_condition(bucket_store(move->to), &(PutCondition){.if_absent = true}, err))
        return false;
    move->meta = meta_copy(&move->entry->meta, &move->arena);
    move->meta.bucket = bucket;
    move->meta.moves++;
    move->piece = malloc(PIECE_SIZE);
    if (!move->piece) abort();
    if (!store_head(bucket_store(move->from), meta_name(move), &info, err)) return false;
    memcpy(move->etag, info.etag, sizeof move->etag);
    return true;
}

static bool move_run(Move *move, Err *err) {
    bool ok = each_object(move, move->from, count_object, err) &&
              each_object(move, move->from, copy_each, err);
    if (ok) {
        pthread_mutex_t *rows = indexes_row_lock(move->indexes, move->meta.index);
        pthread_rwlock_wrlock(&move->indexes->placement);
        pthread_mutex_lock(rows);
        ok = commit(move, err);
        pthread_mutex_unlock(rows);
        pthread_rwlock_unlock(&move->indexes->placement);
    }
    if (ok)
        remove_old(move);
    else
        remove_copies(move);
    return ok;
}

bool index_move(Indexes *indexes, Str index, Str bucket, Job *job, Text *result, Err *err) {
    OWNED(move_close) Move move = {.indexes = indexes, .job = job};
    JsonWriter w = {.out = result};
    int64_t started = clock_us();
    if (!move_open(&move, index, bucket, err)) return false;
    bool same = str_equal(move.entry->meta.bucket, bucket);
    if (!same && !move_run(&move, err)) return false;
    jw_object(&w);
    jw_member_text(&w, "index", index);
    jw_member_text(&w, "bucket", bucket);
    jw_member_text(&w, "from", move.entry->meta.bucket);
    jw_member_int(&w, "objects", (int64_t)move.copied_count);
    jw_member_int(&w, "bytes", move.bytes);
    jw_member_real(&w, "elapsed_ms", (double)(clock_us() - started) / 1000);
    jw_end(&w);
    return true;
}
