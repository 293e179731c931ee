/* Between the files of the bucket registry: bucket.c holds the list, bucket_options.c checks what a
 * bucket is described by, bucket_file.c keeps what must survive a restart, bucket_probe.c asks
 * every bucket how it is, bucket_watch.c asks those that are out of reach, bucket_rescue.c reads
 * with the rescue rule, bucket_markers.c remembers what was deleted. */
#pragma once

#include "storage/bucket.h"
#include "storage/errors.h"
#include "storage/store_guard.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct Markers Markers;

struct Bucket {
    _Atomic int holders;
    char name[BUCKET_NAME_MAX + 1], root[PATH_MAX];
    bool local, shared;
    S3Options s3; /* of an S3 bucket; its text in `arena` */
    Str location; /* for people */
    Arena arena;
    BucketRole role;
    bool configured; /* named by the configuration, not added at run time */
    pthread_mutex_t lock;
    _Atomic(Store *) store; /* NULL while it could not be opened */
    Store *guard;           /* what everybody else uses; before `store` */
    atomic_bool stuck;      /* a probe passed its time and has not come back */
    atomic_bool silent;     /* the last probe failed */
    atomic_bool looking;    /* the watch has sent a probe that has not come back */
    bool was_open;          /* the watch's: what it said last about the breaker */
};

struct Buckets {
    pthread_rwlock_t lock;    /* the list */
    pthread_mutex_t changing; /* add, remove, reading buckets.json; taken before `lock` */
    Bucket *items[BUCKET_COUNT_MAX];
    size_t len;
    Bucket *primary, *rescue; /* held for life; rescue may be NULL */
    BucketsOptions options;   /* defaults filled in; `items` and `rescue` are not kept */
    Arena arena;
    int lock_fd, state_fd; /* the locks of a local primary and of the state folder */
    ReadCache *cache;      /* NULL without a state folder */
    ErrorJournal *errors;
    Markers *markers;              /* NULL without a rescue bucket */
    atomic_bool restored;          /* buckets.json was read */
    _Atomic int64_t read_again_us; /* of the last look for an unknown name */
    bool warned;                   /* of entries that cannot be used; under `changing` */
    pthread_t watch, tender;
    bool watching; /* both run */
    bool closing;  /* under `closing_lock`, said through `closed` */
    pthread_mutex_t closing_lock;
    pthread_cond_t closed;
};

/* Probes of S3 buckets, each on a thread of its own, that have not come back: they use the read
 * cache and the secrets, whether their bucket is still listed or not. */
extern _Atomic int far_probes;

/* bucket.c */
/* As bucket_find, by the list alone. NULL when unknown. */
Bucket *bucket_hold_listed(Buckets *buckets, Str name);
/* The opened store, opening it now when it could not be opened before. */
bool bucket_ready(Bucket *bucket, Err *err);
/* Reads buckets.json and makes the list agree with it. */
bool buckets_reload(Buckets *buckets, Err *err);

/* bucket_options.c */
bool bucket_options_check(const Buckets *buckets, const BucketOptions *options, Err *err);
/* `options` are checked. Holds nothing of the store yet. */
Bucket *bucket_new(Buckets *buckets, const BucketOptions *options, BucketRole role, bool configured,
                   GuardReport *report);
/* Puts a local root as the kernel sees it into `root`, and into the options. */
bool bucket_options_resolve(BucketOptions *options, char root[PATH_MAX], Err *err);
/* Two buckets over the same objects: LH_CONFLICT. */
bool bucket_is_apart(const Bucket *bucket, const Bucket *other, Err *err);
void bucket_options_write(const Bucket *bucket, JsonWriter *w); /* as buckets.json has it */
BucketOptions bucket_options_read(const Json *item);

/* bucket_file.c */
bool folder_lock(const char *path, const char *what, int *lock_fd, Err *err);
bool format_check(Store *primary, Err *err);
/* buckets.json as it is now; an empty etag and a NULL json while there is none. */
typedef struct BucketsFile {
    Arena arena;
    const Json *buckets, *removed; /* arrays or NULL */
    char etag[STORE_ETAG_SIZE];
} BucketsFile;
void buckets_file_close(BucketsFile *file);
bool buckets_file_read(Store *primary, BucketsFile *out, Err *err);
/* Writes it with `add` in it (may be NULL) and without the name `drop`, which is struck out for
 * good when `strike`. LH_PRECONDITION when it is no longer what was read. */
bool buckets_file_write(Store *primary, const BucketsFile *file, const Bucket *add, Str drop,
                        bool strike, Err *err);

/* bucket_watch.c */
void buckets_watch_open(Buckets *buckets);
void buckets_watch_close(Buckets *buckets);

/* bucket_markers.c: which objects were deleted through us, so that they do not come back from the
 * rescue bucket. */
void markers_open(Buckets *buckets, Markers **out);
void markers_close(Markers **markers);
bool markers_load(Markers *markers, Err *err); /* from the primary, until it was done once */
/* Durable when it returns. */
bool markers_add(Markers *markers, Str bucket, Str key, Err *err);
/* Takes it away when the object is there again. */
void markers_remove(Markers *markers, Str bucket, Str key, Store *store);
/* Of a delete that failed: at once, and whether the object is there or not. */
void markers_withdraw(Markers *markers, Str bucket, Str key);
bool markers_have(Markers *markers, Str bucket, Str key);
bool markers_are_known(const Markers *markers); /* whether markers_have asks nobody */
/* One delete, or one end of a write, of a key at a time. */
pthread_mutex_t *markers_lock(Markers *markers, Str bucket, Str key);
