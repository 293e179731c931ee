/* Between the files of the bucket registry: bucket.c holds the list, bucket_file.c keeps what must
 * survive a restart, bucket_probe.c asks every bucket how it is. */
#pragma once

#include "storage/bucket.h"
#include "storage/errors.h"

#include <pthread.h>
#include <stdatomic.h>

struct Bucket {
    _Atomic int holders;
    char name[BUCKET_NAME_MAX + 1], root[PATH_MAX];
    BucketRole role;
    bool configured; /* named by the configuration, not added at run time */
    pthread_mutex_t lock;
    _Atomic(Store *) store; /* NULL while it could not be opened */
    atomic_bool stuck;      /* a probe passed its time and has not come back */
    atomic_bool silent;     /* the last probe failed */
};

struct Buckets {
    pthread_rwlock_t lock;    /* the list */
    pthread_mutex_t changing; /* add and remove, one at a time; taken before `lock` */
    Bucket *items[BUCKET_COUNT_MAX];
    size_t len;
    Bucket *primary, *rescue;      /* held for life; rescue may be NULL */
    Str removed[BUCKET_COUNT_MAX]; /* configured ones that were removed at run time */
    size_t removed_count;
    Arena arena; /* of `removed` */
    int lock_fd;
    ErrorJournal *errors;
};

Bucket *bucket_hold(Bucket *bucket);
/* As bucket_find, without opening it. */
bool bucket_hold_named(Buckets *buckets, Str name, Bucket **out, Err *err);
/* The opened store, opening it now when it could not be opened before. */
bool bucket_ready(Bucket *bucket, Err *err);

bool primary_lock(const Bucket *primary, int *lock_fd, Err *err);
bool format_check(Store *primary, Err *err);
/* Calls `add` for each bucket that buckets.json lists, `removed` for each name it strikes out. */
typedef void BucketSeen(Buckets *buckets, const BucketOptions *options);
typedef void BucketStruck(Buckets *buckets, Str name);
bool buckets_restore(Buckets *buckets, BucketSeen *add, BucketStruck *strike, Err *err);
bool buckets_persist(Buckets *buckets, Err *err); /* the caller holds `changing` */
