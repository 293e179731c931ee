/* What query strings and bodies of the routes are read into. */
#pragma once

#include "base/base.h"

typedef struct ForceQuery {
    bool force;
} ForceQuery;
typedef struct RescueQuery {
    Str rescue;
} RescueQuery;
typedef struct ErrorQuery {
    Str bucket, since;
    int64_t limit;
} ErrorQuery;
typedef struct HealthQuery {
    int64_t minutes;
} HealthQuery;
typedef struct ListQuery {
    Str prefix, delimiter, after;
    int64_t limit;
} ListQuery;
typedef struct DatasetQuery {
    int64_t version;
} DatasetQuery;
typedef struct DropQuery {
    bool purge;
} DropQuery;
typedef struct PatchBody {
    Str owner, description;
    const Json *tags, *columns, *pii;
} PatchBody;
typedef struct RollbackBody {
    int64_t version;
} RollbackBody;
typedef struct DeleteBody {
    Str where;
} DeleteBody;
typedef struct QueryBody {
    Str sql, format;
    const Json *params, *as_of;
    int64_t limit, timeout_ms;
} QueryBody;
typedef struct IngestQuery {
    Str dataset, format, mode, bucket, object, source;
} IngestQuery;
typedef struct DbBody {
    Str dsn, table, query, dataset, mode, bucket, schema_drift, type_mapping;
    const Json *incremental, *types, *mask;
    int64_t batch_rows, parallel, chunk_rows;
} DbBody;
typedef struct MoveBody {
    Str bucket;
} MoveBody;
typedef struct PromoteBody {
    int64_t trial;
} PromoteBody;
typedef struct EmbedBody {
    const Json *texts;
    Str model;
} EmbedBody;
typedef struct GenerateBody { /* of a chat too */
    Str prompt, model, system, user;
    const Json *messages, *stop, *stream_options;
    double temperature, top_p; /* below 0: not given */
    int64_t max_tokens, seed, n;
    bool stream;
} GenerateBody;
typedef struct ModelBody {
    Str model;
} ModelBody;
typedef struct OpenaiEmbedBody {
    const Json *input;
    Str model, encoding_format, user;
    int64_t dimensions;
} OpenaiEmbedBody;
