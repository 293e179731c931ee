/* The buckets that this server federates: named stores with two roles, `primary` and the rescue
 * bucket, behind a read-write lock. Buckets added at run time are kept in
 * <primary>/_lakehouse/buckets.json. Thread safe. */
#pragma once

#include "storage/secrets.h"
#include "storage/store_s3.h"

#include "base/json.h"

#define BUCKET_NAME_MAX 63
#define BUCKET_COUNT_MAX 256

typedef struct Buckets Buckets;
typedef struct ErrorJournal ErrorJournal;

typedef struct BucketOptions {
    Str name, backend; /* backend "local" or "s3" */
    Str root;          /* of a local bucket */
    /* Of an S3 one, see store_s3.h. */
    Str bucket, endpoint, region, prefix, secret_ref;
    bool path_style;
} BucketOptions;

typedef enum BucketRole { BUCKET_PLAIN, BUCKET_PRIMARY, BUCKET_RESCUE } BucketRole;

typedef struct BucketsOptions {
    const BucketOptions *items; /* must name "primary" */
    size_t count;
    Str rescue;               /* names one of them, or is empty */
    bool shared;              /* other servers work on the same buckets: no lock is taken */
    const char *state_dir;    /* a folder of this machine, made when missing, this server's alone:
                                 the read cache, what the primary cannot take while it is down.
                                 NULL: no cache, and so no S3 buckets */
    int64_t cache_bytes_max;  /* of the read cache */
    int64_t breaker_failures; /* in a row, and the bucket is answered for without asking it */
    int64_t breaker_probe_ms; /* between looks whether it is back */
    S3Limits s3;
    Secrets *secrets; /* outlives the registry; may be NULL when no bucket is S3 */
} BucketsOptions;

/* Zeros in the options mean defaults: 10 GiB of cache, 5 failures, 2000 ms, s3_limits_default.
 * Takes a lock file in a local primary that is not shared: a second server on it is refused
 * (LH_CONFLICT). Writes or checks <primary>/_lakehouse/format. Restores buckets.json; one that
 * cannot be opened is kept and reported unreachable, an S3 primary too. */
bool buckets_open(const BucketsOptions *options, Buckets **out, Err *err);
void buckets_close(Buckets **buckets);
bool buckets_shared(const Buckets *buckets); /* as the options say */
ErrorJournal *buckets_errors(Buckets *buckets);
ReadCache *buckets_cache(Buckets *buckets); /* NULL without a state_dir */

/* Held until bucket_release; survives a concurrent remove. LH_MISSING "bucket_not_found" with a
 * "did you mean"; LH_OFFLINE while the list of buckets itself is out of reach. A bucket that could
 * not be opened is found: what is done with its store answers LH_OFFLINE. */
typedef struct Bucket Bucket;
bool bucket_find(Buckets *buckets, Str name, Bucket **out, Err *err);
Bucket *bucket_hold(Bucket *bucket); /* once more */
void bucket_release(Bucket **bucket);
Store *bucket_store(Bucket *bucket); /* guarded, see store_guard.h */
Str bucket_name(const Bucket *bucket);
/* All names, sorted. */
Str *bucket_names(Buckets *buckets, Arena *arena, size_t *count);

bool bucket_add(Buckets *buckets, const BucketOptions *options, Err *err);
typedef bool BucketInUse(void *context, Str bucket,
                         Err *err);                       /* false with LH_CONFLICT says by what */
bool bucket_remove(Buckets *buckets, Str name, Err *err); /* LH_DENIED for a role */
void buckets_write(Buckets *buckets, JsonWriter *w);      /* GET /storage/buckets, probed */
bool bucket_write(Buckets *buckets, Str name, JsonWriter *w, Err *err); /* one of them */

typedef enum RescueRule {
    RESCUE_ANY,         /* when the bucket is out of reach, or lacks the key */
    RESCUE_UNREACHABLE, /* only when it is out of reach */
    RESCUE_NEVER,
} RescueRule;
typedef struct ObjectRequest {
    Str bucket, key;
    RescueRule rescue;
    ReadHint hint;
} ObjectRequest;
/* Reads with the rescue rule: the rescue bucket is read instead, unless the object was deleted
 * through us, and the fallback is an event in the error journal. *served_by is the rescue bucket's
 * name then, else empty. Writes never fall back. */
bool buckets_open_object(Buckets *buckets, const ObjectRequest *request, ObjectReader **out,
                         Str *served_by, Err *err);
/* The same for its size and etag alone; out of reach of the body. */
bool buckets_head_object(Buckets *buckets, const ObjectRequest *request, ObjectInfo *out,
                         Str *served_by, Err *err);
/* Removes it from the bucket. When there is a rescue bucket, a delete marker is durable first, so
 * that the object does not come back from there; a later write through us takes the marker away. */
bool buckets_remove_object(Buckets *buckets, Str bucket, Str key, Err *err);
/* After a committed write of the key. */
void buckets_object_written(Buckets *buckets, Str bucket, Str key);
/* Whether reads of it, a fallback included, never wait for a network. */
bool buckets_read_is_local(Buckets *buckets, Str bucket);
/* How many buckets are out of reach now, by their breakers: nobody is asked. */
size_t buckets_unreachable(Buckets *buckets);
void buckets_write_unreachable(Buckets *buckets, JsonWriter *w); /* their names, an array */
/* GET /storage/bucket-health: events of the last minutes; one whose breaker is open is down. */
bool buckets_health(Buckets *buckets, int64_t minutes, JsonWriter *w, Err *err);
void buckets_metrics(Buckets *buckets, Text *out); /* Prometheus lines, one per bucket and gauge */
