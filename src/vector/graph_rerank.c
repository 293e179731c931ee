/* The last step of a search: full precision for the few that are answered. Also exact search, and
 * the memory that searches keep. */
#include "vector/graph_beam.h"

#include <stdlib.h>

#define ERRORS 3 /* standard errors that a 4-bit estimate is trusted to be within */
#define PREFETCH 4

static bool better(Hit a, Hit b) {
    return a.score > b.score || (a.score == b.score && a.row < b.row);
}

void hits_add(Hit *hits, size_t *count, size_t k, Hit hit) {
    if (k == 0 || (*count == k && !better(hit, hits[k - 1]))) return;
    size_t low = 0, high = *count, last = MIN(*count, k - 1);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (better(hits[middle], hit))
            low = middle + 1;
        else
            high = middle;
    }
    memmove(hits + low + 1, hits + low, (last - low) * sizeof *hits);
    hits[low] = hit;
    *count = last + 1;
}

static void prefetch_vector(const Graph *graph, uint32_t node) {
    uint32_t row = graph->rows[node];
    if (row >= graph->vectors.count) return;
    const float *x = vectors_row(&graph->vectors, row);
    for (size_t i = 0; i < graph->vectors.stride; i += 16) __builtin_prefetch(x + i);
}

static bool can_win(const Graph *graph, const CodeQuery *query, Spot spot, float worst) {
    size_t padded = graph->model->padded;
    const CodeFactors *f = code_factors(
        graph->records + (spot.node & ~SPOT_EXPANDED) * code_record_size(padded), padded);
    return spot.score + query->shift + ERRORS * code_fine_error(query, f) > worst;
}

size_t graph_rerank(const Graph *graph, const float *vector, const CodeQuery *query,
                    const Beam *beam, size_t k, Hit *hits) {
    const Spot *spots = beam->spots;
    size_t found = 0;
    for (size_t i = 0; i < MIN(beam->count, PREFETCH); i++)
        prefetch_vector(graph, spots[i].node & ~SPOT_EXPANDED);
    for (size_t i = 0; i < beam->count; i++) {
        if (found == k && !can_win(graph, query, spots[i], hits[k - 1].score)) break;
        if (i + PREFETCH < beam->count && i < k + PREFETCH)
            prefetch_vector(graph, spots[i + PREFETCH].node & ~SPOT_EXPANDED);
        uint32_t row = graph->rows[spots[i].node & ~SPOT_EXPANDED];
        if (row >= graph->vectors.count) continue;
        hits_add(hits, &found, k, (Hit){row, vectors_similarity(&graph->vectors, vector, row)});
    }
    return found;
}

size_t exact_search(const Vectors *vectors, const float *query, size_t k, const RowSet *allowed,
                    Hit *hits) {
    size_t count = 0;
    for (size_t row = 0; row < vectors->count; row++)
        if (rowset_has(allowed, row))
            hits_add(hits, &count, k,
                     (Hit){(uint32_t)row, vectors_similarity(vectors, query, row)});
    return count;
}

GraphScratch *graph_scratch_open(void) {
    GraphScratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch) abort();
    return scratch;
}

void graph_scratch_close(GraphScratch **scratch) {
    if (!*scratch) return;
    free((*scratch)->seen);
    free((*scratch)->touched);
    free((*scratch)->beam.spots);
    free((*scratch)->found.spots);
    code_query_close(&(*scratch)->query);
    free(*scratch);
    *scratch = NULL;
}

void beam_set(Beam *beam, size_t cap) {
    beam->count = 0;
    beam->cap = cap;
    if (beam->room >= cap) return;
    beam->room = cap;
    beam->spots = realloc(beam->spots, beam->room * sizeof *beam->spots);
    if (!beam->spots) abort();
}

static void seen_clear(GraphScratch *s, size_t nodes) {
    size_t words = nodes / 64 + 1;
    for (size_t i = 0; i < s->touched_count; i++) s->seen[s->touched[i] / 64] = 0;
    s->touched_count = 0;
    if (words <= s->seen_words) return;
    free(s->seen);
    s->seen_words = words;
    s->seen = calloc(words, sizeof *s->seen);
    if (!s->seen) abort();
}

void scratch_set(GraphScratch *scratch, const Graph *graph, const float *vector) {
    size_t padded = graph->model->padded;
    seen_clear(scratch, graph->vectors.count);
    if (padded != scratch->query.padded) {
        code_query_close(&scratch->query);
        code_query_open(&scratch->query, padded);
    }
    code_query_set(graph->model, vector, &scratch->query);
}
