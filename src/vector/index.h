/* What a backend of vectors must provide. Everything above (search, and later eval, trials, moves)
 * is written against this table. Thread rule: an opened Index is searched from any thread. */
#pragma once

#include "vector/config.h"
#include "vector/graph.h"

#include "base/base.h"

typedef enum Metric { METRIC_COSINE, METRIC_L2, METRIC_DOT } Metric;
extern const char *const metric_names[]; /* "cosine", "l2", "dot" */
Metric metric_of(Str name);              /* of a name that an option's choices checked */
/* LH_INVALID "wrong_type"; LH_IMPOSSIBLE "vector_too_long", which none is for the cosine. */
bool metric_check(Metric metric, const float *vector, size_t dimensions, Err *err);
/* The same, and makes it what a vector of this metric is stored and asked as: of length 1 for the
 * cosine. */
bool metric_prepare(Metric metric, float *vector, size_t dimensions, Err *err);
/* What a client sees of a hit: the cosine, the dot product, or minus the L2 distance, which is
 * taken again from the vector because the similarity that ranks is a difference of large numbers.
 */
double metric_score(Metric metric, float similarity, const float *query, const float *vector,
                    size_t dimensions);

typedef struct Index Index;

typedef struct SearchParams {
    size_t k, ef;             /* ef: of backend "parquet" */
    uint32_t nprobes, refine; /* of backend "lance"; 0: its own */
    const RowSet *allowed;    /* NULL: all rows */
    bool exact;
} SearchParams;

/* The same rows by another configuration, into a file that does not exist yet. */
typedef struct IndexRewrite {
    const IndexConfig *config;
    const char *path;
    bool (*cancelled)(void *context);
    void *context;
} IndexRewrite;

typedef struct IndexOps {
    const char *name; /* the vector_backend it serves */
    bool in_memory;   /* a search reads no file, once it has been asked for a while */
    /* Into rewrite->path. NULL: a build is no file but a version, see `commit`. */
    bool (*rewrite)(const Index *index, const IndexRewrite *rewrite, Err *err);
    bool (*commit)(const Index *index, const IndexRewrite *rewrite, uint64_t *version, Err *err);
    /* To be measured and closed; nothing is left of it. */
    bool (*variant)(const Index *index, const IndexRewrite *rewrite, Index **out, Err *err);
    /* Up to k best rows, best first, into hits; query is prepared and has index->stride floats. */
    bool (*search)(Index *index, const float *query, const SearchParams *params, Hit *hits,
                   size_t *count, Err *err);
    Str (*id)(const Index *index, size_t row); /* the doc_id; empty when the file is corrupt */
    Str (*text)(const Index *index, size_t row);
    const float *(*vector)(const Index *index, size_t row); /* index->stride floats */
    uint32_t (*chunk)(const Index *index, size_t row);
    /* The rows of a document, ascending, into the arena. NULL: a DocTable has to find them. */
    bool (*rows_of)(const Index *index, Str doc_id, Arena *arena, uint32_t **rows, size_t *count,
                    Err *err);
    Bytes (*embedder)(const Index *index); /* statistics for embedder_load; may be empty */
    int64_t (*memory_bytes)(const Index *index);
    void (*close)(Index *index);
} IndexOps;

struct Index { /* first member of a backend */
    const IndexOps *ops;
    size_t count, dimensions, stride;
};

void index_close(Index **index);
/* backend "parquet": an index file (index_file.h), mapped. */
bool index_hnsw_open(const char *path, Index **out, Err *err);
