/* Delete markers: which objects were deleted through us, so that a read that falls back does not
 * bring one back from the rescue bucket. One small object of the primary each:
 *
 *     _lakehouse/deleted/<bucket>/<2 hex>/<64 hex: SHA-256 of bucket, NUL, key>   {"key","at_ms"}
 *
 * The name is a hash because keys are long, and because 'a' and 'a/b' can both be deleted while a
 * local bucket cannot have both as objects; two more digits keep folders small. The hashes are kept
 * in memory too, and in a log of this machine, for when the primary is out of reach:
 *
 *     <state_dir>/deleted.log    framed records: '+' or '-' and the 32 bytes of the hash
 *
 * A marker is in the primary before it is in the log, and in the log before the object goes. With
 * other servers on the same buckets, or with more markers than are kept in memory, the primary is
 * asked while it answers. Locks: `loading` is held to write by the load and to read by changes and
 * is taken before `lock`, which guards the set and the log. */
#include "storage/bucket_registry.h"

#include "base/base.h"

#include <assert.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "_lakehouse/deleted/"
#define MARKERS_MAX 1000000 /* 32 bytes each, in memory */
#define STRIPES 256
#define LOG_SLACK 4096 /* records beyond four a marker until the log is written anew */

typedef struct Digest {
    uint8_t bytes[SHA256_DIGEST_LENGTH];
} Digest;

struct Markers {
    Buckets *buckets;
    pthread_rwlock_t loading;
    pthread_mutex_t lock;
    Digest *slots; /* a power of two, all zero: free; linear probing */
    size_t slot_count, len;
    const char *log_path; /* NULL: none */
    Journal *log;
    size_t log_records;
    atomic_bool loaded;   /* the set is the primary's */
    atomic_bool complete; /* ... all of it */
    pthread_mutex_t stripes[STRIPES];
};

static const Digest digest_none;

static Digest digest_of(Str bucket, Str key) {
    Digest digest;
    uint8_t text[BUCKET_NAME_MAX + 1 + STORE_KEY_MAX];
    assert(bucket.len <= BUCKET_NAME_MAX && key.len <= STORE_KEY_MAX);
    memcpy(text, bucket.data, bucket.len);
    text[bucket.len] = 0;
    memcpy(text + bucket.len + 1, key.data, key.len);
    SHA256(text, bucket.len + 1 + key.len, digest.bytes);
    return digest;
}

static bool digest_equal(const Digest *a, const Digest *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

static Str marker_key(Arena *arena, Str bucket, const Digest *digest) {
    char hex[2 * sizeof *digest + 1];
    for (size_t i = 0; i < sizeof *digest; i++) snprintf(hex + 2 * i, 3, "%02x", digest->bytes[i]);
    return arena_print(arena, FOLDER "%.*s/%.2s/%s", SHOW(bucket), hex, hex);
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool digest_read(Str hex, Digest *out) {
    if (hex.len != 2 * sizeof *out) return false;
    for (size_t i = 0; i < sizeof *out; i++) {
        int high = hex_value(hex.data[2 * i]), low = hex_value(hex.data[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* The set; under `lock`. */

static size_t home_of(const Markers *markers, const Digest *digest) {
    uint64_t head;
    memcpy(&head, digest->bytes, sizeof head);
    return (size_t)head & (markers->slot_count - 1);
}

/* Where it is, or the free slot where it would be. */
static size_t slot_of(const Markers *markers, const Digest *digest) {
    size_t at = home_of(markers, digest);
    while (!digest_equal(&markers->slots[at], &digest_none) &&
           !digest_equal(&markers->slots[at], digest))
        at = (at + 1) & (markers->slot_count - 1);
    return at;
}

static bool set_has(const Markers *markers, const Digest *digest) {
    return digest_equal(&markers->slots[slot_of(markers, digest)], digest);
}

static void set_size(Markers *markers, size_t slot_count) {
    Digest *old = markers->slots;
    size_t old_count = markers->slot_count;
    markers->slots = calloc(slot_count, sizeof(Digest));
    if (!markers->slots) abort();
    markers->slot_count = slot_count;
    for (size_t i = 0; i < old_count; i++)
        if (!digest_equal(&old[i], &digest_none))
            markers->slots[slot_of(markers, &old[i])] = old[i];
    free(old);
}

static void set_add(Markers *markers, const Digest *digest) {
    if (set_has(markers, digest)) return;
    if (markers->len == MARKERS_MAX) {
        markers->complete = false;
        return;
    }
    if (markers->len * 2 >= markers->slot_count) set_size(markers, markers->slot_count * 2);
    markers->slots[slot_of(markers, digest)] = *digest;
    markers->len++;
}

/* Those behind it move up, so that no search stops at the gap. */
static void set_remove(Markers *markers, const Digest *digest) {
    size_t mask = markers->slot_count - 1, gap = slot_of(markers, digest);
    if (!digest_equal(&markers->slots[gap], digest)) return;
    for (size_t at = (gap + 1) & mask; !digest_equal(&markers->slots[at], &digest_none);
         at = (at + 1) & mask) {
        size_t home = home_of(markers, &markers->slots[at]);
        if (((at - home) & mask) < ((at - gap) & mask)) continue;
        markers->slots[gap] = markers->slots[at];
        gap = at;
    }
    markers->slots[gap] = digest_none;
    markers->len--;
}

/* The log; under `lock`. */

typedef struct LogRecord {
    uint8_t sign;
    Digest digest;
} LogRecord;
_Static_assert(sizeof(LogRecord) == 1 + sizeof(Digest), "written as it is");

static void log_visit(void *context, Bytes payload) {
    Markers *markers = context;
    LogRecord record;
    if (payload.size != sizeof record) return;
    memcpy(&record, payload.data, sizeof record);
    markers->log_records++;
    if (record.sign == '+')
        set_add(markers, &record.digest);
    else
        set_remove(markers, &record.digest);
}

static bool log_add(Markers *markers, uint8_t sign, const Digest *digest, Err *err) {
    LogRecord record = {sign, *digest};
    if (!markers->log_path) return true;
    if (!markers->log) return err_set(err, LH_OFFLINE, "'%s' is not open", markers->log_path);
    markers->log_records++;
    return journal_append(markers->log, (Bytes){(const uint8_t *)&record, sizeof record}, err) &&
           journal_sync(markers->log, err);
}

/* The set alone, as a new log. */
static bool log_rewrite(Markers *markers, Err *err) {
    OWNED(text_close) Text frames = {0};
    if (!markers->log_path) return true;
    for (size_t i = 0; i < markers->slot_count; i++) {
        LogRecord record = {'+', markers->slots[i]};
        if (!digest_equal(&record.digest, &digest_none))
            frame_add(&frames, (Bytes){(const uint8_t *)&record, sizeof record});
    }
    if (!file_replace(markers->log_path, text_bytes(&frames), err)) return false;
    journal_close(&markers->log);
    markers->log_records = markers->len;
    return journal_open(markers->log_path, NULL, NULL, &markers->log, err);
}

static void log_shorten(Markers *markers) {
    Err err = {0};
    if (markers->log_records < 4 * markers->len + LOG_SLACK) return;
    if (!log_rewrite(markers, &err)) log_warn("the log of delete markers: %s", err.message);
}

/* Opening. */

void markers_open(Buckets *buckets, Markers **out) {
    Markers *markers = calloc(1, sizeof *markers);
    Err err = {0};
    if (!markers) abort();
    markers->buckets = buckets;
    pthread_rwlock_init(&markers->loading, NULL);
    pthread_mutex_init(&markers->lock, NULL);
    for (size_t i = 0; i < STRIPES; i++) pthread_mutex_init(&markers->stripes[i], NULL);
    set_size(markers, 64);
    const char *dir = buckets->options.state_dir;
    if (dir)
        markers->log_path =
            arena_cstr(&buckets->arena, arena_print(&buckets->arena, "%s/deleted.log", dir));
    if (dir && (!journal_open(markers->log_path, log_visit, markers, &markers->log, &err) ||
                !file_sync_dir(dir, &err)))
        log_warn("the log of delete markers: %s", err.message);
    *out = markers;
}

void markers_close(Markers **closing) {
    Markers *markers = *closing;
    *closing = NULL;
    if (!markers) return;
    journal_close(&markers->log);
    for (size_t i = 0; i < STRIPES; i++) pthread_mutex_destroy(&markers->stripes[i]);
    pthread_mutex_destroy(&markers->lock);
    pthread_rwlock_destroy(&markers->loading);
    free(markers->slots);
    free(markers);
}

static bool load_page(Markers *fresh, Store *primary, Str *after, Arena *arena, Err *err) {
    OWNED(arena_close) Arena page = {0};
    ListOptions options = {.prefix = STR(FOLDER), .after = *after, .limit = STORE_LIST_MAX};
    ObjectList list;
    if (!store_list(primary, &options, &page, &list, err)) return false;
    for (size_t i = 0; i < list.object_count; i++) {
        Digest digest;
        Str key = list.objects[i].key;
        if (key.len > 64 && digest_read(str_slice(key, key.len - 64, key.len), &digest))
            set_add(fresh, &digest);
    }
    arena_close(arena);
    *after = arena_copy(arena, list.next);
    return true;
}

static bool load_all(Markers *fresh, Store *primary, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Str after = {0};
    fresh->complete = true;
    set_size(fresh, 64);
    do {
        if (!load_page(fresh, primary, &after, &arena, err)) return false;
    } while (after.len > 0 && fresh->complete);
    return true;
}

static bool load_locked(Markers *markers, Err *err) {
    Markers fresh = {0};
    if (!load_all(&fresh, guard_quiet(markers->buckets->primary->guard), err)) {
        free(fresh.slots);
        return err_while(err, "reading the delete markers");
    }
    pthread_mutex_lock(&markers->lock);
    free(markers->slots);
    markers->slots = fresh.slots;
    markers->slot_count = fresh.slot_count;
    markers->len = fresh.len;
    markers->complete = fresh.complete;
    bool ok = log_rewrite(markers, err);
    pthread_mutex_unlock(&markers->lock);
    if (ok) markers->loaded = true;
    return ok;
}

bool markers_load(Markers *markers, Err *err) {
    if (markers->loaded) return true;
    pthread_rwlock_wrlock(&markers->loading);
    bool ok = markers->loaded || load_locked(markers, err);
    pthread_rwlock_unlock(&markers->loading);
    return ok;
}

/* Whether the set alone tells. */
static bool set_decides(const Markers *markers) {
    return markers->loaded && markers->complete && !markers->buckets->options.shared;
}

bool markers_are_known(const Markers *markers) {
    return set_decides(markers);
}

static bool known(Markers *markers, const Digest *digest) {
    pthread_mutex_lock(&markers->lock);
    bool has = set_has(markers, digest);
    pthread_mutex_unlock(&markers->lock);
    return has;
}

/* Adding. */

static bool marker_store(Markers *markers, Str bucket, Str key, const Digest *digest, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text json = {0};
    JsonWriter w = {.out = &json};
    jw_object(&w);
    jw_member_text(&w, "key", key);
    jw_member_int(&w, "at_ms", clock_now_ms());
    jw_end(&w);
    return store_write(markers->buckets->primary->guard, marker_key(&arena, bucket, digest),
                       text_bytes(&json), NULL, err);
}

static bool add_held(Markers *markers, Str bucket, Str key, Err *err) {
    Digest digest = digest_of(bucket, key);
    if (set_decides(markers) && known(markers, &digest)) return true;
    if (!marker_store(markers, bucket, key, &digest, err)) return false;
    pthread_mutex_lock(&markers->lock);
    bool ok = set_has(markers, &digest) || log_add(markers, '+', &digest, err);
    if (ok) set_add(markers, &digest);
    pthread_mutex_unlock(&markers->lock);
    return ok;
}

bool markers_add(Markers *markers, Str bucket, Str key, Err *err) {
    Err why = {0};
    pthread_rwlock_rdlock(&markers->loading);
    bool ok = add_held(markers, bucket, key, &why);
    pthread_rwlock_unlock(&markers->loading);
    return ok ||
           err_code(err, why.kind == LH_FULL ? LH_FULL : LH_OFFLINE, "marker_not_stored",
                    "nothing was deleted, for that cannot be remembered now: %s", why.message);
}

/* Removing. */

static bool forget(Markers *markers, Str bucket, const Digest *digest, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    if (!store_remove(markers->buckets->primary->guard, marker_key(&arena, bucket, digest), err))
        return false;
    pthread_mutex_lock(&markers->lock);
    bool ok = !set_has(markers, digest) || log_add(markers, '-', digest, err);
    set_remove(markers, digest);
    log_shorten(markers);
    pthread_mutex_unlock(&markers->lock);
    return ok;
}

/* The object may be gone again, by a delete that came between the write and this. */
static bool remove_held(Markers *markers, Str bucket, Str key, Store *store, const Digest *digest,
                        Err *err) {
    ObjectInfo info;
    if (!store_head(store, key, &info, err)) return err->kind == LH_MISSING;
    return forget(markers, bucket, digest, err);
}

static void stays(Str bucket, Str key, const Err *why) {
    log_warn("the delete marker of '%.*s/%.*s' stays, so that the rescue bucket will not serve it: "
             "%s",
             SHOW(bucket), SHOW(key), why->message);
}

void markers_withdraw(Markers *markers, Str bucket, Str key) {
    Err err = {0};
    Digest digest = digest_of(bucket, key);
    pthread_rwlock_rdlock(&markers->loading);
    bool ok = forget(markers, bucket, &digest, &err);
    pthread_rwlock_unlock(&markers->loading);
    if (!ok) stays(bucket, key, &err);
}

void markers_remove(Markers *markers, Str bucket, Str key, Store *store) {
    Err err = {0};
    Digest digest = digest_of(bucket, key);
    if (set_decides(markers) && !known(markers, &digest)) return;
    pthread_mutex_t *lock = markers_lock(markers, bucket, key);
    pthread_rwlock_rdlock(&markers->loading);
    bool ok = remove_held(markers, bucket, key, store, &digest, &err);
    pthread_rwlock_unlock(&markers->loading);
    pthread_mutex_unlock(lock);
    if (!ok) stays(bucket, key, &err);
}

/* Asking. */

bool markers_have(Markers *markers, Str bucket, Str key) {
    OWNED(arena_close) Arena arena = {0};
    Digest digest = digest_of(bucket, key);
    ObjectInfo info;
    Err err = {0};
    if (!set_decides(markers)) {
        Store *primary = guard_quiet(markers->buckets->primary->guard);
        if (store_head(primary, marker_key(&arena, bucket, &digest), &info, &err)) return true;
        if (err.kind == LH_MISSING) return false;
    }
    return known(markers, &digest);
}

pthread_mutex_t *markers_lock(Markers *markers, Str bucket, Str key) {
    uint64_t hash = hash64(bytes_of(bucket)) * 31 + hash64(bytes_of(key));
    pthread_mutex_t *lock = &markers->stripes[hash % STRIPES];
    pthread_mutex_lock(lock);
    return lock;
}
