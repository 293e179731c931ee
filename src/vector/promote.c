/* Champions: which configuration an index is searched with. meta.json says it, and is swapped under
 * the condition that nobody changed it meanwhile; promotions.log keeps what was before, one record
 * for each state that was in force or about to be. The first promotion also records the state that
 * the index was created in, so that a rollback has somewhere to go. */
#include "vector/index_lance.h"
#include "vector/trial.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

typedef struct Promotion {
    int64_t number, trial, back; /* back: the state that a rollback returns to; 0: none */
    IndexConfig config;
    double recall, p50_us;
    Str by;
    int64_t at_ms;
} Promotion;

static void member_if_finite(JsonWriter *w, const char *name, double value) {
    jw_name(w, name);
    if (isfinite(value))
        jw_real(w, value);
    else
        jw_null(w);
}

static void promotion_members(Str backend, const Promotion *p, JsonWriter *w) {
    jw_member_int(w, "promotion", p->number);
    jw_name(w, "trial");
    if (p->trial)
        jw_int(w, p->trial);
    else
        jw_null(w);
    jw_name(w, "config");
    config_write(backend, &p->config, w);
    member_if_finite(w, "recall", p->recall);
    member_if_finite(w, "p50_us", p->p50_us);
    jw_member_text(w, "by", p->by);
    jw_member_int(w, "back", p->back);
    jw_member_time(w, "at", p->at_ms);
}

static double real(const Json *json, const char *name) {
    double value;
    const Json *number = json_get(json, name);
    return number && json_number(number, &value) ? value : NAN;
}

static bool promotion_read(Str backend, Bytes record, Arena *arena, Promotion *out, Err *err) {
    const Json *json;
    if (!json_read(str_of(record), arena, &json, err)) return false;
    *out = (Promotion){.number = json_get_int(json, "promotion", 0),
                       .trial = json_get_int(json, "trial", 0),
                       .back = json_get_int(json, "back", 0),
                       .recall = real(json, "recall"),
                       .p50_us = real(json, "p50_us"),
                       .by = json_get_text(json, "by", (Str){0})};
    clock_read(json_get_text(json, "at", (Str){0}), &out->at_ms);
    return config_read(backend, json_get(json, "config"), &out->config, err);
}

typedef struct History {
    Promotion *items;
    size_t count;
} History;

static Str promotions_key(Str index, Arena *arena) {
    return meta_key(index, "promotions.log", arena);
}

/* What a kill during a migration left of the other backend's is passed over. */
static void history_of(Str backend, const LogRecords *records, Arena *arena, History *out) {
    Err why;
    *out = (History){.items = arena_array(arena, Promotion, records->count + 1)};
    for (size_t i = 0; i < records->count; i++)
        if (promotion_read(backend, records->items[i], arena, &out->items[out->count], &why))
            out->count++;
        else
            log_warn("promotion %zu: %s", i + 1, why.message);
}

static const Promotion *promotion_of(const History *history, int64_t number) {
    for (size_t i = 0; i < history->count; i++)
        if (history->items[i].number == number) return &history->items[i];
    return NULL;
}

/* ---- Changing ---- */

typedef struct Change {
    Indexes *indexes;
    IndexEntry *entry;
    Bucket *bucket;
    Arena arena;
    Job *job;
    Str held;       /* the index's name, once it is */
    IndexMeta meta; /* as it will be */
    Promotion next;
    char staged[PATH_MAX]; /* the new build's file, until it is adopted */
} Change;

static void change_close(Change *change) {
    if (change->staged[0]) unlink(change->staged);
    if (change->held.len) indexes_unreserve(change->indexes, change->held);
    bucket_release(&change->bucket);
    index_entry_release(&change->entry);
    arena_close(&change->arena);
}

static bool change_open(Change *change, Str index, Err *err) {
    if (!indexes_find(change->indexes, index, &change->entry, err)) return false;
    index_entry_release(&change->entry); /* what is found before it is held may be gone */
    if (!indexes_hold(change->indexes, index, err)) return false;
    change->held = arena_copy(&change->arena, index);
    return indexes_follow(change->indexes, index, err) &&
           indexes_find(change->indexes, index, &change->entry, err) &&
           bucket_find(change->indexes->buckets, change->entry->meta.bucket, &change->bucket, err);
}

/* Another graph over the same rows, under a new name; the old file stays until nobody reads it. */
static bool make_build(Change *change, Err *err) {
    ObjectInfo info;
    char build[UUID_SIZE];
    MeasureWatch watch = job_watch(change->job);
    Index *index = change->entry->index;
    if (config_same_build(change->meta.vector_backend, &change->entry->meta.config,
                          &change->next.config))
        return true;
    IndexRewrite rewrite = {.config = &change->next.config,
                            .path = change->staged,
                            .cancelled = watch.cancelled,
                            .context = watch.context};
    int64_t started = clock_us();
    if (index->ops->commit) {
        uint64_t version;
        if (!index->ops->commit(index, &rewrite, &version, err)) return false;
        change->meta.build = arena_print(&change->arena, "%llu", (unsigned long long)version);
        change->meta.build_ms = (clock_us() - started) / 1000;
        return true;
    }
    if (!store_staging(bucket_store(change->bucket), change->staged, err) ||
        !index->ops->rewrite(index, &rewrite, err))
        return false;
    random_uuid(build);
    change->meta.build = arena_copy(&change->arena, str_from(build));
    change->meta.build_ms = (clock_us() - started) / 1000;
    Str key = meta_build_key(&change->meta, &change->arena);
    if (!store_adopt(bucket_store(change->bucket), change->staged, key, NULL, &info, err))
        return false;
    change->staged[0] = 0;
    return true;
}

/* The state that is in force, as a record, when no promotion made it so. */
static Promotion created(const IndexMeta *meta) {
    return (Promotion){.number = 1,
                       .config = meta->config,
                       .recall = NAN,
                       .p50_us = NAN,
                       .by = STR("created"),
                       .at_ms = meta->created_ms};
}

typedef struct Recording {
    Str backend;
    Promotion *promotion; /* its number is given here */
} Recording;

static bool write_record(void *context, const LogRecords *before, Text *payload, Err *err) {
    const Recording *recording = context;
    JsonWriter w = {.out = payload};
    (void)err;
    recording->promotion->number = (int64_t)before->count + 1;
    jw_object(&w);
    promotion_members(recording->backend, recording->promotion, &w);
    jw_end(&w);
    return true;
}

static bool append_one(Change *change, Promotion *promotion, Err *err) {
    Recording recording = {change->meta.vector_backend, promotion};
    return log_append(bucket_store(change->bucket),
                      promotions_key(change->meta.index, &change->arena), write_record, &recording,
                      err);
}

/* Records that are there already are of states that never came into force, or of another backend.
 */
static bool append(Change *change, Err *err) {
    Promotion first = created(&change->entry->meta);
    if (change->meta.promotion == 0) {
        if (!append_one(change, &first, err)) return false;
        change->next.back = first.number;
    }
    return append_one(change, &change->next, err);
}

static bool put_in_force(Change *change, Err *err) {
    Err ignored;
    const IndexMeta *old = &change->entry->meta;
    bool rebuilt = !str_equal(old->build, change->meta.build);
    change->meta.config = change->next.config;
    change->meta.updated_ms = clock_now_ms();
    if (!append(change, err)) return false;
    change->meta.promotion = change->next.number;
    if (!index_swap_meta(bucket_store(change->bucket), old, &change->meta, err)) return false;
    if (!indexes_publish(change->indexes, index_entry_open(change->indexes, &change->meta), true,
                         err))
        return false;
    if (rebuilt && change->entry->index->ops->commit)
        lance_docs_tidy(bucket_store(change->bucket), meta_lance_key(old, &change->arena));
    else if (rebuilt)
        store_remove(bucket_store(change->bucket), meta_build_key(old, &change->arena), &ignored);
    return true;
}

static bool change_run(Change *change, Text *result, Err *err) {
    JsonWriter w = {.out = result};
    change->next.at_ms = clock_now_ms();
    change->next.back = change->next.back ? change->next.back : change->meta.promotion;
    if (!make_build(change, err) || !put_in_force(change, err)) return false;
    jw_object(&w);
    jw_member_text(&w, "index", change->meta.index);
    promotion_members(change->meta.vector_backend, &change->next, &w);
    jw_end(&w);
    return true;
}

bool index_promote(Indexes *indexes, Str index, int64_t number, Str by, Job *job, Text *result,
                   Err *err) {
    OWNED(change_close) Change change = {.indexes = indexes, .job = job};
    Trial *trials;
    size_t count, i = 0;
    if (!change_open(&change, index, err) ||
        !trials_load(indexes, change.entry, &change.arena, &trials, &count, err))
        return false;
    while (i < count && trials[i].number != number) i++;
    if (i == count)
        return err_code(err, LH_MISSING, "trial_not_found", "index '%.*s' has no trial %lld",
                        SHOW(index), (long long)number);
    if (!isfinite(trials[i].measured.recall))
        return err_code(err, LH_IMPOSSIBLE, "recall_unknown",
                        "trial %lld has no measured recall: nothing speaks for it",
                        (long long)number);
    change.meta = meta_copy(&change.entry->meta, &change.arena);
    change.next = (Promotion){.trial = number,
                              .config = trials[i].config,
                              .recall = trials[i].measured.recall,
                              .p50_us = trials[i].measured.p50_us,
                              .by = by};
    return change_run(&change, result, err);
}

bool index_rollback(Indexes *indexes, Str index, Job *job, Text *result, Err *err) {
    OWNED(change_close) Change change = {.indexes = indexes, .job = job};
    LogRecords records;
    History history;
    if (!change_open(&change, index, err)) return false;
    change.meta = meta_copy(&change.entry->meta, &change.arena);
    if (!log_read(bucket_store(change.bucket), promotions_key(index, &change.arena), &change.arena,
                  &records, err))
        return false;
    history_of(change.meta.vector_backend, &records, &change.arena, &history);
    const Promotion *now = promotion_of(&history, change.meta.promotion);
    const Promotion *back = now ? promotion_of(&history, now->back) : NULL;
    if (!back)
        return err_code(err, LH_CONFLICT, "nothing_before",
                        "index '%.*s' has no earlier champion to go back to", SHOW(index));
    change.next = *back;
    change.next.by = STR("rollback");
    /* So that the next rollback goes on from there. */
    change.next.back = back->back ? back->back : -1;
    return change_run(&change, result, err);
}

/* ---- Reading ---- */

static bool load_history(Indexes *indexes, const IndexEntry *entry, Arena *arena, History *out,
                         Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    LogRecords records;
    if (!bucket_find(indexes->buckets, entry->meta.bucket, &bucket, err) ||
        !log_read(bucket_store(bucket), promotions_key(entry->meta.index, arena), arena, &records,
                  err))
        return false;
    history_of(entry->meta.vector_backend, &records, arena, out);
    return true;
}

static void write_champion(const IndexEntry *entry, const History *history, JsonWriter *w) {
    const Promotion first = created(&entry->meta);
    const Promotion *now = promotion_of(history, entry->meta.promotion);
    promotion_members(entry->meta.vector_backend, now ? now : &first, w);
}

static void write_head(const IndexEntry *entry, JsonWriter *w) {
    jw_member_text(w, "index", entry->meta.index);
    jw_member_text(w, "bucket", entry->meta.bucket);
    jw_member_text(w, "backend", entry->meta.vector_backend);
}

bool index_promotions_write(Indexes *indexes, Str index, Text *result, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    OWNED(arena_close) Arena arena = {0};
    History history;
    JsonWriter w = {.out = result};
    if (!indexes_find_any(indexes, index, &entry, err) ||
        !load_history(indexes, entry, &arena, &history, err))
        return false;
    jw_object(&w);
    write_head(entry, &w);
    jw_name(&w, "champion"), jw_object(&w);
    write_champion(entry, &history, &w);
    jw_end(&w);
    jw_name(&w, "history"), jw_array(&w);
    for (size_t i = 0; i < history.count; i++) {
        jw_object(&w);
        promotion_members(entry->meta.vector_backend, &history.items[i], &w);
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    return true;
}

bool promotions_write(Indexes *indexes, Text *result, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    JsonWriter w = {.out = result};
    size_t count;
    IndexEntry **all = indexes_hold_admitted(indexes, &arena, &count);
    (void)err;
    jw_array(&w);
    for (size_t i = 0; i < count; i++) {
        History history = {0};
        Err why = {0}; /* a bucket that is down does not hide the others */
        bool ok = load_history(indexes, all[i], &arena, &history, &why);
        jw_object(&w);
        write_head(all[i], &w);
        write_champion(all[i], &history, &w);
        jw_name(&w, "error");
        jw_cstr(&w, ok ? NULL : why.message);
        jw_end(&w);
        index_entry_release(&all[i]);
    }
    jw_end(&w);
    return true;
}
