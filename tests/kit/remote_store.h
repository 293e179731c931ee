/* A local store made to look remote, for counting what is asked of it: it hands out no descriptor
 * and no path, its files come through a read cache, and each request for bytes is counted and may
 * be made to fail, to wait or to find another object. It stands for no real store: those have tests
 * of their own. Everything is done by the opened store itself, whose table of functions is
 * replaced, so that it can be that of a bucket. */
#pragma once

#include "kit/kit.h"
#include "storage/read_cache.h"
#include "storage/store_ops.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct RemoteStore {
    StoreOps ops; /* first: the store's table leads here */
    const StoreOps *local;
    ReadCache *cache;
    _Atomic int64_t heads, requests, bytes;
    _Atomic int running, running_most;
    atomic_bool offline, changed; /* what each request answers */
    _Atomic int delay_ms;         /* before it answers */
    _Atomic int fail_in;          /* 0: none; n: the n-th request from now on fails */
} RemoteStore;

static inline RemoteStore *remote_of(Store *store) {
    return (RemoteStore *)(uintptr_t)store->ops;
}

static inline bool remote_head(Store *store, Str key, ObjectInfo *out, Err *err) {
    RemoteStore *remote = remote_of(store);
    remote->heads++;
    if (remote->delay_ms) usleep((unsigned)remote->delay_ms * 1000);
    if (remote->offline) return err_set(err, LH_OFFLINE, "the test's store is down");
    return remote->local->head(store, key, out, err);
}

static inline bool remote_fails(RemoteStore *remote, Err *err) {
    int left = remote->fail_in;
    while (left > 0 && !atomic_compare_exchange_weak(&remote->fail_in, &left, left - 1)) continue;
    if (left == 1 || remote->offline) return err_set(err, LH_OFFLINE, "the test's store is down");
    if (remote->changed)
        return err_code(err, LH_CONFLICT, "object_changed", "the test's object has changed");
    return false;
}

static inline bool remote_read(RemoteStore *remote, Store *store, Str key, Str etag, uint64_t from,
                               uint64_t count, void *buffer, Err *err) {
    OWNED(object_close) ObjectReader *reader = NULL;
    err->kind = LH_OK;
    remote_fails(remote, err);
    if (err->kind != LH_OK || !remote->local->open(store, key, NULL, &reader, err)) return false;
    if (!str_equal(etag, str_from(reader->info.etag)))
        return err_code(err, LH_CONFLICT, "object_changed", "'%.*s' has changed", SHOW(key));
    for (uint64_t done = 0; done < count;) {
        size_t got;
        if (!object_read(reader, from + done, (char *)buffer + done, count - done, &got, err))
            return false;
        if (got == 0) return err_set(err, LH_RANGE, "'%.*s' ends too early", SHOW(key));
        done += got;
    }
    return true;
}

static inline bool remote_read_range(Store *store, Str key, Str etag, uint64_t from, uint64_t count,
                                     void *buffer, Err *err) {
    RemoteStore *remote = remote_of(store);
    int now = ++remote->running, most = remote->running_most;
    while (now > most && !atomic_compare_exchange_weak(&remote->running_most, &most, now)) continue;
    remote->requests++;
    remote->bytes += (int64_t)count;
    if (remote->delay_ms) usleep((unsigned)remote->delay_ms * 1000);
    bool ok = remote_read(remote, store, key, etag, from, count, buffer, err);
    remote->running--;
    return ok;
}

static inline StoreAbilities remote_abilities(Store *store) {
    (void)store;
    return (StoreAbilities){.if_absent = true, .if_match = true};
}

static inline bool remote_local_file(Store *store, Str key, LocalUse use, bool immutable,
                                     LocalFile **out, Err *err) {
    return read_cache_file(remote_of(store)->cache, store, key, use, immutable, out, err);
}

static inline bool remote_staging(Store *store, char out[PATH_MAX], Err *err) {
    return read_cache_staging(remote_of(store)->cache, out, err);
}

static inline bool remote_adopt(Store *store, const char *path, Str key,
                                const PutCondition *condition, ObjectInfo *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(writer_close) ObjectWriter *writer = NULL;
    Bytes data;
    if (!file_read(path, SIZE_MAX >> 1, &arena, &data, err) ||
        !store->ops->create(store, key, condition, &writer, err) ||
        !writer_write(writer, data, err) || !writer_commit(writer, out, err))
        return false;
    unlink(path);
    return true;
}

static inline int remote_take_fd(ObjectReader *reader) {
    (void)reader;
    return -1;
}

static inline void remote_close(Store *store) {
    RemoteStore *remote = remote_of(store);
    store->ops = remote->local;
    store->ops->close(store);
    free(remote);
}

/* Lives until the store is closed. The cache outlives both. */
static inline RemoteStore *remote_make(Store *store, ReadCache *cache) {
    RemoteStore *remote = calloc(1, sizeof *remote);
    if (!remote) abort();
    remote->local = store->ops;
    remote->cache = cache;
    remote->ops = *store->ops;
    remote->ops.name = "remote";
    remote->ops.head = remote_head;
    remote->ops.read_range = remote_read_range;
    remote->ops.abilities = remote_abilities;
    remote->ops.local_file = remote_local_file;
    remote->ops.staging = remote_staging;
    remote->ops.adopt = remote_adopt;
    remote->ops.reader_take_fd = remote_take_fd;
    remote->ops.close = remote_close;
    store->ops = &remote->ops;
    return remote;
}

static inline void remote_reset(RemoteStore *remote) {
    remote->heads = remote->requests = remote->bytes = 0;
    remote->running_most = 0;
}
