/* Lance tables (https://lance.org/format): a directory of immutable data files, deletion files and
 * one manifest per version, shared with LanceDB and other engines. Other modules include this one
 * header.
 *
 * A table lives below a key prefix of a Store. Whoever creates the next manifest has made the next
 * version; a loser looks at what won, and either goes on from it or fails with LH_CONFLICT (code
 * "lance_conflict"), when the change no longer means the same. Data files are of version 2.0, 2.1
 * or 2.2, one for the whole table, settled when it is created. What is not understood (flags,
 * encodings, nested columns) is refused by name, never misread: LH_IMPOSSIBLE, code
 * "lance_unsupported". Damaged files are LH_CORRUPT.
 *
 * Rows are named by address: fragment id << 32 | offset in the fragment. An address holds until
 * the row is deleted or updated, or its fragment compacted.
 *
 * Thread rule: a LanceTable is thread safe; readers see the version it stood at when they began.
 * A LanceScan belongs to one thread. Both need their Store, and a scan its table, until closed. */
#pragma once

#include "base/base.h"
#include "storage/storage.h"

#define LANCE_COLUMNS_MAX 4096
#define LANCE_DIMENSION_MAX 65536
#define LANCE_FRAGMENT_ROWS_MAX (1u << 28)
#define LANCE_BATCH_ROWS_MAX (1u << 20)

typedef enum LanceKind {
    LANCE_OTHER, /* nested or unknown: named in the schema, refused when read */
    LANCE_NULL,
    LANCE_BOOL,   /* bits */
    LANCE_INT,    /* 8 to 64 bits; dates, times, timestamps and durations too */
    LANCE_UINT,   /* 8 to 64 bits */
    LANCE_FLOAT,  /* 16, 32, 64 bits */
    LANCE_FIXED,  /* decimal:128:P:S, fixed_size_binary:N */
    LANCE_TEXT,   /* string, large_string */
    LANCE_BINARY, /* binary, large_binary */
    LANCE_VECTOR, /* fixed_size_list of INT, UINT or FLOAT */
} LanceKind;

typedef struct LanceType {
    LanceKind kind, item; /* item: of a vector */
    uint32_t bits;        /* of one value, or of one item of a vector; 0: not of fixed width */
    uint32_t dimension;   /* items of a vector, else 1 */
    Str logical;          /* as the format spells it: "timestamp:us:UTC" */
} LanceType;
/* Borrows `logical`. A type that is not known is LANCE_OTHER. */
LanceType lance_type(Str logical);

typedef struct LanceField {
    Str name;
    LanceType type;
    bool nullable;
    int32_t id; /* given by lance_create; what data files name a column by */
    Bytes raw;  /* as it stood in the manifest; empty: new */
} LanceField;
typedef struct LanceSchema {
    LanceField *fields; /* of the top level */
    size_t len;
} LanceSchema;

/* A column's values of some rows, laid out as Arrow lays them out, little-endian. */
typedef struct LanceColumn {
    const uint8_t *validity; /* bit i, from the lowest, is row i; 1: a value. NULL: no nulls */
    const void *values;      /* rows * dimension values of `bits` each; the bytes of texts */
    const uint64_t *offsets; /* TEXT, BINARY: rows + 1 into values, the first 0 */
    const uint8_t *items;    /* VECTOR: validity of rows * dimension items. NULL: no null items */
} LanceColumn;
typedef struct LanceBatch {
    size_t rows, column_count;
    const LanceColumn *columns;
    const uint64_t *addresses; /* of the rows, where they were read */
} LanceBatch;
static inline bool lance_bit(const uint8_t *bits, uint64_t at) {
    return bits[at >> 3] >> (at & 7) & 1;
}
static inline bool lance_is_null(const LanceColumn *column, size_t row) {
    return column->validity && !lance_bit(column->validity, row);
}
static inline Str lance_text(const LanceColumn *column, size_t row) {
    return (Str){(const char *)column->values + column->offsets[row],
                 (size_t)(column->offsets[row + 1] - column->offsets[row])};
}

typedef struct LanceTable LanceTable;

/* `path` is a key prefix without a slash at its end: "vectors/cv/docs.lance". Field ids are given
 * here. LH_CONFLICT "table_exists". The table is empty and at version 1. */
bool lance_create(Store *store, Str path, const LanceSchema *schema, LanceTable **out, Err *err);
/* The same with data files of another version than "2.0": "2.1", or "2.2", LanceDB's own default;
 * LH_IMPOSSIBLE for any other. Both are for tables whose readers want them; 2.0 is the quickest
 * here. */
bool lance_create_in(Store *store, Str path, const char *file_version, const LanceSchema *schema,
                     LanceTable **out, Err *err);
/* version 0: the latest. LH_MISSING "table_not_found", "version_not_found". */
bool lance_open(Store *store, Str path, uint64_t version, LanceTable **out, Err *err);
void lance_close(LanceTable **table);
/* To the latest version; one request when nothing changed. */
bool lance_refresh(LanceTable *table, Err *err);
/* To another version, for reading: a table that does not stand at the latest refuses changes with
 * LH_CONFLICT until lance_refresh; lance_restore makes the version the latest. */
bool lance_checkout(LanceTable *table, uint64_t version, Err *err);

typedef struct LanceInfo {
    uint64_t version, rows, rows_deleted, fragments, data_files, bytes, indexes;
    int64_t committed_ms;
    char file_version[8]; /* "2.0" */
} LanceInfo;
void lance_info(LanceTable *table, LanceInfo *out);
/* Copied into the arena. */
void lance_schema(LanceTable *table, Arena *arena, LanceSchema *out);

/* Reading. Columns are named; column_count 0: none of them, addresses alone. */
typedef struct LanceScanOptions {
    const Str *columns;
    size_t column_count;
    size_t batch_rows;         /* at most; 0: 1024 */
    const uint64_t *fragments; /* only these; NULL: all */
    size_t fragment_count;
} LanceScanOptions;
typedef struct LanceScan LanceScan;
bool lance_scan(LanceTable *table, const LanceScanOptions *options, LanceScan **out, Err *err);
/* The next rows that are not deleted, in order of address; rows 0 at the end. Lives until the next
 * call; fixed-width columns of local files are not copied. */
bool lance_scan_next(LanceScan *scan, LanceBatch *out, Err *err);
void lance_scan_close(LanceScan **scan);
/* Rows by address, in the order asked for, into the arena. LH_MISSING "row_not_found" names the
 * first that is deleted or never was. */
bool lance_take(LanceTable *table, const uint64_t *addresses, size_t count, const Str *columns,
                size_t column_count, Arena *arena, LanceBatch *out, Err *err);

/* The rows of the version that the table stands at, numbered from 0 in order of address without the
 * deleted ones; values where they lie in mapped files, else in memory. Immutable, thread safe;
 * needs its table until it is closed. */
typedef struct LanceRows LanceRows;
bool lance_rows_open(LanceTable *table, const Str *columns, size_t count, LanceRows **out,
                     Err *err);
void lance_rows_close(LanceRows **rows);
uint64_t lance_rows_count(const LanceRows *rows);
uint64_t lance_rows_address(const LanceRows *rows, uint64_t row);
uint64_t lance_rows_number(const LanceRows *rows, uint64_t address); /* UINT64_MAX: no such row */
/* A value of fixed width in whole bytes; NULL for a null. */
const void *lance_rows_value(const LanceRows *rows, size_t column, uint64_t row);
Str lance_rows_text(const LanceRows *rows, size_t column, uint64_t row); /* empty for a null */
size_t lance_rows_bytes(const LanceRows *rows); /* of memory, mapped files left out */

/* Changes. Each is one version, durable when it returns true, made on the latest version whatever
 * others committed meanwhile; the table then stands at it. A batch has every column, in the order
 * of the schema. */
bool lance_append(LanceTable *table, const LanceBatch *rows, Err *err);
/* Rows that are deleted already do not count. *deleted may be NULL. No version when there are
 * none. */
bool lance_delete(LanceTable *table, const uint64_t *addresses, size_t count, uint64_t *deleted,
                  Err *err);
/* Deletes rows and appends others in one version: LH_CONFLICT when one of them is gone. */
bool lance_update(LanceTable *table, const uint64_t *addresses, size_t count,
                  const LanceBatch *rows, Err *err);

/* Many rows in one fragment: batches are pages, memory is bounded by one of them. They have the
 * table's columns (schema NULL), or others that take the place of these: only lance_writer_replace
 * ends that, and versions before it keep their columns. */
typedef struct LanceWriter LanceWriter;
bool lance_writer_open(LanceTable *table, const LanceSchema *schema, LanceWriter **out, Err *err);
bool lance_writer_add(LanceWriter *writer, const LanceBatch *rows, Err *err);
bool lance_writer_commit(LanceWriter *writer, Err *err);
void lance_writer_close(LanceWriter **writer); /* not committed: no trace */

/* In the place of all rows that there are, in one version; with other columns indexes go too. */
bool lance_writer_replace(LanceWriter *writer, Err *err);

typedef struct LanceCompactOptions {
    uint64_t rows_max;        /* of a fragment that is made; 0: 1,048,576 */
    uint64_t deleted_percent; /* a fragment with more is rewritten alone; 0: 10 */
    bool keep_order;          /* leave what could only be made with other rows before or after it */
} LanceCompactOptions;
typedef struct LanceCompacted {
    uint64_t fragments_before, fragments_after, rows;
} LanceCompacted;
/* Neighbouring small fragments into larger ones, deleted rows left out, in one version; both counts
 * are of the fragments that took part. No version when there is nothing to do. Indexes that cover a
 * rewritten fragment no longer do. */
bool lance_compact(LanceTable *table, const LanceCompactOptions *options, LanceCompacted *out,
                   Err *err);

typedef struct LanceVersion {
    uint64_t version, rows, fragments;
    int64_t committed_ms;
    const char *operation; /* "Append", "CreateIndex", ...; "" when it does not say */
} LanceVersion;
/* Oldest first. */
bool lance_versions(LanceTable *table, Arena *arena, LanceVersion **out, size_t *count, Err *err);
bool lance_restore(LanceTable *table, uint64_t version, Err *err);

typedef struct LanceCleaned {
    uint64_t versions, files, bytes;
} LanceCleaned;
/* Removes versions committed before `before_ms` but the latest, and the files that no version left
 * needs; files that no version ever named only when they were written before `orphans_before_ms`,
 * for a writer may be about to name them. */
bool lance_cleanup(LanceTable *table, int64_t before_ms, int64_t orphans_before_ms,
                   LanceCleaned *out, Err *err);

/* Indexes, in LanceDB's own layout: each side searches what the other built. An index covers the
 * fragments that were there when it was built; rows that came later, or that compaction moved, are
 * found all the same, by looking at each of them. */

/* Long work, watched: either function may be NULL. Any thread of the work
 * calls them, one at a time. */
typedef struct LanceWatch {
    bool (*cancelled)(void *context);
    void (*progress)(void *context, double share); /* 0 to 1 */
    void *context;
} LanceWatch;

typedef struct LanceIndexInfo {
    Str name, column;
    const char *type;                      /* "IVF_PQ", "BTREE"; "" for one that is not used here */
    uint64_t rows_indexed, rows_unindexed; /* of the rows that are left */
    uint64_t segments;
} LanceIndexInfo;
/* In order of name, into the arena. */
bool lance_indexes(LanceTable *table, Arena *arena, LanceIndexInfo **out, size_t *count, Err *err);
/* Takes rows that came or moved since into the indexes, each a version of its own, with the points
 * that the index has: a small segment more, or, when small ones have gathered, one in the place of
 * them. What was built for far fewer rows should be built anew at some time. *changed (may be
 * NULL): how many indexes. */
bool lance_index_update(LanceTable *table, const LanceWatch *watch, size_t *changed, Err *err);

typedef enum LanceMetric { LANCE_COSINE, LANCE_L2, LANCE_DOT } LanceMetric;

#define LANCE_PARTITIONS_MAX 65536

typedef struct LanceVectorIndexOptions {
    Str column; /* of fixed_size_list:float:N */
    LanceMetric metric;
    uint32_t partitions;     /* 0: the square root of the rows */
    uint32_t sub_vectors;    /* a divisor of N; 0: N / 16, but at least 32 where N allows */
    uint32_t bits;           /* of a sub-vector's code: 8 or 4; 0: 8 */
    uint32_t iterations_max; /* of k-means; 0: 50 */
    int threads;             /* 0: every processor */
} LanceVectorIndexOptions;
/* What is 0 among them, as it will be for so many rows; sub_vectors to a divisor of the dimension
 * that is not more than it is. */
void lance_index_defaults(uint64_t rows, size_t dimension, LanceVectorIndexOptions *options);
/* IVF_PQ of the rows that are there, in place of the column's index of that name (`<column>_idx`).
 * Vectors that are null, not finite, longer than 1e15, or of length 0
 * (cosine) are not indexed. LH_INVALID names
 * an option that cannot be; LH_IMPOSSIBLE "lance_nothing_to_index"; LH_CANCELLED. */
bool lance_index_vectors(LanceTable *table, const LanceVectorIndexOptions *options,
                         const LanceWatch *watch, Err *err);

/* The same for trying out: nothing is written, and this handle alone searches by it, at the version
 * that it stands at now. */
bool lance_try_index(LanceTable *table, const LanceVectorIndexOptions *options,
                     const LanceWatch *watch, Err *err);
/* How many partitions a search looks at that names no number. */
uint32_t lance_nprobes_default(uint64_t rows, uint32_t partitions);

typedef struct LanceSearchOptions {
    Str column;
    const float *query; /* finite; as many numbers as a vector has */
    size_t dimension, k;
    LanceMetric metric; /* an index of another metric is not used */
    uint32_t nprobes;   /* partitions looked at; 0: by their number, for a recall of 0.95 */
    uint32_t refine;    /* k * refine rows are ranked again by their vectors; 0: 10 */
    bool codes_only; /* no refining: distances are what the codes tell, if the index has all rows */
    bool exact;      /* every row, no index */
    const uint64_t
        *allowed; /* only these rows, ascending; NULL: all. Few are compared one by one */
    size_t allowed_count;
    bool (*allows)(void *context, uint64_t address); /* NULL: all */
    void *context;
} LanceSearchOptions;
typedef struct LanceHit {
    uint64_t address;
    float distance; /* cosine: 1 - cos; l2: squared; dot: 1 - dot, as LanceDB has them. codes_only
                     * by the cosine: twice as much, which is the squared L2 of unit vectors */
} LanceHit;
#define LANCE_HITS_MAX 100000
/* The k rows of the least distance, the nearest first, into the arena; fewer where there are not so
 * many. The version the table stands at is searched; opened indexes stay open until it changes. */
bool lance_search(LanceTable *table, const LanceSearchOptions *options, Arena *arena,
                  LanceHit **out, size_t *count, Err *err);

/* A btree of a column of integers, floats of 32 or 64 bits or texts, of the rows that are there, in
 * place of the column's index of that name (`<column>_idx`). LH_INVALID for another type. */
bool lance_index_scalar(LanceTable *table, Str column, const LanceWatch *watch, Err *err);

typedef struct LanceKey {
    LanceKind kind; /* the column's: INT, UINT, FLOAT, TEXT */
    union {
        int64_t integer;
        uint64_t natural;
        double real; /* a float column is compared as floats */
        Str text;
    };
} LanceKey;
/* The rows whose column is equal to the key, ascending, into the arena; by the column's btree where
 * it covers them, else one by one. LH_INVALID when the key is of another kind than the column. */
bool lance_find(LanceTable *table, Str column, const LanceKey *key, Arena *arena, uint64_t **out,
                size_t *count, Err *err);

/* For people: versions, fragments, files with the encoding of each page, indexes. */
bool lance_inspect(LanceTable *table, Text *out, Err *err);
