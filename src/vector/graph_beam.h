/* Internal to searches of the graph: the memory they keep, and sorted lists of nodes. */
#pragma once

#include "vector/graph.h"

#include <string.h>

#define STARTS 4                  /* entry points to walk on from */
#define BATCH (2 * GRAPH_M_MAX)   /* nodes scored at once at most */
#define SPOT_EXPANDED 0x80000000u /* nodes are below GRAPH_ROWS_MAX, which leaves the bit free */

typedef struct Spot {
    float score; /* estimated similarity, less the query's shift */
    uint32_t node;
} Spot;

/* The best `cap` spots, best first. */
typedef struct Beam {
    Spot *spots;
    size_t count, cap, room;
} Beam;

static inline float beam_worst(const Beam *beam) {
    return beam->count == beam->cap ? beam->spots[beam->count - 1].score : -__builtin_inff();
}

/* Puts a spot where it belongs; returns its place, or cap when it is worse than a full beam. */
static inline size_t beam_add(Beam *beam, Spot spot) {
    size_t low = 0, high = beam->count;
    if (high == beam->cap && spot.score <= beam->spots[high - 1].score) return beam->cap;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (beam->spots[middle].score >= spot.score)
            low = middle + 1;
        else
            high = middle;
    }
    size_t last = MIN(beam->count, beam->cap - 1);
    memmove(beam->spots + low + 1, beam->spots + low, (last - low) * sizeof spot);
    beam->spots[low] = spot;
    beam->count = last + 1;
    return low;
}

struct GraphScratch {
    uint64_t *seen; /* a bit for each node */
    size_t seen_words;
    uint32_t *touched; /* nodes whose bit is set, so that clearing costs what the walk cost */
    size_t touched_count, touched_cap;
    CodeQuery query;
    size_t padded;
    Beam beam;  /* where to walk on from */
    Beam found; /* what may be answered, where that is not the beam */
};

/* Makes everything ready for a query of this graph. */
void scratch_set(GraphScratch *scratch, const Graph *graph, const float *vector);
void beam_set(Beam *beam, size_t cap); /* empty, with room for cap */
/* The best entry points by their signs, best first; returns how many. */
size_t graph_starts(const Graph *graph, const GraphScratch *scratch, uint32_t starts[STARTS]);
/* The k best of these by their vectors, read from the best estimate on until none can win. */
size_t graph_rerank(const Graph *graph, const float *vector, const CodeQuery *query,
                    const Beam *beam, size_t k, Hit *hits);
