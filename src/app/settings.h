/* The configuration as the program uses it: every section's option table and what the command line
 * overrides. */
#pragma once

#include "app/app.h"

#define SETTINGS_BUCKETS_MAX 64

typedef struct QuerySettings {
    int64_t threads, memory_mib, spill_max_mib, queries_max, timeout_ms;
} QuerySettings;

typedef struct AiSettings {
    Str provider, embed_model;
} AiSettings;

typedef struct Settings {
    Str data_dir, rescue;
    int64_t sweep_age_s; /* 0: never */
    BucketOptions buckets[SETTINGS_BUCKETS_MAX];
    size_t bucket_count;
    QuerySettings query;
    AiSettings ai;
    HttpOptions http;
    LogLevel log_level;
    bool log_json;
} Settings;

/* *out borrows from *config and the arena. */
bool settings_read(const AppOptions *options, Config **config, Arena *arena, Settings *out,
                   Err *err);
