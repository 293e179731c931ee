/* Files into datasets: a body is spooled to the bucket's staging (decompressed, checked), read by
 * DuckDB, written as Parquet, sampled for PII, and committed once - or nothing of it stays.
 * Memory is bounded whatever the size. Thread rule: everything here is thread safe. */
#pragma once

#include "catalog/catalog.h"
#include "query/query.h"

#include "base/base.h"

typedef struct IngestFile {
    Str dataset, bucket;
    Str format;                /* csv tsv json ndjson parquet auto */
    Str mode;                  /* create append replace */
    Str encoding;              /* of the body: empty, identity, gzip, zstd */
    const char *source_system; /* http file query watcher */
    Str source;                /* redacted locator for lineage: a file name, bucket/key, "http" */
    bool (*cancelled)(void *context);               /* may be NULL */
    void (*progress)(void *context, int64_t bytes); /* may be NULL */
    void *context;
} IngestFile;

/* The body, piece by piece; *got 0 at its end. */
typedef bool IngestSource(void *context, void *buffer, size_t size, size_t *got, Err *err);

/* *result gets the JSON object of API.md "Ingest". Errors name what was wrong: LH_INVALID
 * ("ragged_row" with the line, "invalid_utf8", "truncated_body", "empty_file", "bad_parquet",
 * "bad_json"), LH_CONFLICT (dataset_exists, schema_mismatch), LH_MISSING, LH_FULL. */
bool ingest_file(Catalog *catalog, Engine *engine, Buckets *buckets, const IngestFile *file,
                 IngestSource *source, void *source_context, Text *result, Err *err);

/* A table or a query of a database into one version of a dataset, or nothing of it; incrementally,
 * into one version a chunk (database.c). */
#define DATABASE_PARTS_MAX 16
typedef enum DatabaseKind { DATABASE_POSTGRES, DATABASE_MYSQL } DatabaseKind;
typedef struct IngestLimits {
    Str allow_hosts; /* of databases, comma separated; empty: any */
    int64_t connect_timeout_ms, idle_timeout_ms;
} IngestLimits;
typedef struct DatabaseIngest {
    Str dsn;          /* with its password, which is in no message, log or lineage */
    Str table, query; /* exactly one; table is name or schema.name */
    Str dataset, bucket, mode;
    bool widen;               /* drift on append: columns are added and widened; else refused */
    bool plain;               /* decimals become doubles, and what is no number text */
    const Json *incremental;  /* {"column","after"?}, or NULL */
    const Json *types, *mask; /* {"column": ...}, or NULL */
    int64_t batch_rows, parallel;
    int64_t chunk_rows; /* of an incremental run: about as many a commit; 0: one commit */
    IngestLimits limits;
    bool (*cancelled)(void *context);
    void (*progress)(void *context, int64_t rows, int64_t rows_estimate); /* -1: unknown */
    void *context;
} DatabaseIngest;
/* LH_INVALID "table_not_found", "source_refused"; LH_DENIED "source_denied", "host_not_allowed";
 * LH_OFFLINE "source_unreachable"; LH_CONFLICT as ingest_file. */
bool ingest_database(Catalog *catalog, Engine *engine, Buckets *buckets, DatabaseKind kind,
                     const DatabaseIngest *what, Text *result, Err *err);

bool ingest_mode(Str word, CommitMode *out, Err *err); /* create append replace; empty: create */

/* A watched folder (watch.c): each file that is dropped into it (closed after writing, or renamed
 * in) is ingested once, over restarts and kills too, and moved to done/, or to failed/ with the
 * reason beside it. A file that a bucket out of reach keeps from being ingested stays and is tried
 * again. One thread of its own. */
typedef struct WatchOptions {
    Str dir;     /* made when missing; empty: nothing is watched */
    Str dataset; /* a name, where {name} is the file's without its endings */
    Str mode;    /* append (made by the first file) or replace */
    Str bucket;
} WatchOptions;
typedef struct Watch Watch;
bool watch_folder_open(Catalog *catalog, Engine *engine, Buckets *buckets,
                       const WatchOptions *options, Watch **out, Err *err);
void watch_folder_close(Watch **watch); /* what is under way is cancelled, and done again later */

/* Writes a dataset again without the rows that `where` matches; with an empty `where` all rows, in
 * one file. A new version, or none when nothing matches. */
typedef struct Rewriting {
    Str dataset, where;
    bool (*cancelled)(void *context); /* may be NULL */
    void *context;
} Rewriting;
typedef struct Rewritten {
    int64_t version, rows, rows_removed;
} Rewritten;
bool ingest_rewrite(Catalog *catalog, Engine *engine, Buckets *buckets, const Rewriting *what,
                    Rewritten *out, Err *err);

/* PII. One detector per column: add sampled values, then ask for the verdict. */
typedef struct PiiVerdict {
    const char *kind;  /* email phone card iban ssn ip mac name ...; NULL: none */
    double confidence; /* 0..1 */
    int64_t matched, sampled;
} PiiVerdict;
typedef struct PiiColumn PiiColumn;
#define PII_SAMPLE_ROWS 10000
bool pii_open(Str column_name, PiiColumn **out, Err *err);
void pii_close(PiiColumn **column);
void pii_add(PiiColumn *column, Str value);
PiiVerdict pii_verdict(const PiiColumn *column);
