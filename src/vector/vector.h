/* Vector indexes over datasets: chunk, embed, store, build, search. Everything here is written
 * against IndexOps (index.h); the one resolver from a name to an opened backend is indexes_find.
 * Thread safe: readers of an index never wait for its builder. */
#pragma once

#include "ai/ai.h"
#include "catalog/catalog.h"
#include "query/query.h"
#include "storage/storage.h"

#include "base/base.h"

#define VECTOR_K_MAX 10000
#define VECTOR_EF_MAX 100000

typedef struct Indexes Indexes;

typedef struct IndexSpec { /* POST /vectors/indexes; see index_options for defaults and limits */
    Str index, dataset, id_column, text_column, vector_column, model, bucket, vector_backend,
        metric;
    const Json *chunk; /* {"size","overlap"} */
    int64_t m, ef_construction;
} IndexSpec;
extern const Option index_options[];

/* Scans every bucket for indexes and maps their champions; a broken one is kept and says why. */
bool indexes_open(Buckets *buckets, Catalog *catalog, Engine *engine, Indexes **out, Err *err);
void indexes_close(Indexes **indexes);
/* The most memory that building one graph may take; half of the machine's when it is not called.
 * Before builds start. */
void indexes_limit_build(Indexes *indexes, int64_t bytes_max);

/* Checks what can be checked at once, so that a bad request is answered before a job starts. */
bool index_check(Indexes *indexes, const IndexSpec *spec, Err *err);
/* The whole build; runs inside a job. *result gets the index's JSON. */
bool index_create(Indexes *indexes, const IndexSpec *spec, Job *job, Text *result, Err *err);
bool index_drop(Indexes *indexes, Str name, Err *err);
bool indexes_write(Indexes *indexes, JsonWriter *w, Err *err);
bool index_write(Indexes *indexes, Str name, JsonWriter *w, Err *err);
bool indexes_bucket_in_use(Indexes *indexes, Str bucket, Err *err);
/* The names of the indexes that a dataset feeds. */
void indexes_of_dataset(Indexes *indexes, Str dataset, Arena *arena, Str **names, size_t *count);

/* Removes files below vectors/ that no index names and that are older than before_ms. */
bool indexes_sweep(Indexes *indexes, Str bucket, int64_t before_ms, int64_t *removed, Err *err);

typedef struct Search { /* POST /vectors/search */
    Str index, query, filter, mode;
    const Json *vector;
    const float *floats; /* a raw body instead of `vector` */
    size_t float_count;
    int64_t k, ef, per_document; /* ef 0: the index's own */
    bool exact, rows;
    bool (*cancelled)(void *context);
    void *context;
} Search;
extern const Option search_options[];
/* *result gets the JSON of API.md "Vectors". LH_IMPOSSIBLE "wrong_dimension" and the like. */
bool index_search(Indexes *indexes, const Search *search, Text *result, Err *err);

bool index_dimensions(Indexes *indexes, Str name, int64_t *out, Err *err);

typedef struct VectorCounts {
    int64_t indexes, searches, memory_bytes;
} VectorCounts;
void indexes_counts(Indexes *indexes, VectorCounts *out);
