/* SQL over datasets, on DuckDB through its C API. One instance; a connection per request from a
 * pool. A user's statement passes the policy (policy.c) before it is run: exactly one SELECT,
 * reading datasets and nothing else.
 *
 * Thread rule: an Engine is thread safe; a Rows belongs to one thread at a time. */
#pragma once

#include "catalog/catalog.h"

#include "base/base.h"

typedef struct Engine Engine;

typedef struct EngineOptions {
    int threads;           /* 0: the machine's cores */
    int64_t memory_bytes;  /* DuckDB's memory_limit */
    const char *spill_dir; /* sorts and joins beyond memory go here; emptied at open */
    int64_t spill_bytes_max;
    const char *cache_dir; /* read_cache_dir() of the buckets' cache; NULL: no bucket is remote */
    int queries_max;       /* run at once; more wait, then LH_BUSY */
} EngineOptions;

bool engine_open(const EngineOptions *options, Catalog *catalog, Engine **out, Err *err);
void engine_close(Engine **engine);

typedef struct Query {
    Str sql;
    const Json *params; /* array or NULL */
    const Json *as_of;  /* {"dataset": version} or NULL */
    int64_t timeout_ms; /* LH_TIMEOUT past it; 0: none */
    bool check;         /* the policy and the names alone: nothing runs, the Rows has no columns */
    bool trusted; /* SQL that we wrote ourselves: the policy is left out. Datasets by name only */
    /* asked about every 20 ms, on a thread of the engine; true ends it with LH_CANCELLED */
    bool (*cancelled)(void *context);
    void *context;
    const Str *only; /* the datasets that it may read, as names; NULL: all */
    size_t only_count;
    const void *scope; /* passed on to the vector search */
} Query;

typedef struct Rows Rows; /* an open result, streamed */

/* Errors: LH_DENIED "sql_forbidden"; LH_INVALID "sql_error" with line and position in the message;
 * LH_DENIED "out_of_scope" for a dataset beyond `only`; LH_MISSING "dataset_not_found"; LH_TIMEOUT;
 * LH_FULL and LH_TOO_BIG for spill and memory; those of the vector search.
 *
 * A statement that is asked for on a thread that is opening another one (the filter of a
 * vector_search() in that) shares its slot, and may not search vectors itself. */
bool query_open(Engine *engine, const Query *query, Rows **out, Err *err);
void rows_close(Rows **rows); /* interrupts and drains what is unfinished */
size_t rows_columns(const Rows *rows);
Str rows_name(const Rows *rows, size_t column);
Str rows_type(const Rows *rows, size_t column); /* SQL spelling */
int64_t rows_scanned_bytes(const Rows *rows);   /* bytes of the data files planned */

typedef enum RowsFormat { ROWS_JSON, ROWS_NDJSON, ROWS_CSV, ROWS_ARROW } RowsFormat;
typedef bool RowsSink(void *context, Bytes data, Err *err);
typedef struct RowsWritten {
    int64_t rows;
    bool truncated; /* there were more than `limit` */
} RowsWritten;
/* Writes all (or the first `limit`; 0: all) rows in pieces of about 64 KiB. ROWS_JSON is the whole
 * object of API.md "Query" but for its last members: {"columns":..,"rows":[..] and the caller adds
 * ,"row_count":.. and the rest. Integers and decimals that a double cannot hold are strings; NaN
 * and infinities are null in JSON. ROWS_ARROW: an IPC stream. ROWS_CSV: RFC 4180, a header line,
 * NULL is an empty field and an empty string is "". */
bool rows_write(Rows *rows, RowsFormat format, int64_t limit, RowsSink *sink, void *context,
                RowsWritten *out, Err *err);

/* All (or the first `limit`) rows as one Parquet file without a name: *fd is the caller's to close.
 */
bool rows_parquet(Rows *rows, int64_t limit, int *fd, uint64_t *size, RowsWritten *out, Err *err);

/* The next batch as values, for code of ours that reads columns. Columns are read through the
 * accessors until the next call. *count 0 at the end. */
bool rows_next(Rows *rows, size_t *count, Err *err);
bool rows_is_null(const Rows *rows, size_t column, size_t row);
Str rows_text(const Rows *rows, size_t column, size_t row);    /* VARCHAR, BLOB columns */
int64_t rows_int(const Rows *rows, size_t column, size_t row); /* BIGINT columns */
double rows_real(const Rows *rows, size_t column, size_t row); /* DOUBLE columns */
/* LIST or ARRAY of FLOAT: points into the batch. */
const float *rows_floats(const Rows *rows, size_t column, size_t row, size_t *len);

/* Runs SELECTs that we wrote over files of ours, and COPY ... TO for the writers of datasets
 * (ingest, vector): the statement is trusted and may name paths beneath buckets and staging. */
bool engine_run(Engine *engine, Str sql, bool (*cancelled)(void *), void *context, Rows **out,
                Err *err);

/* Parquet of a dataset: one COPY of `select` to a staged file, field ids from `schema`, zstd, its
 * statistics as a DataFile whose key the caller fills in. Rows of the file in *out. The file at
 * `path` is fsynced by store_adopt. */
bool engine_copy_parquet(Engine *engine, Str select, const Schema *schema, const char *path,
                         bool (*cancelled)(void *), void *context, Arena *arena, DataFile *out,
                         Err *err);
/* The same from rows that code of ours makes: `source` fills up to batch_capacity() rows and calls
 * batch_finish(batch, rows); 0 rows end it. Cells are set by column and row in any order; a cell
 * that is not set is NULL. Bytes are copied. The source runs on one thread. */
typedef struct RowBatch RowBatch;
typedef bool RowSource(void *context, RowBatch *batch, Err *err);
size_t batch_capacity(const RowBatch *batch);
void batch_text(RowBatch *batch, size_t column, size_t row, Str value);    /* string, binary */
void batch_int(RowBatch *batch, size_t column, size_t row, int64_t value); /* int, long */
void batch_real(RowBatch *batch, size_t column, size_t row, double value); /* double */
void batch_finish(RowBatch *batch, size_t rows);
bool engine_write_parquet(Engine *engine, const Schema *schema, RowSource *source, void *context,
                          const char *path, Arena *arena, DataFile *out, Err *err);

/* Rows that other threads make, batch by batch, into one Parquet file (feed.c). A COPY of the
 * engine's takes batches as they come, in any order, so that decoding and encoding run side by
 * side. feed_take and feed_give may be called by any threads; the rest belongs to one.
 *
 * A batch's cells are NULL until they are set. Values lie as DuckDB has them, one C type a kind:
 *
 *     BOOLEAN uint8_t 0 or 1        DATE        int32_t days since 1970
 *     INT     int32_t               TIME        int64_t microseconds of the day
 *     LONG    int64_t               TIMESTAMP   int64_t microseconds since 1970, TIMESTAMPTZ too
 *     FLOAT   float                 UUID        __int128, big endian value with the top bit flipped
 *     DOUBLE  double                DECIMAL     int16_t, int32_t, int64_t or __int128, for a
 *     STRING, BINARY, FIXED: bytes              precision of at most 4, 9, 18 or 38, unscaled
 *     LIST    its elements are a vector of their own */
typedef struct RowFeed RowFeed;
typedef struct BatchVector BatchVector; /* a column's values, or those of all lists of a column */
#define FEED_BATCH_ROWS 2048
/* `projection` NULL: the schema's columns as they are fed. Else one SQL expression a column, over
 * columns of the same names and of `fed`'s types, which is what is written: for masks, casts, and
 * columns that were not fed. */
typedef struct FeedOptions {
    const Schema *fed;     /* what batches hold */
    const Schema *written; /* what the file holds, with its field ids */
    const Str *projection;
    Str filter; /* a SQL predicate over `fed` that rows must meet, which may read datasets; or empty
                 */
    const char *path;
    bool in_order; /* the file's rows are in the order they were given in, at one thread's speed */
    bool (*cancelled)(void *context); /* may be NULL; asked on a thread of the engine */
    void *context;
} FeedOptions;
bool feed_open(Engine *engine, const FeedOptions *options, RowFeed **out, Err *err);
RowBatch *feed_take(RowFeed *feed); /* an empty one; NULL once writing failed: finish says why */
bool feed_ended(RowFeed *feed);     /* whether feed_take would give NULL: nobody needs rows more */
/* Waits while the COPY is behind by more than a few batches; rows 0 just gives it back. */
void feed_give(RowFeed *feed, RowBatch *batch, size_t rows);
bool feed_finish(RowFeed *feed, Arena *arena, DataFile *out, Err *err);
void feed_close(RowFeed **feed); /* of an unfinished one: ends it, the file is nobody's */
BatchVector *batch_vector(RowBatch *batch, size_t column);
void *vector_values(BatchVector *vector); /* of its kind's C type; NULL for bytes and lists */
void vector_set_valid(BatchVector *vector, size_t row);
/* Copied; valid then. A text that is not UTF-8 fails the feed: LH_INVALID "invalid_utf8". */
void vector_bytes(BatchVector *vector, size_t row, Str value);
/* Makes the list of `len` elements of a row, valid then; its elements begin at *at of the returned
 * vector, whose values moved: ask vector_values again. */
BatchVector *vector_list(BatchVector *vector, size_t row, size_t len, size_t *at);

/* The columns and types that a SELECT of ours would give, mapped to Iceberg's (ids 0). */
bool engine_describe(Engine *engine, Str select, Arena *arena, Schema *out, Err *err);

/* vector_search() in a user's SQL, which the module of the vectors does. The hits are in the arena,
 * best first; `arguments` has the members of POST /vectors/search, those that were given. */
typedef struct VectorHit {
    Str doc_id, text; /* UTF-8; text.data NULL: the index has no texts */
    int32_t chunk;
    float score;
} VectorHit;
typedef struct VectorHits {
    VectorHit *items;
    size_t len;
} VectorHits;
typedef struct VectorCall {
    const Json *arguments;
    bool check; /* the arguments and the index alone: no hits are wanted */
    const Str *only;
    size_t only_count;
    const void *scope;
    bool (*cancelled)(void *context); /* by any thread; true: give up with LH_CANCELLED */
    void *context;
} VectorCall;
typedef bool VectorSearchFn(void *context, const VectorCall *call, Arena *arena, VectorHits *out,
                            Err *err);
/* NULL: none. While no statement runs. */
void engine_set_vector_search(Engine *engine, VectorSearchFn *search, void *context);
/* LH_DENIED "out_of_scope" where `only` is not NULL and has no such name. */
bool dataset_in_scope(const Str *only, size_t count, Str dataset, Err *err);

void sql_quote_text(Text *out, Str text); /* 'it''s' */
void sql_quote_name(Text *out, Str name); /* "a ""b""" */
/* The name of a dataset, which dataset_name_check let pass: as a user spells it, and for trusted
 * statements, where resolve.c takes one identifier ("ns$t" for ns.t). */
void sql_quote_dataset(Text *out, Str name);
void sql_quote_trusted(Text *out, Str name);
