/* Events wait in memory and go out in batches, each batch one new object of framed JSON records:
 *
 *     _lakehouse/errors/<20 digits: unix ms of its first event>-<16 hex>.log
 *
 * so that the same code serves every backend and a batch is there as a whole or not at all. A
 * thread writes a batch every FLUSH_PERIOD_MS, or at once when BATCH_EVENTS wait. A batch that the
 * primary cannot take goes to the spool (errors_spool.h), and from there to the primary as one
 * object before the next batch. What neither takes waits up to PENDING_SIZE_MAX; what comes beyond
 * that is counted and said in the log.
 *
 * Compaction merges batches into objects of about MERGED_SIZE and then removes the batches. An
 * event has an id, so that nothing shows twice that a crash, or another server's compaction of the
 * same objects, left in two places; a batch that such a one took away meanwhile is no failure, for
 * its events are in what that one wrote.
 *
 * Locks: `lock` guards the events in memory; `writing` is held through a flush or a compaction and
 * is taken first. */
#include "storage/errors.h"

#include "base/base.h"
#include "storage/errors_health.h"
#include "storage/errors_spool.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FLUSH_PERIOD_MS 2000
#define BATCH_EVENTS 512
#define PENDING_SIZE_MAX (4u << 20)
#define MERGED_SIZE (4u << 20)
#define BATCH_SIZE_MAX (16u << 20)
#define SMALL_FILES_MAX 64 /* so many batches are merged without being asked */
#define EVENT_TEXT_MAX 4096
#define LOADED_MAX (2 * ERRORS_KEPT_MAX) /* batches of several servers overlap in time */
#define FOLDER "_lakehouse/errors/"

struct ErrorJournal {
    Store *store;
    ErrorSpool *spool; /* NULL: none; under `writing` */
    bool loaded;       /* what the primary had is in memory; under `writing` */
    pthread_mutex_t lock, writing;
    pthread_cond_t wake;
    pthread_t thread;
    bool closing;
    KeptEvent *kept[ERRORS_KEPT_MAX]; /* a ring: the newest at (next - 1) */
    size_t next, kept_count;
    Text pending; /* frames not yet in any object */
    size_t pending_count;
    int64_t pending_ms; /* of its first event */
    int64_t dropped;
    _Atomic size_t files; /* batches written or found since the last compaction */
};

/* Events in memory. */

static Str place_text(char **at, Str text) {
    Str copy = {*at, text.len};
    if (text.len) memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

static KeptEvent *event_copy(const ErrorEvent *event, uint64_t id) {
    Str error = str_slice(event->error, 0, EVENT_TEXT_MAX);
    Str key = str_slice(event->key, 0, EVENT_TEXT_MAX);
    Str op = str_from(event->op);
    KeptEvent *copy = malloc(sizeof *copy + event->bucket.len + key.len + error.len + op.len);
    if (!copy) abort();
    char *at = copy->text;
    copy->at_ms = event->at_ms;
    copy->id = id;
    copy->rescued = event->rescued;
    copy->bucket = place_text(&at, event->bucket);
    copy->key = place_text(&at, key);
    copy->error = place_text(&at, error);
    copy->op = place_text(&at, op);
    return copy;
}

static void event_frame(Text *out, const KeptEvent *event) {
    OWNED(text_close) Text json = {0};
    JsonWriter w = {.out = &json};
    jw_object(&w);
    jw_name(&w, "id"), jw_uint(&w, event->id);
    jw_member_int(&w, "at_ms", event->at_ms);
    jw_member_text(&w, "bucket", event->bucket);
    jw_member_text(&w, "op", event->op);
    jw_member_text(&w, "key", event->key);
    jw_member_text(&w, "error", event->error);
    jw_member_flag(&w, "rescued", event->rescued);
    jw_end(&w);
    frame_add(out, text_bytes(&json));
}

static KeptEvent *event_read(Bytes payload, Arena *arena) {
    const Json *json, *id;
    Err err = {0};
    if (!json_read(str_of(payload), arena, &json, &err)) return NULL;
    id = json_get(json, "id");
    ErrorEvent event = {.at_ms = json_get_int(json, "at_ms", 0),
                        .bucket = json_get_text(json, "bucket", (Str){0}),
                        .key = json_get_text(json, "key", (Str){0}),
                        .error = json_get_text(json, "error", (Str){0}),
                        .op = arena_cstr(arena, json_get_text(json, "op", (Str){0})),
                        .rescued = json_get_flag(json, "rescued", false)};
    bool number = id && (id->kind == JSON_INT || id->kind == JSON_UINT);
    return event_copy(&event, number ? id->natural : 0);
}

static void keep(ErrorJournal *journal, KeptEvent *event) { /* under the lock */
    free(journal->kept[journal->next]);
    journal->kept[journal->next] = event;
    journal->next = (journal->next + 1) % ERRORS_KEPT_MAX;
    journal->kept_count = MIN(journal->kept_count + 1, (size_t)ERRORS_KEPT_MAX);
}

static const KeptEvent *newest(const ErrorJournal *journal, size_t i) {
    return journal->kept[(journal->next + ERRORS_KEPT_MAX - 1 - i) % ERRORS_KEPT_MAX];
}

void errors_add(ErrorJournal *journal, const ErrorEvent *event) {
    /* Unique over servers by its low half, in order within one by its high half. */
    static _Atomic uint32_t count;
    KeptEvent *copy = event_copy(event, random_u64() >> 32);
    if (copy->at_ms == 0) copy->at_ms = clock_now_ms();
    pthread_mutex_lock(&journal->lock);
    copy->id |= (uint64_t)count++ << 32;
    if (journal->pending.len < PENDING_SIZE_MAX) {
        if (journal->pending_count++ == 0) journal->pending_ms = copy->at_ms;
        event_frame(&journal->pending, copy);
    } else {
        journal->dropped++;
    }
    keep(journal, copy);
    if (journal->pending_count >= BATCH_EVENTS) pthread_cond_signal(&journal->wake);
    pthread_mutex_unlock(&journal->lock);
}

/* Batches as objects. */

static Str file_key(Arena *arena, int64_t at_ms) {
    return arena_print(arena, FOLDER "%020lld-%016llx.log", (long long)MAX(at_ms, 0),
                       (unsigned long long)random_u64());
}

/* What could not be written goes back in front of what came meanwhile. */
static void pending_restore(ErrorJournal *journal, Text *batch, size_t count, int64_t at_ms) {
    pthread_mutex_lock(&journal->lock);
    text_add(batch, text_str(&journal->pending));
    text_close(&journal->pending);
    journal->pending = *batch;
    *batch = (Text){0};
    journal->pending_count += count;
    journal->pending_ms = at_ms;
    pthread_mutex_unlock(&journal->lock);
}

/* The spool as one object. Its name follows from what is in it, so that a crash before the spool is
 * empty again writes the same object once more. */
static bool spool_drain(ErrorJournal *journal, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text frames = {0};
    if (!journal->spool || error_spool_size(journal->spool) == 0) return true;
    if (!error_spool_read(journal->spool, &frames, err)) return false;
    Bytes rest = text_bytes(&frames), payload;
    KeptEvent *first =
        frame_next(&rest, &payload) == FRAME_RECORD ? event_read(payload, &arena) : NULL;
    Str key = arena_print(&arena, FOLDER "%020lld-%016llx.log",
                          (long long)MAX(first ? first->at_ms : 0, 0),
                          (unsigned long long)hash64(text_bytes(&frames)));
    free(first);
    if (!store_write(journal->store, key, text_bytes(&frames), NULL, err)) return false;
    journal->files++;
    return error_spool_clear(journal->spool, err);
}

/* To the primary, else to the spool. */
static bool batch_write(ErrorJournal *journal, const Text *batch, int64_t at_ms, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Err full = {0};
    bool drained = spool_drain(journal, err);
    if (batch->len == 0) return true; /* what is in the spool is durable there */
    if (drained &&
        store_write(journal->store, file_key(&arena, at_ms), text_bytes(batch), NULL, err)) {
        journal->files++;
        return true;
    }
    if (!journal->spool) return err_while(err, "writing the error journal");
    if (error_spool_add(journal->spool, text_bytes(batch), &full)) return true;
    return err_set(err, full.kind, "writing the error journal: %s; and its spool: %s",
                   arena_cstr(&arena, str_slice(str_from(err->message), 0, 200)), full.message);
}

static bool flush_writing(ErrorJournal *journal, Err *err) {
    pthread_mutex_lock(&journal->lock);
    OWNED(text_close) Text batch = journal->pending;
    size_t count = journal->pending_count;
    int64_t at_ms = journal->pending_ms, dropped = journal->dropped;
    journal->pending = (Text){0};
    journal->pending_count = 0;
    journal->dropped = 0;
    pthread_mutex_unlock(&journal->lock);
    if (dropped)
        log_warn("the error journal dropped %lld events while it could not be written",
                 (long long)dropped);
    if (batch_write(journal, &batch, at_ms, err)) return true;
    if (batch.len) pending_restore(journal, &batch, count, at_ms);
    return false;
}

bool errors_flush(ErrorJournal *journal, Err *err) {
    pthread_mutex_lock(&journal->writing);
    bool ok = flush_writing(journal, err);
    pthread_mutex_unlock(&journal->writing);
    return ok;
}

typedef struct Files {
    ObjectEntry *items;
    size_t len, cap;
} Files;

static bool files_list(ErrorJournal *journal, Arena *arena, Files *out, Err *err) {
    ListOptions options = {.prefix = STR(FOLDER), .limit = STORE_LIST_MAX};
    Files files = {0};
    ObjectList list;
    do {
        if (!store_list(journal->store, &options, arena, &list, err)) return false;
        if (files.len + list.object_count > files.cap) {
            ObjectEntry *grown = arena_array(arena, ObjectEntry, files.cap * 2 + STORE_LIST_MAX);
            if (files.len) memcpy(grown, files.items, files.len * sizeof *grown);
            files = (Files){grown, files.len, files.cap * 2 + STORE_LIST_MAX};
        }
        for (size_t i = 0; i < list.object_count; i++) files.items[files.len++] = list.objects[i];
        options.after = list.next;
    } while (list.next.len);
    *out = files;
    return true;
}

typedef struct Events {
    KeptEvent **items;
    size_t len, cap;
} Events;

static void events_close(Events *events) {
    for (size_t i = 0; i < events->len; i++) free(events->items[i]);
    free(events->items);
    *events = (Events){0};
}

static void events_add(Events *events, KeptEvent *event) {
    if (events->len == events->cap) {
        events->cap = MAX(events->cap * 2, 256);
        events->items = realloc(events->items, events->cap * sizeof *events->items);
        if (!events->items) abort();
    }
    events->items[events->len++] = event;
}

static int event_compare(const void *a, const void *b) {
    const KeptEvent *x = *(KeptEvent *const *)a, *y = *(KeptEvent *const *)b;
    if (x->at_ms != y->at_ms) return x->at_ms < y->at_ms ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* In order of time, each once. */
static void events_order(Events *events) {
    size_t kept = 0;
    if (events->len == 0) return;
    qsort(events->items, events->len, sizeof *events->items, event_compare);
    for (size_t i = 0; i < events->len; i++) {
        if (kept && event_compare(&events->items[kept - 1], &events->items[i]) == 0)
            free(events->items[i]);
        else
            events->items[kept++] = events->items[i];
    }
    events->len = kept;
}

static bool events_read(ErrorJournal *journal, Str key, Events *events, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Bytes data, payload;
    FrameResult result;
    if (!store_read(journal->store, key, BATCH_SIZE_MAX, &arena, &data, err)) return false;
    while ((result = frame_next(&data, &payload)) == FRAME_RECORD) {
        KeptEvent *event = event_read(payload, &arena);
        if (!event)
            return err_set(err, LH_CORRUPT, "'%.*s' holds a record that is no event", SHOW(key));
        events_add(events, event);
    }
    return result == FRAME_END ||
           err_set(err, LH_CORRUPT, "'%.*s' ends in a torn record", SHOW(key));
}

/* Compaction. */

typedef struct Merge {
    ErrorJournal *journal;
    Events events;
    Str *sources; /* keys that were read */
    size_t source_count;
    uint64_t size;
    int64_t events_total, files_after, bytes_after;
} Merge;

static void merge_close(Merge *merge) {
    events_close(&merge->events);
}

static bool merge_replace(Merge *merge, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text merged = {0};
    for (size_t i = 0; i < merge->events.len; i++) event_frame(&merged, merge->events.items[i]);
    int64_t at_ms = merge->events.len ? merge->events.items[0]->at_ms : 0;
    if (merged.len && !store_write(merge->journal->store, file_key(&arena, at_ms),
                                   text_bytes(&merged), NULL, err))
        return false;
    for (size_t i = 0; i < merge->source_count; i++)
        if (!store_remove(merge->journal->store, merge->sources[i], err)) return false;
    merge->files_after += merged.len > 0;
    merge->bytes_after += (int64_t)merged.len;
    return true;
}

/* Ends one group of sources: merged into one object, or left as it is when it is one already. */
static bool merge_group(Merge *merge, Err *err) {
    if (merge->source_count == 0) return true;
    events_order(&merge->events);
    merge->events_total += (int64_t)merge->events.len;
    if (merge->source_count == 1) {
        merge->files_after++;
        merge->bytes_after += (int64_t)merge->size;
    } else if (!merge_replace(merge, err)) {
        return false;
    }
    events_close(&merge->events);
    merge->source_count = 0;
    merge->size = 0;
    return true;
}

static bool merge_all(Merge *merge, const Files *files, Arena *arena, Err *err) {
    merge->sources = arena_array(arena, Str, files->len + 1);
    for (size_t i = 0; i < files->len; i++) {
        const ObjectEntry *file = &files->items[i];
        if (merge->size + file->info.size > MERGED_SIZE && !merge_group(merge, err)) return false;
        if (!events_read(merge->journal, file->key, &merge->events, err)) {
            if (err->kind != LH_MISSING && err->kind != LH_CORRUPT) return false;
            /* Of a vanished one another server's compaction has the events; one that is damaged
             * stays as it is. */
            merge->files_after += err->kind == LH_CORRUPT;
            *err = (Err){0};
            continue;
        }
        merge->size += file->info.size;
        merge->sources[merge->source_count++] = file->key;
    }
    return merge_group(merge, err);
}

static bool compact_writing(ErrorJournal *journal, JsonWriter *w, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(merge_close) Merge merge = {.journal = journal};
    Files files;
    int64_t bytes_before = 0;
    if (!flush_writing(journal, err) || !files_list(journal, &arena, &files, err)) return false;
    for (size_t i = 0; i < files.len; i++) bytes_before += (int64_t)files.items[i].info.size;
    if (!merge_all(&merge, &files, &arena, err))
        return err_while(err, "compacting the error journal");
    journal->files = 0;
    if (!w) return true;
    jw_object(w);
    jw_member_int(w, "files_before", (int64_t)files.len);
    jw_member_int(w, "files_after", merge.files_after);
    jw_member_int(w, "events", merge.events_total);
    jw_member_int(w, "bytes_before", bytes_before);
    jw_member_int(w, "bytes_after", merge.bytes_after);
    jw_end(w);
    return true;
}

bool errors_compact(ErrorJournal *journal, JsonWriter *w, Err *err) {
    pthread_mutex_lock(&journal->writing);
    bool ok = compact_writing(journal, w, err);
    pthread_mutex_unlock(&journal->writing);
    return ok;
}

/* Answers. */

static void event_write(const KeptEvent *event, JsonWriter *w) {
    jw_object(w);
    jw_member_time(w, "ts", event->at_ms);
    jw_member_text(w, "bucket", event->bucket);
    jw_member_text(w, "op", event->op);
    jw_member_text(w, "key", event->key);
    jw_member_text(w, "error", event->error);
    jw_member_flag(w, "rescued", event->rescued);
    jw_end(w);
}

bool errors_write(ErrorJournal *journal, Str bucket, int64_t since_ms, size_t limit, JsonWriter *w,
                  Err *err) {
    if (limit < 1 || limit > ERRORS_KEPT_MAX)
        return err_set(err, LH_INVALID, "limit is 1 to %d, not %zu", ERRORS_KEPT_MAX, limit);
    jw_array(w);
    pthread_mutex_lock(&journal->lock);
    for (size_t i = 0; i < journal->kept_count && limit > 0; i++) {
        const KeptEvent *event = newest(journal, i);
        if (bucket.len && !str_equal(event->bucket, bucket)) continue;
        if (event->at_ms < since_ms) continue;
        event_write(event, w);
        limit--;
    }
    pthread_mutex_unlock(&journal->lock);
    jw_end(w);
    return true;
}

bool errors_health(ErrorJournal *journal, const HealthOf *buckets, size_t count, int64_t minutes,
                   JsonWriter *w, Err *err) {
    if (minutes < 1 || minutes > HEALTH_MINUTES_MAX)
        return err_set(err, LH_INVALID, "minutes is 1 to %d, not %lld", HEALTH_MINUTES_MAX,
                       (long long)minutes);
    OWNED(arena_close) Arena arena = {0};
    BucketHealth *health = arena_array(&arena, BucketHealth, count + 1);
    int64_t since_ms = clock_now_ms() - minutes * 60000;
    for (size_t i = 0; i < count; i++) {
        health[i].bucket = buckets[i].bucket;
        health[i].out_of_reach = buckets[i].out_of_reach;
    }
    pthread_mutex_lock(&journal->lock);
    for (size_t i = 0; i < journal->kept_count; i++)
        if (newest(journal, i)->at_ms >= since_ms)
            health_add(health, count, newest(journal, i), &arena);
    pthread_mutex_unlock(&journal->lock);
    health_write(health, count, minutes, w);
    return true;
}

/* The thread, opening, closing. */

static bool wait_for_work(ErrorJournal *journal) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += FLUSH_PERIOD_MS / 1000;
    pthread_mutex_lock(&journal->lock);
    if (!journal->closing && journal->pending_count < BATCH_EVENTS)
        pthread_cond_timedwait(&journal->wake, &journal->lock, &until);
    bool go_on = !journal->closing;
    pthread_mutex_unlock(&journal->lock);
    return go_on;
}

/* What was kept and what is read become one ring, in order of time, each event once. */
static void ring_merge(ErrorJournal *journal, Events *events) {
    pthread_mutex_lock(&journal->lock);
    for (size_t i = 0; i < ERRORS_KEPT_MAX; i++) {
        if (journal->kept[i]) events_add(events, journal->kept[i]);
        journal->kept[i] = NULL;
    }
    journal->next = journal->kept_count = 0;
    events_order(events);
    for (size_t i = 0; i < events->len; i++) keep(journal, events->items[i]);
    events->len = 0; /* the ring has them now */
    pthread_mutex_unlock(&journal->lock);
}

/* The newest batches, as far as memory keeps their events. A batch that is gone was merged by
 * another server meanwhile: the caller looks again. */
static bool errors_load(ErrorJournal *journal, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(events_close) Events events = {0};
    Files files = {0};
    if (!files_list(journal, &arena, &files, err)) return false;
    for (size_t i = files.len; i-- > 0 && events.len < LOADED_MAX;) {
        if (events_read(journal, files.items[i].key, &events, err)) continue;
        if (err->kind != LH_CORRUPT) return false;
        log_warn("the error journal: %s", err->message);
    }
    ring_merge(journal, &events);
    journal->files = files.len;
    journal->loaded = true;
    return true;
}

static bool work(ErrorJournal *journal, Err *err) {
    pthread_mutex_lock(&journal->writing);
    bool loaded = journal->loaded || errors_load(journal, err);
    bool ok = flush_writing(journal, err) && loaded;
    pthread_mutex_unlock(&journal->writing);
    if (ok && journal->files > SMALL_FILES_MAX) ok = errors_compact(journal, NULL, err);
    return ok;
}

static void *flush_loop(void *context) {
    ErrorJournal *journal = context;
    bool failed = false;
    while (wait_for_work(journal)) {
        Err err = {0};
        bool ok = work(journal, &err);
        if (!ok && !failed) log_warn("%s", err.message); /* once an outage */
        if (!ok) /* a full batch must not turn this into a busy loop */
            nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
        failed = !ok;
    }
    return NULL;
}

static void spool_visit(void *context, Bytes payload) {
    OWNED(arena_close) Arena arena = {0};
    KeptEvent *event = event_read(payload, &arena);
    if (event) keep(context, event);
}

void errors_open(const ErrorsOptions *options, ErrorJournal **out) {
    ErrorJournal *journal = calloc(1, sizeof *journal);
    Err err = {0};
    if (!journal) abort();
    journal->store = options->store;
    pthread_mutex_init(&journal->lock, NULL);
    pthread_mutex_init(&journal->writing, NULL);
    pthread_cond_init(&journal->wake, NULL);
    if (options->spool_path &&
        !error_spool_open(options->spool_path, spool_visit, journal, &journal->spool, &err))
        log_warn("the error journal has no spool: %s", err.message);
    if (!errors_load(journal, &err)) log_warn("the error journal cannot be read: %s", err.message);
    if (pthread_create(&journal->thread, NULL, flush_loop, journal)) abort();
    *out = journal;
}

void errors_close(ErrorJournal **closing) {
    ErrorJournal *journal = *closing;
    Err err = {0};
    if (!journal) return;
    pthread_mutex_lock(&journal->lock);
    journal->closing = true;
    pthread_cond_signal(&journal->wake);
    pthread_mutex_unlock(&journal->lock);
    pthread_join(journal->thread, NULL);
    if (!errors_flush(journal, &err)) log_warn("%s", err.message);
    for (size_t i = 0; i < ERRORS_KEPT_MAX; i++) free(journal->kept[i]);
    text_close(&journal->pending);
    error_spool_close(&journal->spool);
    pthread_cond_destroy(&journal->wake);
    pthread_mutex_destroy(&journal->writing);
    pthread_mutex_destroy(&journal->lock);
    free(journal);
    *closing = NULL;
}
