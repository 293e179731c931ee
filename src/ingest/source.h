/* A table of rows somewhere else: what a connector (postgres.c, mysql.c) gives to the sink
 * (table.c), which knows nothing of wires, while connectors know nothing of datasets.
 *
 * A source is opened on one consistent state of the other side and keeps it until it is closed.
 * Its rows come in parts, each pulled by a thread of its own; memory is bounded by the batch. */
#pragma once

#include "ingest/ingest.h"

#define SOURCE_PARTS_MAX DATABASE_PARTS_MAX

typedef struct SourceColumn {
    Str name;
    Type type;    /* what batches hold and the dataset gets; ids 0 */
    Str declared; /* as the source spells its type: "numeric(12,2)", for messages */
} SourceColumn;

/* What a value could not be and became instead, counted by column: a zero date is NULL, a NaN in a
 * numeric is NULL. Each kind is one line of the result's warnings. */
typedef struct SourceWarning {
    size_t column;
    Str what; /* "zero dates became NULL" */
    int64_t count;
} SourceWarning;

typedef struct Source Source;
typedef struct SourceOps {
    /* The rows of part i, 0..parts-1, into the feed, until they end. Each batch that was given is
     * told to `moved`. Any thread; each part once, but for a source in chunks: when `more` is true
     * afterwards, the next call goes on where this one ended, in the same state of the other side,
     * into another feed. */
    bool (*pull)(Source *source, size_t part, RowFeed *feed, Err *err);
    /* From any thread, also while parts are pulled: they end soon with LH_CANCELLED, and what runs
     * on the other side is cancelled there too. */
    void (*cancel)(Source *source);
    void (*close)(Source *source); /* frees it too; no part is being pulled */
} SourceOps;

typedef void SourceMoved(void *context, int64_t rows, int64_t bytes);

struct Source {
    const SourceOps *ops;
    const char *system;    /* "postgresql", "mysql": of the lineage */
    Str locator;           /* of the lineage: the DSN without its password, and the table */
    Str query;             /* of the lineage; empty for a table */
    SourceColumn *columns; /* at least one */
    size_t column_count;
    size_t parts;
    int64_t rows_estimate; /* by the other side's statistics; -1: none */
    SourceWarning
        *warnings; /* complete once all parts are pulled; under the connector's own lock */
    size_t warning_count;
    Str last; /* with a cursor column: the greatest value that was read, as text */
    /* Columns of the table's primary key, in its order; count 0: none is known. */
    Str *key;
    size_t key_count;
    /* Set by the sink; 0: all at once. With a cursor, of one part alone: a pull ends after as many
     * rows, where a run that begins with `last` would miss none: past rows without a value, and,
     * without a key, not between two that share one. */
    int64_t chunk_rows;
    bool more;
    SourceMoved *moved; /* set by the sink before the first part is pulled */
    void *moved_context;
    Arena arena;
};

typedef enum TypeMapping {
    MAPPING_EXACT, /* without loss; what no type holds becomes text, with a warning */
    MAPPING_PLAIN, /* integers, floats (decimals too), booleans; the rest text */
} TypeMapping;

/* What a connector is asked for; the same for every kind. Text is the user's: names are checked
 * against the source's own catalog and quoted, never spliced. */
typedef struct SourceRequest {
    Str dsn;            /* with its password, which is in no message, log, or locator */
    Str table, query;   /* exactly one; table is name or schema.name */
    Str cursor, after;  /* incremental: only rows whose cursor column is >= after (empty: all),
                           in its order */
    int64_t batch_rows; /* at most, in memory at once and part */
    int64_t parallel;   /* parts wanted; a source may make fewer */
    const Json *types;  /* {"column": "SQL type"}: taken instead of the mapping; or NULL */
    TypeMapping mapping;
    Str allow_hosts; /* comma separated; empty: any */
    int64_t connect_timeout_ms, idle_timeout_ms;
} SourceRequest;

/* LH_INVALID: a bad dsn, an unknown table or column, a query that the source refuses (its words,
 * one line); LH_DENIED: a host that is not allowed, a wrong password ("source_denied"); LH_OFFLINE
 * "source_unreachable". */
bool source_postgres(const SourceRequest *request, Source **out, Err *err);
bool source_mysql(const SourceRequest *request, Source **out, Err *err);

static inline void source_close(Source **source) {
    if (*source) (*source)->ops->close(*source);
    *source = NULL;
}

/* redact.c: a DSN, and whatever other text may hold one, without its password: scheme://user:pass@
 * host, percent-encoded too, and key=value forms (password=, pwd=, passfile's content never). */
Str redact(Str text, Arena *arena);

/* table.c: all of a source into one version of a dataset, or nothing of it; with a cursor, unless
 * it replaces, one version a chunk: what was committed stays, and the next run goes on from there.
 */
typedef struct TableIngest {
    Str dataset, bucket;
    CommitMode mode;
    bool widen;       /* schema drift on append: new columns and wider types; else refused */
    const Json *mask; /* {"column": "hash"|"redact"|"partial"}, or NULL */
    Str cursor;       /* kept with the dataset, so that the next run goes on from source->last */
    Str after; /* where this run goes on: rows with that very value that the dataset has already,
                  by the source's key, else by all columns, are left out, since the bound is
                  inclusive; empty: from the start */
    int64_t chunk_rows; /* with a cursor: about as many rows a commit; 0: one commit */
    bool (*cancelled)(void *context); /* may be NULL; asked on several threads */
    /* may be NULL; a few times a second, on the caller's thread */
    void (*progress)(void *context, int64_t rows, int64_t rows_estimate);
    void *context;
} TableIngest;
/* LH_INVALID "bad_mask"; LH_CONFLICT "dataset_exists", "schema_mismatch" with each difference;
 * LH_CANCELLED; and whatever the source or the writing fails with. The source stays the caller's to
 * close. */
bool ingest_table(Catalog *catalog, Engine *engine, Buckets *buckets, Source *source,
                  const TableIngest *what, Text *result, Err *err);
