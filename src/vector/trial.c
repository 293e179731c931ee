#include "vector/trial.h"

#include <math.h>
#include <stdlib.h>

Str trials_key(Str index, Arena *arena) {
    return meta_key(index, "trials.log", arena);
}

void trial_write(Str backend, const Trial *trial, JsonWriter *w) {
    jw_object(w);
    jw_member_int(w, "trial", trial->number);
    jw_name(w, "config");
    config_write(backend, &trial->config, w);
    jw_member_text(w, "eval", trial->eval);
    jw_member_text(w, "rows", trial->rows);
    jw_member_int(w, "k", trial->k);
    jw_member_real(w, "recall", trial->measured.recall);
    jw_member_tenths(w, "p50_us", trial->measured.p50_us);
    jw_member_tenths(w, "p99_us", trial->measured.p99_us);
    jw_member_tenths(w, "qps", trial->measured.qps);
    jw_member_tenths(w, "build_ms", trial->build_ms);
    jw_member_int(w, "memory_bytes", trial->memory_bytes);
    jw_member_time(w, "at", trial->at_ms);
    jw_end(w);
}

static double real(const Json *json, const char *name) {
    double value = NAN;
    const Json *number = json_get(json, name);
    return number && json_number(number, &value) ? value : NAN;
}

bool trial_read(Str backend, Bytes record, Trial *out, Arena *arena, Err *err) {
    const Json *json;
    if (!json_read(str_of(record), arena, &json, err)) return false;
    *out = (Trial){.number = json_get_int(json, "trial", 0),
                   .eval = json_get_text(json, "eval", (Str){0}),
                   .rows = json_get_text(json, "rows", (Str){0}),
                   .k = json_get_int(json, "k", 0),
                   .measured.recall = real(json, "recall"),
                   .measured.p50_us = real(json, "p50_us"),
                   .measured.p99_us = real(json, "p99_us"),
                   .measured.qps = real(json, "qps"),
                   .build_ms = real(json, "build_ms"),
                   .memory_bytes = json_get_int(json, "memory_bytes", 0)};
    clock_read(json_get_text(json, "at", (Str){0}), &out->at_ms);
    return config_read(backend, json_get(json, "config"), &out->config, err);
}

bool trials_load(Indexes *indexes, const IndexEntry *entry, Arena *arena, Trial **out,
                 size_t *count, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    LogRecords records;
    Err why;
    *count = 0;
    if (!bucket_find(indexes->buckets, entry->meta.bucket, &bucket, err) ||
        !log_read(bucket_store(bucket), trials_key(entry->meta.index, arena), arena, &records, err))
        return false;
    *out = arena_array(arena, Trial, records.count + 1);
    for (size_t i = 0; i < records.count; i++) {
        if (trial_read(entry->meta.vector_backend, records.items[i], &(*out)[*count], arena, &why))
            ++*count;
        else
            log_warn("index '%.*s', trial %zu: %s", SHOW(entry->meta.index), i + 1, why.message);
    }
    return true;
}

/* ---- Running ---- */

typedef struct Running {
    Indexes *indexes;
    const TrialRun *run;
    IndexEntry *entry;
    Bucket *bucket;
    Arena arena;
    EvalSet eval;
    Index *variant; /* of `built`, where that is not the champion's build */
    IndexConfig built;
    double build_ms;
} Running;

static void running_close(Running *r) {
    index_close(&r->variant);
    bucket_release(&r->bucket);
    index_entry_release(&r->entry);
    arena_close(&r->arena);
}

/* The same rows by another build, in a file without a name. */
static bool build_variant(Running *r, const IndexConfig *config, Err *err) {
    char path[PATH_MAX];
    Str backend = r->entry->meta.vector_backend;
    if (r->variant && config_same_build(backend, config, &r->built)) return true;
    index_close(&r->variant);
    int64_t started = clock_us();
    if (!store_staging(bucket_store(r->bucket), path, err)) return false;
    IndexRewrite rewrite = {.config = config,
                            .path = path,
                            .cancelled = r->run->watch.cancelled,
                            .context = r->run->watch.context};
    Index *base = r->entry->index;
    bool ok = base->ops->variant(base, &rewrite, &r->variant, err);
    r->built = *config;
    r->build_ms = (double)(clock_us() - started) / 1000;
    return ok;
}

typedef struct Numbering {
    Str backend;
    Trial *trial;
} Numbering;

static bool number_record(void *context, const LogRecords *before, Text *payload, Err *err) {
    Numbering *numbering = context;
    (void)err;
    numbering->trial->number = (int64_t)before->count + 1;
    trial_write(numbering->backend, numbering->trial, &(JsonWriter){.out = payload});
    return true;
}

/* In the bucket where the index is by now. */
static bool append_trial(Running *r, Trial *trial, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    Str index = r->entry->meta.index;
    Numbering numbering = {r->entry->meta.vector_backend, trial};
    if (!index_place(r->indexes, index, &bucket, err)) return false;
    bool ok = log_append(bucket_store(bucket), trials_key(index, &r->arena), number_record,
                         &numbering, err);
    index_place_end(r->indexes);
    return ok;
}

static bool run_one(Running *r, const IndexConfig *config, Err *err) {
    const IndexMeta *meta = &r->entry->meta;
    Trial trial = {.config = *config,
                   .eval = r->run->eval,
                   .rows = index_rows(r->entry),
                   .k = r->run->k,
                   .build_ms = (double)meta->build_ms};
    Index *index = r->entry->index;
    if (!config_same_build(meta->vector_backend, config, &meta->config)) {
        if (!build_variant(r, config, err)) return false;
        index = r->variant;
        trial.build_ms = r->build_ms;
    }
    if (!measure(index, metric_of(meta->metric), &r->eval, config, (size_t)trial.k, &r->run->watch,
                 &trial.measured, err))
        return false;
    trial.memory_bytes = index->ops->memory_bytes(index);
    trial.at_ms = clock_now_ms();
    if (!append_trial(r, &trial, err)) return false;
    if (r->run->done) r->run->done(r->run->context, &trial);
    return true;
}

bool trials_run(Indexes *indexes, const TrialRun *run, Err *err) {
    OWNED(running_close) Running r = {.indexes = indexes, .run = run};
    if (!indexes_find(indexes, run->index, &r.entry, err) ||
        !bucket_find(indexes->buckets, r.entry->meta.bucket, &r.bucket, err) ||
        !eval_load(indexes, r.entry, run->eval, &r.arena, &r.eval, err))
        return false;
    for (size_t i = 0; i < run->count; i++)
        if (!run_one(&r, &run->configs[i], err)) return false;
    return true;
}

/* ---- Routes ---- */

const Option trial_options[] = {
    {"config",      LH_JSON, AT(TrialSpec, config), NULL,
     "what differs from the champion's configuration"},
    {"eval", LH_TEXT, AT(TrialSpec, eval), REQUIRED, "the eval set to measure with"},
    {"k",         LH_INT, AT(TrialSpec, k), "10", "answers that count", .min = 1, .max = EVAL_DEPTH},
    {0            },
};

static bool is_cancelled(void *job) {
    return job && job_cancelled(job);
}

MeasureWatch job_watch(Job *job) {
    return (MeasureWatch){is_cancelled, job};
}

typedef struct TrialText {
    const IndexEntry *entry;
    Text *out;
} TrialText;

static void write_trial(void *context, const Trial *trial) {
    TrialText *text = context;
    trial_write(text->entry->meta.vector_backend, trial, &(JsonWriter){.out = text->out});
}

bool index_trial(Indexes *indexes, Str index, const TrialSpec *spec, Job *job, Text *result,
                 Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    if (!indexes_find(indexes, index, &entry, err)) return false;
    IndexConfig config = entry->meta.config;
    TrialText text = {.entry = entry, .out = result};
    if (!config_read(entry->meta.vector_backend, spec->config, &config, err)) return false;
    TrialRun run = {.index = index,
                    .eval = spec->eval,
                    .k = spec->k,
                    .configs = &config,
                    .count = 1,
                    .watch = job_watch(job),
                    .done = write_trial,
                    .context = &text};
    return trials_run(indexes, &run, err);
}

bool index_trials_write(Indexes *indexes, Str index, Text *result, Err *err) {
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    OWNED(arena_close) Arena arena = {0};
    JsonWriter w = {.out = result};
    Trial *trials;
    size_t count;
    if (!indexes_find(indexes, index, &entry, err) ||
        !trials_load(indexes, entry, &arena, &trials, &count, err))
        return false;
    jw_array(&w);
    for (size_t i = 0; i < count; i++) trial_write(entry->meta.vector_backend, &trials[i], &w);
    jw_end(&w);
    return true;
}
