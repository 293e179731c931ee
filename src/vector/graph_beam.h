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

/* The best `cap` spots, best first. No score is NaN. */
typedef struct Beam {
    Spot *spots;
    size_t count, cap, room;
} Beam;

static inline float beam_worst(const Beam *beam) {
    return beam->count == beam->cap ? beam->spots[beam->count - 1].score : -__builtin_inff();
}

/* How many spots are no worse than a score. Halves without a branch, which would be guessed wrong
 * every other time. */
static inline size_t beam_place(const Beam *beam, float score) {
    const Spot *from = beam->spots;
    size_t len = beam->count;
    for (; len > 1; len -= len / 2) from += (from[len / 2 - 1].score >= score) * (len / 2);
    return (size_t)(from - beam->spots) + (len == 1 && from->score >= score);
}

/* Puts a spot into a short list, best first, if it is better than `worst`. */
static inline void spots_add(Spot *spots, size_t *count, Spot spot, float worst) {
    size_t at = *count;
    if (!(spot.score > worst)) return;
    for (; at > 0 && spots[at - 1].score < spot.score; at--) spots[at] = spots[at - 1];
    spots[at] = spot;
    ++*count;
}

/* Puts spots, the best first, where they belong. Places are looked for before anything moves, which
 * lets the CPU look for several at once; then each part of the beam moves once. Returns the place
 * of the best; cap: it is no better than a full beam. */
static inline size_t beam_add(Beam *beam, const Spot *spots, size_t count) {
    size_t places[BATCH], end = beam->count;
    for (size_t i = 0; i < count; i++) places[i] = beam_place(beam, spots[i].score);
    for (size_t i = count; i-- > 0; end = places[i]) {
        Spot *at = beam->spots + places[i];
        size_t room = beam->cap - MIN(places[i] + i, beam->cap);
        if (room == 0) continue;
        memmove(at + i + 1, at, MIN(end - places[i], room - 1) * sizeof *at);
        at[i] = spots[i];
    }
    beam->count = MIN(beam->count + count, beam->cap);
    return end;
}

struct GraphScratch {
    uint64_t *seen; /* a bit for each node */
    size_t seen_words;
    uint32_t *touched; /* nodes whose bit is set, so that clearing costs what the walk cost */
    size_t touched_count, touched_cap;
    CodeQuery query;
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
