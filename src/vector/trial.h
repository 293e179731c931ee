/* Trials: a configuration of an index, built where the champion's build does not serve, measured
 * against an eval set, and kept in vectors/<index>/trials.log, one JSON object a record. Trials are
 * numbered from 1 in the order of the log, which is all that the agent's proposals depend on. */
#pragma once

#include "vector/eval.h"
#include "vector/log_object.h"
#include "vector/measure.h"

typedef struct Trial {
    int64_t number;
    IndexConfig config;
    Str eval, rows; /* rows: that were searched, index_rows */
    int64_t k;
    Measured measured;
    double build_ms;
    int64_t memory_bytes, at_ms;
} Trial;

Str trials_key(Str index, Arena *arena);
bool trial_read(Str backend, Bytes record, Trial *out, Arena *arena, Err *err);
void trial_write(Str backend, const Trial *trial, JsonWriter *w);
/* All of an index, in order. */
bool trials_load(Indexes *indexes, const IndexEntry *entry, Arena *arena, Trial **out,
                 size_t *count, Err *err);

/* Several configurations on one eval set, for a grid: those of one build follow one another, so
 * that each build is made once. Each trial is journaled as it ends and told to `done`. */
typedef struct TrialRun {
    Str index, eval;
    int64_t k;
    const IndexConfig *configs;
    size_t count;
    MeasureWatch watch;
    void (*done)(void *context, const Trial *trial);
    void *context;
} TrialRun;
MeasureWatch job_watch(Job *job); /* cancelled with the job; NULL: never */
bool trials_run(Indexes *indexes, const TrialRun *run, Err *err);
