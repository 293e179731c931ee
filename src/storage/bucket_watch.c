/* Two threads of the registry. The watch looks after open breakers: every breaker_probe_ms each of
 * their buckets is sent a probe on a thread of its own, so that one that hangs blocks no other, and
 * what opened or closed is said in the log. The tender does what waits for the primary: it reads
 * buckets.json and the delete markers once the primary is back, and, when other servers work on the
 * same buckets, buckets.json again now and then. */
#include "storage/bucket_registry.h"

#include "base/base.h"

#include <stdlib.h>
#include <time.h>

#define SHARED_RELOAD_MS 10000

/* Returns false when the registry closes. */
static bool wait_ms(Buckets *buckets, int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t ns = until.tv_nsec + ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&buckets->closing_lock);
    int rc = 0;
    while (!buckets->closing && rc == 0)
        rc = pthread_cond_timedwait(&buckets->closed, &buckets->closing_lock, &until);
    bool go_on = !buckets->closing;
    pthread_mutex_unlock(&buckets->closing_lock);
    return go_on;
}

/* The watch. */

static void *look_run(void *context) {
    Bucket *bucket = context;
    bool far = !bucket->local;
    Err ignored = {0};
    guard_look(bucket->guard, &ignored);
    bucket->looking = false;
    bucket_release(&bucket);
    far_probes -= far;
    return NULL;
}

static void look_start(Bucket *bucket) {
    pthread_t thread;
    if (bucket->looking || bucket->stuck) return;
    bucket->looking = true;
    far_probes += !bucket->local;
    Bucket *held = bucket_hold(bucket);
    if (pthread_create(&thread, NULL, look_run, held) == 0) {
        pthread_detach(thread);
    } else { /* no thread to be had now: next time */
        bucket->looking = false;
        far_probes -= !bucket->local;
        bucket_release(&held);
    }
}

static void watch_bucket(Bucket *bucket) {
    GuardState state;
    guard_state(bucket->guard, &state);
    if (state.open && !bucket->was_open)
        log_warn("the bucket '%s' is out of reach: %s", bucket->name, state.reason);
    if (!state.open && bucket->was_open) log_info("the bucket '%s' is back", bucket->name);
    bucket->was_open = state.open;
    if (state.open) look_start(bucket);
}

static void *watch_loop(void *context) {
    Buckets *buckets = context;
    while (wait_ms(buckets, buckets->options.breaker_probe_ms)) {
        Bucket *held[BUCKET_COUNT_MAX];
        pthread_rwlock_rdlock(&buckets->lock);
        size_t len = buckets->len;
        for (size_t i = 0; i < len; i++) held[i] = bucket_hold(buckets->items[i]);
        pthread_rwlock_unlock(&buckets->lock);
        for (size_t i = 0; i < len; i++) {
            watch_bucket(held[i]);
            bucket_release(&held[i]);
        }
    }
    return NULL;
}

/* The tender. */

static bool tend(Buckets *buckets, bool again, Err *err) {
    if ((!buckets->restored || again) && !buckets_reload(buckets, err)) return false;
    return !buckets->markers || markers_load(buckets->markers, err);
}

static void *tender_loop(void *context) {
    Buckets *buckets = context;
    int64_t read_us = clock_us();
    bool failed = false;
    while (wait_ms(buckets, buckets->options.breaker_probe_ms)) {
        Err err = {0};
        if (guard_is_open(buckets->primary->guard)) continue;
        bool again =
            buckets->options.shared && clock_us() - read_us >= SHARED_RELOAD_MS * (int64_t)1000;
        if (again) read_us = clock_us();
        bool ok = tend(buckets, again, &err);
        if (!ok && !failed) log_warn("%s", err.message); /* once a series */
        failed = !ok;
    }
    return NULL;
}

void buckets_watch_open(Buckets *buckets) {
    if (pthread_create(&buckets->watch, NULL, watch_loop, buckets) ||
        pthread_create(&buckets->tender, NULL, tender_loop, buckets))
        abort();
    buckets->watching = true;
}

void buckets_watch_close(Buckets *buckets) {
    pthread_mutex_lock(&buckets->closing_lock);
    buckets->closing = true;
    pthread_cond_broadcast(&buckets->closed);
    pthread_mutex_unlock(&buckets->closing_lock);
    if (!buckets->watching) return;
    pthread_join(buckets->watch, NULL);
    pthread_join(buckets->tender, NULL);
}
