/* A proximity graph over vectors: one flat layer of fixed degree with many entry points, built by
 * partitions instead of one insertion after another (graph_build.c), walked by a beam over short
 * codes (graph_search.c). `m`, `ef_construction` and `ef` keep the meaning they have in HNSW
 * (Malkov and Yashunin, 2018): degree, effort of the build, width of the walk.
 *
 * The graph numbers rows anew, so that neighbours lie near one another in memory: a node is a
 * position in links and codes, graph->rows[node] is its row among the vectors. */
#pragma once

#include "vector/codes.h"

#include "base/base.h"

#include <math.h>

#define GRAPH_NONE UINT32_MAX /* an empty slot among a node's links */
#define GRAPH_M_MAX 128
#define GRAPH_ROWS_MAX 100000000u
#define GRAPH_GAPS 20
/* Products of vectors that are no longer, squared distances and sums of them are finite floats. */
#define VECTOR_LENGTH_MAX 1e15

typedef struct Vectors {
    const float *data; /* count rows of stride floats, zeros beyond dimensions */
    size_t count, dimensions, stride;
    bool l2; /* similarity is -distance^2 / 2, else the dot product */
} Vectors;

static inline const float *vectors_row(const Vectors *vectors, size_t row) {
    return vectors->data + row * vectors->stride;
}
static inline float vectors_similarity(const Vectors *vectors, const float *query, size_t row) {
    const float *x = vectors_row(vectors, row);
    return vectors->l2 ? kernels()->distance2(query, x, vectors->stride) / -2
                       : kernels()->dot(query, x, vectors->stride);
}
/* Between similarity and distance; of products, of vectors of length 1. */
static inline float vectors_distance(const Vectors *vectors, float similarity) {
    return sqrtf(2 * MAX((vectors->l2 ? 0 : 1) - similarity, 0));
}
static inline float vectors_similarity_at(const Vectors *vectors, float distance) {
    return (vectors->l2 ? 0 : 1) - distance * distance / 2;
}

/* Borrowed, from a build's parts or from a mapped file. Nothing here is believed: links, entries
 * and rows are checked against the count as they are followed. */
typedef struct Graph {
    Vectors vectors;
    const CodeModel *model;
    const uint32_t *rows;    /* by node */
    const uint32_t *links;   /* by node: degree of them */
    const uint32_t *entries; /* nodes */
    const uint8_t *records;  /* by node: codes.h */
    const uint8_t *fine;     /* by node */
    const float *gaps;       /* GRAPH_GAPS */
    size_t degree, entry_count;
    /* By centroid: where its entries begin. Those behind the last group are begun from always. */
    size_t groups[CODE_CENTROIDS + 1];
} Graph;

/* Gaps: how much farther a row's j-th nearest is than its nearest, for some ranks j up to 1,024;
 * the mean over a sample of rows. Infinite where rows are too few, and where similarity is a
 * product of vectors whose length is not 1: such have no distance. */
float graph_gap(const float *gaps, size_t from, size_t to); /* between ranks, in order */
bool graph_gaps_check(const float *gaps);                   /* none is less than the one before */

/* Fills groups from the entries, as far as these are in the order of centroids. */
void graph_group_entries(Graph *graph);

static inline size_t graph_degree(int m) {
    return (size_t)m * 2;
}

typedef struct GraphBuild {
    Vectors vectors;
    int m, ef_construction, threads;
    bool (*cancelled)(void *context);
    void (*progress)(void *context, double share); /* 0 to 1; NULL: nobody asks */
    void *context;
} GraphBuild;

/* What a build made; owned until graph_parts_close. */
typedef struct GraphParts {
    CodeModel model;
    uint32_t *rows, *links, *entries;
    uint8_t *records, *fine;
    float gaps[GRAPH_GAPS];
    size_t count, degree, entry_count;
} GraphParts;

/* The same for the same vectors whatever the number of threads. LH_CANCELLED when asked to stop.
 * LH_IMPOSSIBLE "vector_too_long": beyond VECTOR_LENGTH_MAX, or not finite. Beside the vectors it
 * needs graph_build_bytes. */
bool graph_build(const GraphBuild *build, GraphParts *out, Err *err);
void graph_parts_close(GraphParts *parts);
Graph graph_of(const GraphParts *parts, const Vectors *vectors);
/* The most memory that a build of this size has at a time, what it leaves included. */
int64_t graph_build_bytes(size_t count, size_t dimensions, int m, int ef_construction);

typedef struct Hit {
    uint32_t row; /* of the vectors */
    float score;  /* similarity, see Vectors */
} Hit;

/* Rows that may be answered, a bit each. NULL: all. */
typedef struct RowSet {
    uint64_t *bits;
    size_t count; /* bits that are set */
} RowSet;
static inline bool rowset_has(const RowSet *set, size_t row) {
    return !set || (set->bits[row / 64] >> (row % 64) & 1);
}
static inline void rowset_add(RowSet *set, size_t row) {
    uint64_t bit = (uint64_t)1 << (row % 64);
    set->count += !(set->bits[row / 64] & bit);
    set->bits[row / 64] |= bit;
}
static inline bool rowset_remove(RowSet *set, size_t row) { /* whether it was there */
    uint64_t bit = (uint64_t)1 << (row % 64);
    bool was = set->bits[row / 64] & bit;
    set->bits[row / 64] &= ~bit;
    set->count -= was;
    return was;
}

typedef struct GraphQuery {
    const float *vector; /* vectors.stride floats */
    size_t k, ef;
    const RowSet *allowed;
} GraphQuery;

/* Memory of a walk, kept from query to query; one thread at a time. */
typedef struct GraphScratch GraphScratch;
GraphScratch *graph_scratch_open(void);
void graph_scratch_close(GraphScratch **scratch);

/* Up to k rows, best first, into hits: a beam of width ef (at least k) walks the graph, or, where
 * `allowed` leaves so few that this is cheaper, passes over all codes. Without `allowed` the beam
 * widens where rows crowd, up to three times. */
size_t graph_search(const Graph *graph, const GraphQuery *query, GraphScratch *scratch, Hit *hits);
/* The k best rows of all (or all allowed), exactly, best first. */
size_t exact_search(const Vectors *vectors, const float *query, size_t k, const RowSet *allowed,
                    Hit *hits);
/* Keeps hits[0..*count) the k best, sorted; equal scores in order of row. */
void hits_add(Hit *hits, size_t *count, size_t k, Hit hit);
