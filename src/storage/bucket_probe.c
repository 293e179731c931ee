/* GET /storage/buckets: every bucket is probed, side by side, each on a thread of its own that is
 * waited for at most PROBE_MS. A probe that hangs (a dead network mount) goes on alone: it holds
 * its bucket and its share of the answer, and until it ends the bucket is reported as silent
 * without starting another. */
#include "storage/bucket_registry.h"

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROBE_MS 2000

typedef struct Probe {
    Bucket *bucket;
    bool done, ok;
    StoreAbilities can;
    int64_t latency_us, objects; /* -1: more than one page, not counted */
    char error[sizeof((Err *)0)->message];
} Probe;

typedef struct Round {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int holders; /* the asking thread and the probing ones; the last frees it */
    size_t len, waiting;
    Probe probes[];
} Round;

typedef struct ProbeTask {
    Round *round;
    Probe *probe;
    Bucket *bucket;
} ProbeTask;

static void round_release(Round **holding) {
    Round *round = *holding;
    *holding = NULL;
    pthread_mutex_lock(&round->lock);
    bool last = --round->holders == 0;
    pthread_mutex_unlock(&round->lock);
    if (!last) return;
    for (size_t i = 0; i < round->len; i++) bucket_release(&round->probes[i].bucket);
    pthread_cond_destroy(&round->changed);
    pthread_mutex_destroy(&round->lock);
    free(round);
}

static int64_t objects_count(Store *store) {
    OWNED(arena_close) Arena arena = {0};
    ListOptions options = {.limit = STORE_LIST_MAX};
    ObjectList list;
    Err ignored = {0};
    if (!store_list(store, &options, &arena, &list, &ignored) || list.next.len) return -1;
    return (int64_t)list.object_count;
}

static void *probe_run(void *context) {
    ProbeTask task = *(ProbeTask *)context;
    free(context);
    Err err = {0};
    int64_t started = clock_us(), objects = -1;
    StoreAbilities can = {0};
    bool ok = guard_look(task.bucket->guard, &err);
    int64_t latency_us = clock_us() - started;
    if (ok) objects = objects_count(guard_quiet(task.bucket->guard));
    if (ok) can = store_abilities(task.bucket->guard);
    pthread_mutex_lock(&task.round->lock);
    task.bucket->stuck = false; /* under the lock under which the asking thread may set it */
    Probe *probe = task.probe;
    probe->done = true;
    probe->ok = ok;
    probe->latency_us = latency_us;
    probe->objects = objects;
    probe->can = can;
    memcpy(probe->error, err.message, sizeof probe->error);
    task.round->waiting--;
    pthread_cond_signal(&task.round->changed);
    pthread_mutex_unlock(&task.round->lock);
    round_release(&task.round);
    return NULL;
}

static void probe_start(Round *round, Probe *probe) {
    pthread_t thread;
    if (probe->bucket->stuck) return; /* another would only hang beside it */
    ProbeTask *task = malloc(sizeof *task);
    if (!task) abort();
    *task = (ProbeTask){round, probe, probe->bucket};
    pthread_mutex_lock(&round->lock);
    round->holders++;
    round->waiting++;
    pthread_mutex_unlock(&round->lock);
    if (pthread_create(&thread, NULL, probe_run, task))
        probe_run(task); /* no thread to be had: asked here, one after the other */
    else
        pthread_detach(thread);
}

static void round_wait(Round *round) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PROBE_MS / 1000;
    pthread_mutex_lock(&round->lock);
    while (round->waiting > 0 && pthread_cond_timedwait(&round->changed, &round->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&round->lock);
}

static Round *round_new(size_t len) {
    Round *round = calloc(1, sizeof *round + len * sizeof(Probe));
    if (!round) abort();
    pthread_mutex_init(&round->lock, NULL);
    pthread_cond_init(&round->changed, NULL);
    round->holders = 1;
    return round;
}

/* A bucket that falls silent is an event once, not at every look. */
static void note_silence(const Probe *probe, Str why) {
    if (atomic_exchange(&probe->bucket->silent, !probe->ok) || probe->ok) return;
    Err err = {.kind = LH_OFFLINE};
    snprintf(err.message, sizeof err.message, "%.*s", SHOW(why));
    guard_report(probe->bucket->guard, GUARD_PROBE, (Str){0}, &err, false);
}

static void probe_write(const Probe *probe, JsonWriter *w) {
    static const char *const roles[] = {NULL, "primary", "rescue"};
    const Bucket *bucket = probe->bucket;
    Str error = probe->done ? str_from(probe->error) : STR("no answer within 2 seconds");
    jw_object(w);
    jw_member_text(w, "name", bucket_name(bucket));
    jw_member_text(w, "backend", bucket->local ? STR("local") : STR("s3"));
    jw_name(w, "role"), jw_cstr(w, roles[bucket->role]);
    jw_member_text(w, "location", bucket->location);
    if (!bucket->local) {
        jw_member_text(w, "endpoint", bucket->s3.endpoint);
        jw_member_text(w, "secret_ref", bucket->s3.secret_ref);
    }
    jw_member_flag(w, "reachable", probe->ok);
    jw_name(w, "latency_ms");
    if (probe->done)
        jw_real(w, (double)probe->latency_us / 1000);
    else
        jw_null(w);
    jw_name(w, "error");
    if (probe->ok)
        jw_null(w);
    else
        jw_text(w, error);
    jw_name(w, "objects");
    if (probe->objects >= 0 && probe->ok)
        jw_int(w, probe->objects);
    else
        jw_null(w);
    jw_name(w, "conditional_writes");
    if (probe->ok && !probe->can.unknown)
        jw_flag(w, probe->can.if_absent && probe->can.if_match);
    else
        jw_null(w);
    jw_member_text(w, "breaker", guard_is_open(bucket->guard) ? STR("open") : STR("closed"));
    jw_end(w);
    note_silence(probe, error);
}

static int probe_order(const void *a, const void *b) {
    return strcmp(((const Probe *)a)->bucket->name, ((const Probe *)b)->bucket->name);
}

static Round *round_of_all(Buckets *buckets) {
    pthread_rwlock_rdlock(&buckets->lock);
    Round *round = round_new(buckets->len);
    for (; round->len < buckets->len; round->len++)
        round->probes[round->len].bucket = bucket_hold(buckets->items[round->len]);
    pthread_rwlock_unlock(&buckets->lock);
    qsort(round->probes, round->len, sizeof *round->probes, probe_order);
    return round;
}

/* The answers as they stand now; a late probe may still write into the round behind this copy. */
static Probe *round_answers(Round *round, Arena *arena) {
    Probe *answers = arena_array(arena, Probe, round->len);
    for (size_t i = 0; i < round->len; i++) probe_start(round, &round->probes[i]);
    round_wait(round);
    pthread_mutex_lock(&round->lock);
    memcpy(answers, round->probes, round->len * sizeof *answers);
    for (size_t i = 0; i < round->len; i++)
        if (!answers[i].done) answers[i].bucket->stuck = true;
    pthread_mutex_unlock(&round->lock);
    return answers;
}

void buckets_write(Buckets *buckets, JsonWriter *w) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(round_release) Round *round = round_of_all(buckets);
    Probe *answers = round_answers(round, &arena);
    jw_array(w);
    for (size_t i = 0; i < round->len; i++) probe_write(&answers[i], w);
    jw_end(w);
}

bool bucket_write(Buckets *buckets, Str name, JsonWriter *w, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Bucket *bucket;
    if (!bucket_find(buckets, name, &bucket, err)) return false;
    OWNED(round_release) Round *round = round_new(1);
    round->probes[0].bucket = bucket;
    round->len = 1;
    probe_write(round_answers(round, &arena), w);
    return true;
}
