/* The rescue rule: a read of an object that its bucket cannot give is answered from the rescue
 * bucket, unless it was deleted through us. A fallback is one event of the error journal, marked as
 * rescued; the failed read behind it is not a second one. */
#include "storage/bucket_registry.h"

#include "base/base.h"

static bool may_rescue(RescueRule rule, const Err *err) {
    bool unreachable = err->kind == LH_OFFLINE || err->kind == LH_TIMEOUT || err->kind == LH_DENIED;
    return (rule == RESCUE_ANY && err->kind == LH_MISSING) || (rule != RESCUE_NEVER && unreachable);
}

/* What a read asks of a bucket: an open reader, or the size and etag alone. */
typedef struct Read {
    const ObjectRequest *request;
    ObjectReader **reader; /* NULL: only `info` */
    ObjectInfo *info;
} Read;

static bool read_asked(const Read *read, Bucket *bucket, Err *err) {
    const ObjectRequest *request = read->request;
    if (read->reader)
        return guard_open_object(bucket->guard, request->key, &request->hint, read->reader, err);
    return store_head(guard_quiet(bucket->guard), request->key, read->info, err);
}

static bool read_rescue(const Read *read, Bucket *bucket, Err *err) {
    const ObjectRequest *request = read->request;
    if (read->reader)
        return store_open(bucket->guard, request->key, &request->hint, read->reader, err);
    return store_head(bucket->guard, request->key, read->info, err);
}

static bool is_failure(const Err *err) {
    return err->kind == LH_OFFLINE || err->kind == LH_TIMEOUT || err->kind == LH_FULL ||
           err->kind == LH_CORRUPT;
}

static bool read_object(Buckets *buckets, const Read *read, Str *served_by, Err *err) {
    OWNED(bucket_release) Bucket *asked = NULL;
    const ObjectRequest *request = read->request;
    Err why = {0}, second = {0};
    if (!key_check(request->key, err) || !bucket_find(buckets, request->bucket, &asked, err))
        return false;
    if (read_asked(read, asked, &why)) return *served_by = (Str){0}, true;
    bool saved = buckets->rescue && asked != buckets->rescue && may_rescue(request->rescue, &why) &&
                 !markers_have(buckets->markers, request->bucket, request->key) &&
                 read_rescue(read, buckets->rescue, &second);
    if (saved || is_failure(&why))
        guard_report(asked->guard, read->reader ? GUARD_GET : GUARD_HEAD, request->key, &why,
                     saved);
    if (!saved) return *err = why, false;
    *served_by = bucket_name(buckets->rescue);
    return true;
}

bool buckets_open_object(Buckets *buckets, const ObjectRequest *request, ObjectReader **out,
                         Str *served_by, Err *err) {
    Read read = {.request = request, .reader = out};
    return read_object(buckets, &read, served_by, err);
}

bool buckets_head_object(Buckets *buckets, const ObjectRequest *request, ObjectInfo *out,
                         Str *served_by, Err *err) {
    Read read = {.request = request, .info = out};
    return read_object(buckets, &read, served_by, err);
}

/* Removing. */

/* On a full disk nothing more can be remembered until something is gone, so that there the object
 * goes first: a server that dies in between has not acknowledged the delete. A delete that failed
 * takes back its marker, but not that of an earlier one. With other servers about, a write of
 * theirs may have taken the marker away before the object went: then it is set again. */
static bool remove_locked(Buckets *buckets, Bucket *bucket, Str key, Err *err) {
    Markers *markers = buckets->markers;
    Str name = bucket_name(bucket);
    bool shared = buckets->options.shared, before = markers_have(markers, name, key);
    bool marked = markers_add(markers, name, key, err);
    if (!marked && err->kind != LH_FULL) return false;
    if (!store_remove(bucket->guard, key, err)) {
        if (marked && !before && !shared) markers_withdraw(markers, name, key);
        return false;
    }
    if (marked && (!shared || markers_have(markers, name, key))) return true;
    *err = (Err){0};
    return markers_add(markers, name, key, err);
}

static bool remove_marked(Buckets *buckets, Bucket *bucket, Str key, Err *err) {
    pthread_mutex_t *lock = markers_lock(buckets->markers, bucket_name(bucket), key);
    bool ok = remove_locked(buckets, bucket, key, err);
    pthread_mutex_unlock(lock);
    return ok;
}

bool buckets_remove_object(Buckets *buckets, Str name, Str key, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    if (!key_check(key, err) || !bucket_find(buckets, name, &bucket, err)) return false;
    if (!buckets->markers || bucket == buckets->rescue)
        return store_remove(bucket->guard, key, err);
    return remove_marked(buckets, bucket, key, err);
}

void buckets_object_written(Buckets *buckets, Str name, Str key) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    Err ignored = {0};
    if (!buckets->markers || !key_check(key, &ignored)) return;
    bucket = bucket_hold_listed(buckets, name);
    if (!bucket || bucket == buckets->rescue) return;
    markers_remove(buckets->markers, name, key, bucket->guard);
}

/* What a read may wait for: its bucket, the rescue bucket, and the primary for a marker. */
bool buckets_read_is_local(Buckets *buckets, Str name) {
    OWNED(bucket_release) Bucket *bucket = bucket_hold_listed(buckets, name);
    if (!bucket) return buckets->primary->local; /* it may be looked for in buckets.json */
    if (!bucket->local) return false;
    return !buckets->rescue || bucket == buckets->rescue ||
           (buckets->rescue->local &&
            (buckets->primary->local || markers_are_known(buckets->markers)));
}
