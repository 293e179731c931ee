/* A proximity graph over vectors: one flat layer of fixed degree with many entry points, built by
 * partitions instead of one insertion after another (graph_build.c), walked by a beam
 * (graph_search.c). `m`, `ef_construction` and `ef` keep the meaning they have in HNSW (Malkov and
 * Yashunin, 2018): degree, effort of the build, width of the walk.
 *
 * Similarity of a query q to a row x is dot(q, x) - bias[x]: with bias 0 the dot product (the
 * cosine when both have length 1), with bias |x|^2/2 the order of the L2 distance. */
#pragma once

#include "base/base.h"

#define GRAPH_NONE UINT32_MAX /* an empty slot among a row's links */
#define GRAPH_M_MAX 128
#define GRAPH_ROWS_MAX 100000000u

typedef struct Vectors {
    const float *data; /* count rows of stride floats; 64-byte aligned */
    const float *bias; /* count */
    size_t count, stride;
} Vectors;

static inline const float *vectors_row(const Vectors *vectors, size_t row) {
    return vectors->data + row * vectors->stride;
}

typedef struct Graph {
    Vectors vectors;
    const uint32_t *links; /* count rows of degree */
    const uint32_t *entries;
    size_t degree, entry_count;
} Graph;

typedef struct GraphBuild {
    Vectors vectors;
    int m, ef_construction, threads;
    bool (*cancelled)(void *context);
    void *context;
} GraphBuild;

static inline size_t graph_degree(int m) {
    return (size_t)m * 2;
}
/* Fills links (count * graph_degree(m)) and appends the entry points (uint32_t) to *entries. The
 * same for the same vectors whatever the number of threads. LH_CANCELLED when asked to stop.
 * Needs about count * 700 bytes beside the vectors. */
bool graph_build(const GraphBuild *build, uint32_t *links, Text *entries, Err *err);

typedef struct Hit {
    uint32_t row;
    float score; /* similarity, see above */
} Hit;

/* Rows that may be answered, a bit each. NULL: all. */
typedef struct RowSet {
    uint64_t *bits;
    size_t count; /* bits that are set */
} RowSet;
static inline bool rowset_has(const RowSet *set, size_t row) {
    return !set || (set->bits[row / 64] >> (row % 64) & 1);
}

/* Memory of a walk, kept from query to query; one thread at a time. */
typedef struct GraphScratch GraphScratch;
GraphScratch *graph_scratch_open(size_t rows);
void graph_scratch_close(GraphScratch **scratch);

/* The up to `ef` best rows found by a beam of width ef, best first, into hits (room for ef).
 * `query` has the vectors' stride. */
size_t graph_search(const Graph *graph, const float *query, size_t ef, const RowSet *allowed,
                    GraphScratch *scratch, Hit *hits);
/* The k best rows of all (or all allowed), exactly, best first. */
size_t exact_search(const Vectors *vectors, const float *query, size_t k, const RowSet *allowed,
                    Hit *hits);
/* Keeps hits[0..*count) the k best, sorted; equal scores in order of row. */
void hits_add(Hit *hits, size_t *count, size_t k, Hit hit);
