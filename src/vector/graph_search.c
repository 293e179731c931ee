/* The walk: score the entry points, keep the `ef` best rows seen in a sorted beam, expand the best
 * one not yet expanded until none is left (Malkov and Yashunin, algorithm 2). Links are checked
 * against the row count as they are followed, for they come from a file. */
#include "vector/graph.h"

#include "vector/kernels.h"

#include <stdlib.h>
#include <string.h>

struct GraphScratch {
    uint64_t *seen;
    size_t word_count;
    uint32_t *touched; /* rows whose bit is set, so that clearing costs what the walk cost */
    size_t touched_count, touched_cap;
    Hit *beam; /* rows to expand from, best first */
    bool *expanded;
    size_t beam_cap;
};

GraphScratch *graph_scratch_open(size_t rows) {
    GraphScratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch) abort();
    scratch->word_count = rows / 64 + 1;
    scratch->seen = calloc(scratch->word_count, sizeof *scratch->seen);
    if (!scratch->seen) abort();
    return scratch;
}

void graph_scratch_close(GraphScratch **scratch) {
    if (!*scratch) return;
    free((*scratch)->seen);
    free((*scratch)->touched);
    free((*scratch)->beam);
    free((*scratch)->expanded);
    free(*scratch);
    *scratch = NULL;
}

static void scratch_reset(GraphScratch *scratch, size_t ef) {
    for (size_t i = 0; i < scratch->touched_count; i++) scratch->seen[scratch->touched[i] / 64] = 0;
    scratch->touched_count = 0;
    if (scratch->beam_cap > ef) return;
    scratch->beam_cap = ef + 1;
    scratch->beam = realloc(scratch->beam, scratch->beam_cap * sizeof *scratch->beam);
    scratch->expanded = realloc(scratch->expanded, scratch->beam_cap * sizeof *scratch->expanded);
    if (!scratch->beam || !scratch->expanded) abort();
}

/* True the first time a row is asked about. */
static bool first_seen(GraphScratch *scratch, uint32_t row) {
    uint64_t bit = (uint64_t)1 << (row % 64);
    if (scratch->seen[row / 64] & bit) return false;
    scratch->seen[row / 64] |= bit;
    if (scratch->touched_count == scratch->touched_cap) {
        scratch->touched_cap = MAX(scratch->touched_cap * 2, 1024);
        scratch->touched =
            realloc(scratch->touched, scratch->touched_cap * sizeof *scratch->touched);
        if (!scratch->touched) abort();
    }
    scratch->touched[scratch->touched_count++] = row;
    return true;
}

static bool better(Hit a, Hit b) {
    return a.score > b.score || (a.score == b.score && a.row < b.row);
}

/* Where `hit` belongs among the sorted hits. */
static size_t place_of(const Hit *hits, size_t count, Hit hit) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (better(hits[middle], hit))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void hits_add(Hit *hits, size_t *count, size_t k, Hit hit) {
    if (k == 0 || (*count == k && !better(hit, hits[k - 1]))) return;
    size_t at = place_of(hits, *count, hit), last = MIN(*count, k - 1);
    memmove(hits + at + 1, hits + at, (last - at) * sizeof *hits);
    hits[at] = hit;
    *count = last + 1;
}

/* Puts a row into the beam; false when it is worse than all of a full one. */
static bool beam_add(GraphScratch *scratch, size_t *count, size_t ef, size_t *next, Hit hit) {
    if (*count == ef && !better(hit, scratch->beam[ef - 1])) return false;
    size_t at = place_of(scratch->beam, *count, hit), last = MIN(*count, ef - 1);
    memmove(scratch->beam + at + 1, scratch->beam + at, (last - at) * sizeof *scratch->beam);
    memmove(scratch->expanded + at + 1, scratch->expanded + at, last - at);
    scratch->beam[at] = hit;
    scratch->expanded[at] = false;
    *count = last + 1;
    *next = MIN(*next, at);
    return true;
}

static float score_of(const Vectors *vectors, const float *query, uint32_t row) {
    return kernels()->dot(query, vectors_row(vectors, row), vectors->stride) - vectors->bias[row];
}

typedef struct Walk {
    const Graph *graph;
    const float *query;
    const RowSet *allowed;
    GraphScratch *scratch;
    Hit *hits;
    size_t ef, beam_count, hit_count, next;
} Walk;

static void walk_visit(Walk *walk, uint32_t row) {
    if (row >= walk->graph->vectors.count || !first_seen(walk->scratch, row)) return;
    Hit hit = {row, score_of(&walk->graph->vectors, walk->query, row)};
    beam_add(walk->scratch, &walk->beam_count, walk->ef, &walk->next, hit);
    if (rowset_has(walk->allowed, row)) hits_add(walk->hits, &walk->hit_count, walk->ef, hit);
}

static void walk_expand(Walk *walk, uint32_t row) {
    const Graph *graph = walk->graph;
    const uint32_t *links = graph->links + (size_t)row * graph->degree;
    for (size_t i = 0; i < graph->degree && links[i] != GRAPH_NONE; i++)
        if (links[i] < graph->vectors.count)
            __builtin_prefetch(vectors_row(&graph->vectors, links[i]));
    for (size_t i = 0; i < graph->degree && links[i] != GRAPH_NONE; i++) walk_visit(walk, links[i]);
}

size_t graph_search(const Graph *graph, const float *query, size_t ef, const RowSet *allowed,
                    GraphScratch *scratch, Hit *hits) {
    Walk walk = {.graph = graph,
                 .query = query,
                 .allowed = allowed,
                 .scratch = scratch,
                 .hits = hits,
                 .ef = ef};
    scratch_reset(scratch, ef);
    for (size_t i = 0; i < graph->entry_count; i++) walk_visit(&walk, graph->entries[i]);
    walk.next = 0;
    while (walk.next < walk.beam_count) {
        if (scratch->expanded[walk.next]) {
            walk.next++;
            continue;
        }
        scratch->expanded[walk.next] = true;
        walk_expand(&walk, scratch->beam[walk.next].row);
    }
    return walk.hit_count;
}

size_t exact_search(const Vectors *vectors, const float *query, size_t k, const RowSet *allowed,
                    Hit *hits) {
    size_t count = 0;
    for (size_t row = 0; row < vectors->count; row++) {
        if (!rowset_has(allowed, row)) continue;
        hits_add(hits, &count, k, (Hit){(uint32_t)row, score_of(vectors, query, (uint32_t)row)});
    }
    return count;
}
