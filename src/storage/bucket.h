/* The buckets that this server federates: named stores with two roles, `primary` and the rescue
 * bucket, behind a read-write lock. Buckets added at run time are kept in
 * <primary>/_lakehouse/buckets.json. Thread safe. */
#pragma once

#include "storage/store.h"

#include "base/json.h"

#define BUCKET_NAME_MAX 63
#define BUCKET_COUNT_MAX 256

typedef struct Buckets Buckets;
typedef struct ErrorJournal ErrorJournal;

typedef struct BucketOptions {
    Str name, backend; /* backend "local" */
    Str root;          /* of a local bucket */
} BucketOptions;

typedef enum BucketRole { BUCKET_PLAIN, BUCKET_PRIMARY, BUCKET_RESCUE } BucketRole;

/* `options` must name "primary"; `rescue` names one of them or is empty. Takes a lock file in a
 * local primary: a second server on it is refused (LH_CONFLICT). Writes or checks
 * <primary>/_lakehouse/format. Restores buckets.json; one that cannot be opened is kept and
 * reported unreachable. */
bool buckets_open(const BucketOptions *options, size_t count, Str rescue, Buckets **out, Err *err);
void buckets_close(Buckets **buckets);
ErrorJournal *buckets_errors(Buckets *buckets);

/* Held until bucket_release; survives a concurrent remove. LH_MISSING "bucket_not_found" with a
 * "did you mean"; LH_OFFLINE when it could not be opened. */
typedef struct Bucket Bucket;
bool bucket_find(Buckets *buckets, Str name, Bucket **out, Err *err);
void bucket_release(Bucket **bucket);
Store *bucket_store(Bucket *bucket);
Str bucket_name(const Bucket *bucket);
/* All names, sorted. */
Str *bucket_names(Buckets *buckets, Arena *arena, size_t *count);

bool bucket_add(Buckets *buckets, const BucketOptions *options, Err *err);
typedef bool BucketInUse(void *context, Str bucket,
                         Err *err);                       /* false with LH_CONFLICT says by what */
bool bucket_remove(Buckets *buckets, Str name, Err *err); /* LH_DENIED for a role */
void buckets_write(Buckets *buckets, JsonWriter *w);      /* GET /storage/buckets, probed */
bool bucket_write(Buckets *buckets, Str name, JsonWriter *w, Err *err); /* one of them */

/* Reads with the rescue rule: when the bucket is out of reach or lacks the key, the rescue bucket
 * is read instead and the fallback is an event in the error journal. *rescued says so; then
 * `served_by` is the rescue bucket's name. Writes never fall back. */
bool buckets_open_object(Buckets *buckets, Str bucket, Str key, ObjectReader **out, bool *rescued,
                         Str *served_by, Err *err);
