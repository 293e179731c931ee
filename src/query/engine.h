/* What the files of query/ share: the engine, its two instances of DuckDB and an open result.
 *
 * SQL that we wrote runs on the trusted instance, which may read and write files. A user's SQL runs
 * on a sandbox: an instance that can read the warehouses it was opened for, and whose
 * settings are locked. Those directories are fixed once outside access is off, so that a dataset in
 * a bucket unknown so far makes a new sandbox (14 ms, once a bucket); the old one goes with its
 * last query. */
#pragma once

#include "query/query.h"

#include <duckdb.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#define SQL_SIZE_MAX (1 << 20)
#define QUERY_WAIT_MS 5000 /* for a free slot, then LH_BUSY */
#define WATCH_PERIOD_MS 20

typedef struct Sandbox Sandbox;
typedef struct Watched Watched;

/* A connection of a sandbox, with the statement that parses for the policy. */
typedef struct Conn Conn;
struct Conn {
    Sandbox *sandbox;
    duckdb_connection handle;
    duckdb_prepared_statement serialize;
    Conn *next; /* in the sandbox's pool */
};

typedef struct PolicyCache PolicyCache;

struct Engine {
    EngineOptions options;
    char spill_dir[PATH_MAX];
    char empty_file[PATH_MAX + 32]; /* Parquet without rows: stands for a dataset without files */
    Catalog *catalog;
    duckdb_database trusted;
    pthread_mutex_t lock;    /* over all below */
    Sandbox *sandbox;        /* the newest */
    duckdb_database feeding; /* feed.c: opened by the first feed, and kept */
    pthread_cond_t slot_free;
    int running, sandboxes;
    /* watch.c */
    pthread_t watcher;
    bool watcher_started, watcher_sleeps, closing;
    pthread_mutex_t watch_lock;
    pthread_cond_t watch_wake;
    Watched *watched;
    PolicyCache *passed;
    VectorSearchFn *vector_search; /* may be NULL */
    void *vector_context;
};

/* Reads the files of a dataset: as they are, or by field id, old names, lacking columns and widened
 * types included, which costs a lookup a quarter more. A replacement scan can pass values to a
 * function but no named ones, and read_parquet itself would let statements ask for file names:
 * hence the macro. */
#define RESOLVE_MACRO                                                                              \
    "CREATE MACRO lake_scan"                                                                       \
    "(files) AS TABLE (SELECT * FROM read_parquet(files)), "                                       \
    "(files, columns) AS TABLE (SELECT * FROM read_parquet(files, schema := columns))"

bool instance_open(const Engine *engine, const char *spill_name, duckdb_database *out, Err *err);
bool instance_run(duckdb_connection connection, Str sql, Err *err);

/* A table function of one UBIGINT, the address of what it reads, which is for our instances alone;
 * or of so many arguments of any type. */
typedef struct TableFunction {
    const char *name;
    size_t arguments; /* 0: the address */
    duckdb_table_function_bind_t bind;
    duckdb_table_function_init_t init, thread; /* thread: for each that reads; may be NULL */
    duckdb_table_function_t rows;
} TableFunction;
bool table_function_add(duckdb_connection connection, const TableFunction *function, Err *err);
bool feed_setup(duckdb_connection connection, Err *err);    /* feed.c: its table function */
bool parquet_setup(duckdb_connection connection, Err *err); /* rows_parquet.c */
bool vectors_setup(duckdb_connection connection, Err *err); /* vector_search.c */

/* batch.c: what feed.c queues and write.c fills cell by cell. */
typedef struct HeapBlock HeapBlock;
typedef struct BatchHeap {
    HeapBlock *newest;
    bool cut; /* a string begins within a character */
} BatchHeap;
struct BatchVector {
    duckdb_vector vector;
    TypeKind kind;
    void *values;
    uint64_t *validity;
    BatchVector *child; /* of a list: the elements */
    BatchHeap *heap;
};
struct RowBatch {
    duckdb_data_chunk chunk;
    size_t rows, column_count;
    BatchVector *columns;
    BatchHeap texts, bytes; /* of all columns */
    RowBatch *next;         /* in the queue, or among the free */
    Arena arena;
};
duckdb_logical_type batch_type(const Type *type); /* to be destroyed */
RowBatch *batch_open(const Schema *schema, duckdb_logical_type *types);
void batches_close(RowBatch *first);
void batch_clear(RowBatch *batch); /* empty, all NULL */
bool batch_is_utf8(const RowBatch *batch);
size_t batch_bad_column(const RowBatch *batch); /* the first that has a text which is not UTF-8 */

/* run.c: engine_run on an instance of ours; the statement names no dataset. */
bool instance_query(Engine *engine, duckdb_database instance, Str sql, bool (*cancelled)(void *),
                    void *context, Rows **out, Err *err);

/* copy.c: engine_copy_parquet with all there is to choose. */
typedef struct CopyOptions {
    const Schema *schema;
    const char *path;
    duckdb_database unordered; /* not NULL: on this instance, where rows may change places, so that
                                  threads need not wait for each other and row groups may end by
                                  their bytes */
    bool (*cancelled)(void *context);
    void *context;
} CopyOptions;
bool copy_parquet(Engine *engine, Str select, const CopyOptions *options, Arena *arena,
                  DataFile *out, Err *err);

/* file_reads.c: lets the read cache fill files before DuckDB reads them. Before the first instance
 * is opened; once in a process, later calls do nothing. */
void file_reads_hook(void);
/* The slots of the library that the function is in; LH_IMPOSSIBLE, and none is changed, when they
 * are not those that are expected. */
bool file_reads_hook_library(void *function, Err *err);

/* sandbox.c */
bool sandbox_first(Engine *engine, Err *err);
/* Whether it may read below `directory`. */
bool sandbox_covers(const Sandbox *sandbox, Str directory);
/* A newer sandbox for those directories as well, unless the newest has them. */
bool sandbox_widen(Engine *engine, const Str *directories, size_t count, Err *err);
bool conn_acquire(Engine *engine, Conn **out, Err *err);
/* `broken`: an internal error of DuckDB spoils the whole instance; the next query gets a new one.
 */
void conn_release(Engine *engine, Conn **conn, bool broken);
void sandbox_close(Sandbox **sandbox);

/* watch.c: interrupts a connection at its deadline, or once `cancelled` says so. */
struct Watched {
    duckdb_connection connection;
    int64_t deadline_us; /* 0: none */
    int64_t timeout_ms;  /* for the message */
    bool (*cancelled)(void *context);
    void *context;
    atomic_int why; /* LH_OK, LH_TIMEOUT or LH_CANCELLED */
    bool draining;
    Watched *next;
    Watched **link; /* NULL: not watched */
};
bool watch_open(Engine *engine, Err *err);
void watch_close(Engine *engine);
void watch_add(Engine *engine, Watched *watched);
void watch_remove(Engine *engine, Watched *watched);
void watch_drain(Engine *engine, Watched *watched); /* interrupts now and until it is removed */
ErrKind watch_why(Watched *watched);
bool watched_is_over(void *watched); /* whether there is a reason to end it */

/* What the policy's walk saw, for choosing how to run the statement. */
typedef struct Shape {
    Str table;       /* the one that was named last, within the statement; or empty */
    size_t tables;   /* names in FROM, WITH names included */
    bool parameters; /* $1, ? */
    bool narrows;    /* a WHERE or a GROUP BY */
    bool grows;      /* a result may have more rows than its one table: joins, unnest, recursion */
} Shape;

/* policy.c: LH_DENIED "sql_forbidden", LH_INVALID "sql_error". *out is the SQL to run: the user's,
 * with names like ns.t spelled as the one name "ns$t". */
bool policy_check(Conn *conn, Str sql, Text *out, Shape *shape, Err *err);
/* The walk over the JSON form of one statement; apart for the fuzzer. */
bool policy_walk(Str ast, Str sql, Text *out, Shape *shape, Err *err);

/* policy_cache.c: the same, remembered by the statement's text. */
void policy_cache_open(PolicyCache **out);
void policy_cache_close(PolicyCache **cache);
bool policy_pass(PolicyCache *cache, Conn *conn, Str sql, Text *checked, Shape *shape, Err *err);

/* policy_growth.c: why a call could make more than anybody needs; empty when it cannot. `as_list`:
 * range() outside of a FROM makes its list at once. */
Str growth_refusal(Str name, const Json *arguments, bool as_list, Arena *arena);

/* resolve.c: datasets as DuckDB sees them. A Plan is the thread's own while it prepares. */
typedef struct Source {
    Str name;
    Bucket *bucket; /* outlives `held` */
    Table *table;
    LocalFile **held; /* of the snapshot; in the plan's arena */
    size_t held_count;
    duckdb_value files, columns;
} Source;
typedef struct Searched { /* by a vector_search() */
    Str arguments;        /* as JSON */
    VectorHits hits;
} Searched;
typedef struct Plan {
    Engine *engine;
    const Sandbox *sandbox; /* of the connection that it runs on; NULL: trusted */
    const Json *as_of;
    const Str *only; /* NULL: any dataset */
    size_t only_count;
    const void *scope;
    bool check, nested; /* nested: within the opening of another statement */
    Watched *watched;   /* of the same Rows */
    Arena *arena;
    Source *sources;
    size_t len, cap;
    Str *uncovered; /* directories that the sandbox lacks */
    size_t uncovered_len;
    Searched *searched;
    size_t searched_len;
    int64_t bytes;
    bool failed;
    Err err;
} Plan;
bool plan_check(Plan *plan, Err *err); /* as_of's shape */
/* Loads the dataset and holds it for the scan that will ask. *rows of its version. */
bool plan_load(Plan *plan, Str name, int64_t *rows, Err *err);
Plan *plan_enter(Plan *plan); /* what was this thread's before, which leaving enters again */
Plan *plan_current(void);
/* False, and why, when a file of the plan could not be read after it was opened. */
bool plan_check_files(const Plan *plan, Err *err);
void plan_close(Plan *plan);
void resolve_setup(duckdb_database database);

/* errors.c: DuckDB's words into ours. `sql` is the user's text, or empty. */
bool sql_error(const char *message, Str sql, Err *err);
bool sql_error_at(Str sql, size_t offset, Str message, Err *err);

/* cells.c: a column's type and, per batch, its values. */
typedef struct Cells Cells;
struct Cells {
    duckdb_type type, physical; /* physical: what decimals and enums are stored as */
    uint8_t scale;
    size_t array_len; /* of ARRAY */
    Str name, sql;    /* its name within its parent; SQL spelling */
    Str *labels;      /* of ENUM */
    size_t label_count;
    Cells *children;
    size_t child_count;
    const void *data;
    const uint64_t *validity;
};
bool cells_open(Cells *cells, duckdb_logical_type type, Arena *arena, Err *err);
void cells_load(Cells *cells, duckdb_vector vector);
static inline bool cell_is_null(const Cells *cells, size_t row) {
    return cells->validity && !(cells->validity[row / 64] >> (row % 64) & 1);
}
static inline Str cell_str(const Cells *cells, size_t row) {
    const duckdb_string_t *string = (const duckdb_string_t *)cells->data + row;
    bool inlined = string->value.inlined.length <= 12;
    return (Str){inlined ? string->value.inlined.inlined : string->value.pointer.ptr,
                 string->value.inlined.length};
}
void cell_write_json(Text *out, const Cells *cells, size_t row);
void write_csv_text(Text *out, Str text); /* quoted where it must be */
void cell_write_csv(Text *out, const Cells *cells, size_t row);

/* rows_arrow.c: rows_write of ROWS_ARROW. */
bool rows_write_arrow(Rows *rows, int64_t limit, RowsSink *sink, void *context, RowsWritten *out,
                      Err *err);

/* scalars.c: text of single values, without quotes. */
void write_int(Text *out, int64_t value);
void write_uint(Text *out, uint64_t value);
void write_int128(Text *out, __int128 value);
void write_decimal(Text *out, __int128 value, int scale);
void write_real(Text *out, double value, bool single);
void write_date(Text *out, int64_t days);
void write_time(Text *out, int64_t ticks, int64_t ticks_per_second);
void write_timestamp(Text *out, int64_t ticks, int64_t ticks_per_second, char separator, Str zone);
void write_interval(Text *out, duckdb_interval interval);
void write_uuid(Text *out, duckdb_hugeint value);
void write_base64(Text *out, Str bytes);

struct Rows {
    Engine *engine;
    Conn *conn;                   /* of the sandbox, or */
    duckdb_connection connection; /* our own on the trusted instance */
    duckdb_prepared_statement statement;
    duckdb_result result;
    duckdb_data_chunk chunk;
    bool has_slot, has_result, ended, broken;
    bool held; /* the result is whole, nothing is running */
    Str sql;
    Cells *columns;
    size_t column_count;
    Plan plan;
    Watched watched;
    Arena arena;
};
