/* The configuration as the program uses it: every section's option table and what the command line
 * overrides. */
#pragma once

#include "app/app.h"

#define SETTINGS_BUCKETS_MAX 64

typedef struct QuerySettings {
    int64_t threads, memory_mib, spill_max_mib, queries_max, timeout_ms;
} QuerySettings;

typedef struct LimitsSettings {
    int64_t index_build_mib;
} LimitsSettings;

typedef struct StorageSettings {
    Str data_dir, state_dir, rescue_bucket, profile_root;
    bool shared;
    int64_t sweep_age_s; /* 0: never */
    int64_t cache_mib, breaker_failures, breaker_probe_ms;
    int64_t s3_part_mib, s3_parallel;
    int64_t s3_connect_timeout_ms, s3_answer_timeout_ms, s3_stall_timeout_ms, s3_retry_ms;
} StorageSettings;

typedef struct CatalogSettings {
    Str pointer, dsn, name;
} CatalogSettings;

typedef struct IngestSettings {
    IngestLimits limits;
    const Json *watch; /* [ingest.watch] */
    WatchOptions watched;
} IngestSettings;

typedef struct Settings {
    StorageSettings storage;
    BucketOptions buckets[SETTINGS_BUCKETS_MAX];
    size_t bucket_count;
    const Json *secrets; /* [secrets], or NULL */
    CatalogSettings catalog;
    IngestSettings ingest;
    QuerySettings query;
    LimitsSettings limits;
    AiOptions ai;
    AgentOptions agent;
    AccessKeys keys;
    HttpOptions http;
    Str tls_cert, tls_key; /* paths; both or none */
    bool local;            /* only this machine may connect */
    LogLevel log_level;
    bool log_json;
} Settings;

/* *out borrows from *config and the arena. */
bool settings_read(const AppOptions *options, Config **config, Arena *arena, Settings *out,
                   Err *err);
