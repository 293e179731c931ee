/* Moving an index to another bucket: PATCH /vectors/indexes/{index} {"bucket"}.
 *
 * The target is claimed by a meta.json that is no index yet, and every object below
 * vectors/<index>/ is copied while the index stays in use. Then the source's meta.json is marked,
 * so that nobody changes the index and no put is acknowledged (place.c); what was written meanwhile
 * (rows, trials, eval sets) is copied again, the copy becomes an index, and the source's meta.json
 * gives way. That last write is the move: before it the index is where it was, after it where it
 * will be. What is left in either bucket goes, its meta.json last: no other move may come in
 * before. */
#include "vector/indexes.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_SIZE (1 << 20)
#define PASSES_MAX 50
#define LEFT_MS (3600 * 1000) /* for which what a move left belongs to the server that made it */

/* An object that was copied, as it was then. */
typedef struct Copied {
    Str key;
    char etag[STORE_ETAG_SIZE];
    int pass; /* that met it last */
} Copied;

typedef struct Move {
    Indexes *indexes;
    Job *job;
    Arena arena;
    IndexEntry *entry; /* as it was found */
    Bucket *from, *to;
    Store *walked; /* by each_object */
    /* The states of both meta.json. */
    IndexMeta here, leaving, left; /* of the old one */
    IndexMeta claim, meta;         /* of the new one */
    Copied *copied;
    size_t copied_count, copied_cap;
    int64_t bytes, bytes_total;
    uint8_t *piece;
    int pass;
    bool vanished; /* an object went during this pass */
    bool held, claimed;
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
    if (!store_open(bucket_store(move->from), key, NULL, &reader, err)) {
        move->vanished = true; /* deleted since it was listed */
        return err->kind == LH_MISSING;
    }
    if (!copied) copied = copied_add(move, key);
    if (!store_create(bucket_store(move->to), key, NULL, &writer, err) ||
        !copy_bytes(move, reader, writer, err) || !writer_commit(writer, &written, err))
        return err_while(err, "copying '%.*s'", SHOW(key));
    memcpy(copied->etag, object_info(reader)->etag, sizeof copied->etag);
    copied->pass = move->pass;
    return true;
}

/* The lease is a server's claim, of no use elsewhere; meta.json is written by itself. */
static bool is_copied(Str key, Str prefix) {
    Str rest = str_slice(key, prefix.len, key.len);
    return !str_is(rest, "meta.json") && !str_is(rest, "agent.lease");
}

typedef bool EachObject(Move *move, const ObjectEntry *object, Err *err);

static bool each_object(Move *move, Bucket *bucket, EachObject *each, Err *err) {
    ListOptions options = {.prefix = meta_key(move->meta.index, "", &move->arena),
                           .limit = STORE_LIST_MAX};
    ObjectList list;
    move->walked = bucket_store(bucket);
    do {
        OWNED(arena_close) Arena arena = {0};
        if (!store_list(move->walked, &options, &arena, &list, err)) return false;
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
    Copied *copied = copied_find(move, object->key);
    if (!copied || !str_is(str_from(object->info.etag), copied->etag))
        return copy_object(move, object->key, err);
    copied->pass = move->pass;
    return true;
}

/* What was deleted since it was copied must not come back with the move. */
static bool drop_deleted(Move *move, Err *err) {
    for (size_t i = move->copied_count; i-- > 0;) {
        if (move->copied[i].pass == move->pass) continue;
        if (!store_remove(bucket_store(move->to), move->copied[i].key, err)) return false;
        move->copied[i] = move->copied[--move->copied_count];
        move->vanished = true;
    }
    return true;
}

/* Of an earlier move that was not ended, or a row that came too late for one. */
static bool drop_strange(Move *move, const ObjectEntry *object, Err *err) {
    return copied_find(move, object->key) || store_remove(move->walked, object->key, err);
}

/* Once more when something went meanwhile: another server may have joined it with others into an
 * object that comes earlier. */
static bool copy_rest(Move *move, Err *err) {
    do {
        move->vanished = false;
        if (++move->pass > PASSES_MAX)
            return err_code(err, LH_CONFLICT, "index_changed",
                            "index '%.*s' was changed while it was copied: try again",
                            SHOW(move->meta.index));
        if (!each_object(move, move->from, copy_each, err) || !drop_deleted(move, err))
            return false;
    } while (move->vanished);
    return each_object(move, move->to, drop_strange, err);
}

/* ---- The two meta.json ---- */

static bool swap_old(Move *move, const IndexMeta *from, const IndexMeta *to, Err *err) {
    return index_swap_meta(bucket_store(move->from), from, to, err);
}

static bool swap_new(Move *move, const IndexMeta *from, const IndexMeta *to, Err *err) {
    return index_swap_meta(bucket_store(move->to), from, to, err);
}

static bool not_free(const Move *move, Err *err) {
    return err_code(err, LH_CONFLICT, "index_busy",
                    "bucket '%.*s' holds what another move of index '%.*s' brings or has not "
                    "removed yet: try again when it is done, or in an hour",
                    SHOW(move->meta.bucket), SHOW(move->meta.index));
}

static bool claim_absent(Move *move, Err *err) {
    OWNED(text_close) Text text = {0};
    const PutCondition fresh = {.if_absent = true};
    JsonWriter w = {.out = &text};
    jw_object(&w);
    meta_write(&move->claim, &w);
    jw_end(&w);
    return store_write(bucket_store(move->to), meta_name(move), text_bytes(&text), &fresh, err) ||
           (err->kind == LH_PRECONDITION && not_free(move, err));
}

/* What a move left a while ago is nobody's any more; at once where no other server is. */
static bool claim_left(Move *move, const IndexMeta *there, int64_t modified_ms, Err *err) {
    if (there->moved && buckets_shared(move->indexes->buckets) &&
        modified_ms + LEFT_MS > clock_now_ms())
        return not_free(move, err);
    return swap_new(move, there, &move->claim, err);
}

static bool claim(Move *move, Err *err) {
    IndexMeta there;
    ObjectInfo info;
    Store *store = bucket_store(move->to);
    Err why = {0};
    bool found = store_head(store, meta_name(move), &info, &why) &&
                 meta_load(store, meta_name(move), &move->arena, &there, &why);
    if (!found && why.kind == LH_OFFLINE) return *err = why, false;
    if (!found && why.kind == LH_MISSING)
        move->claimed = claim_absent(move, err);
    else if (found && (there.moved || (str_equal(there.row_log, move->meta.row_log) &&
                                       there.moves < move->meta.moves)))
        move->claimed = claim_left(move, &there, info.modified_ms, err);
    else
        return err_code(err, LH_CONFLICT, "index_exists",
                        "bucket '%.*s' holds another index named '%.*s'", SHOW(move->meta.bucket),
                        SHOW(move->meta.index));
    return move->claimed;
}

static bool remove_each(Move *move, const ObjectEntry *object, Err *err) {
    return store_remove(move->walked, object->key, err);
}

/* What cannot be removed now is swept later. */
static void leave(Move *move, Bucket *bucket) {
    Err why = {0};
    Store *store = bucket_store(bucket);
    if (!each_object(move, bucket, remove_each, &why) ||
        !store_remove(store, meta_key(move->meta.index, "agent.lease", &move->arena), &why) ||
        !store_remove(store, meta_name(move), &why))
        log_warn("index '%.*s': what its move leaves in bucket '%.*s' is not all removed: %s",
                 SHOW(move->meta.index), SHOW(bucket_name(bucket)), why.message);
}

/* ---- Making the copy the index ---- */

/* The old place did not give way, as far as is known: it is made to win, unless it did. True when
 * the copy is the index. */
static bool settle(Move *move, const Err *failed) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    IndexMeta back = move->here, now;
    Err why = {0};
    back.moves = move->meta.moves + 1;
    swap_old(move, &move->leaving, &back, &why);
    move->claimed = false; /* what may be the index is kept */
    if (!index_meta_now(move->indexes, move->entry, &move->arena, &now, &why) ||
        now.moving_to.len > 0) {
        atomic_store(&move->indexes->unsettled, true);
        log_error("index '%.*s': whether it has moved to bucket '%.*s' shows later: %s",
                  SHOW(move->meta.index), SHOW(move->meta.bucket), failed->message);
        return false;
    }
    if (meta_same_place(&now, &move->meta)) return true;
    entry = index_entry_open(move->indexes, &now);
    if (entry->index) indexes_list(move->indexes, TAKE(entry));
    move->claimed = swap_new(move, &move->meta, &move->claim, &why);
    return false;
}

static bool hand_over(Move *move, Err *err) {
    return swap_new(move, &move->claim, &move->meta, err) &&
           swap_old(move, &move->leaving, &move->left, err);
}

/* Nobody writes to the index meanwhile. The copy is opened before it counts. */
static bool commit(Move *move, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    Err why = {0};
    bool ok = swap_old(move, &move->here, &move->leaving, err) && copy_rest(move, err);
    if (ok) {
        entry = index_entry_open(move->indexes, &move->meta);
        ok = entry->index;
        if (!ok) *err = entry->broken;
    }
    /* The mark may be there though its write was not answered; what stays is taken back later. */
    if (!ok) swap_old(move, &move->leaving, &move->here, &why);
    if (!ok || (!hand_over(move, err) && !settle(move, err))) return false;
    indexes_list(move->indexes, TAKE(entry));
    move->claimed = false;
    return true;
}

/* ---- The whole ---- */

static bool move_open(Move *move, Str index, Str bucket, Err *err) {
    if (!indexes_hold(move->indexes, index, err)) return false;
    move->held = true;
    move->meta.index = index;
    if (!indexes_follow(move->indexes, index, err) ||
        !indexes_find(move->indexes, index, &move->entry, err) ||
        !bucket_find(move->indexes->buckets, move->entry->meta.bucket, &move->from, err) ||
        !bucket_find(move->indexes->buckets, bucket, &move->to, err) ||
        !store_check_condition(bucket_store(move->to), &(PutCondition){.if_absent = true}, err))
        return false;
    move->here = move->leaving = meta_copy(&move->entry->meta, &move->arena);
    move->leaving.moving_to = bucket;
    move->left = move->leaving;
    move->left.moved = true;
    move->meta = move->here;
    move->meta.bucket = bucket;
    move->meta.moves++;
    move->claim = move->meta;
    move->claim.moved = true;
    move->piece = malloc(PIECE_SIZE);
    if (!move->piece) abort();
    return true;
}

/* So that what is read from afar is here before anybody waits for it. */
static void warm(Move *move) {
    if (store_abilities(bucket_store(move->to)).local) return;
    IndexEntry *entry = index_entry_open(move->indexes, &move->meta);
    index_entry_release(&entry);
}

static bool move_run(Move *move, Err *err) {
    bool ok = claim(move, err) && each_object(move, move->from, count_object, err) &&
              each_object(move, move->from, copy_each, err);
    if (ok) {
        warm(move);
        pthread_mutex_t *rows = indexes_row_lock(move->indexes, move->meta.index);
        pthread_rwlock_wrlock(&move->indexes->placement);
        pthread_mutex_lock(rows);
        ok = commit(move, err);
        pthread_mutex_unlock(rows);
        pthread_rwlock_unlock(&move->indexes->placement);
    }
    if (ok || move->claimed) leave(move, ok ? move->from : move->to);
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
