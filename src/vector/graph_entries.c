/* Where a walk begins: the entry points of the centroids nearest to the query are scored by their
 * signs, until a share of all is, and those in no group; the best few are walked on from. */
#include "vector/graph_beam.h"

#define SHARE 4 /* one of so many entry points is scored at least */

static size_t centroid_of(const Graph *graph, uint32_t node) {
    size_t padded = graph->model->padded;
    if (node >= graph->vectors.count) return CODE_CENTROIDS;
    return code_factors_centroid(
        code_factors(graph->records + node * code_record_size(padded), padded));
}

void graph_group_entries(Graph *graph) {
    size_t at = 0;
    for (size_t c = 0; c < CODE_CENTROIDS; c++) {
        graph->groups[c] = at;
        while (at < graph->entry_count && centroid_of(graph, graph->entries[at]) == c) at++;
    }
    graph->groups[CODE_CENTROIDS] = at;
}

static void score_some(const Graph *graph, const GraphScratch *s, size_t from, size_t to,
                       Beam *best) {
    size_t count = 0;
    uint32_t nodes[BATCH];
    float scores[BATCH];
    for (; from < to; from++)
        if (graph->entries[from] < graph->vectors.count) nodes[count++] = graph->entries[from];
    if (count == 0) return;
    kernels()->sign_estimates(&s->query, graph->records, nodes, count, 0, scores);
    for (size_t i = 0; i < count; i++)
        if (scores[i] > beam_worst(best)) beam_add(best, &(Spot){scores[i], nodes[i]}, 1);
}

static void score_entries(const Graph *graph, const GraphScratch *s, size_t from, size_t to,
                          Beam *best) {
    for (size_t at = from; at < to; at += BATCH)
        score_some(graph, s, at, MIN(at + BATCH, to), best);
}

static size_t nearest_centroid(const CodeQuery *query, const bool *done) {
    size_t nearest = CODE_CENTROIDS;
    for (size_t c = 0; c < CODE_CENTROIDS; c++)
        if (!done[c] && (nearest == CODE_CENTROIDS || query->far[c] < query->far[nearest]))
            nearest = c;
    return nearest;
}

size_t graph_starts(const Graph *graph, const GraphScratch *s, uint32_t starts[STARTS]) {
    Spot spots[STARTS];
    Beam best = {.spots = spots, .cap = STARTS};
    bool done[CODE_CENTROIDS] = {0};
    size_t scored = 0, grouped = graph->groups[CODE_CENTROIDS];
    size_t enough = (grouped + SHARE - 1) / SHARE;
    score_entries(graph, s, grouped, graph->entry_count, &best);
    while (scored < enough) {
        size_t c = nearest_centroid(&s->query, done);
        size_t from = graph->groups[c], to = graph->groups[c + 1];
        score_entries(graph, s, from, to, &best);
        scored += to - from;
        done[c] = true;
    }
    for (size_t i = 0; i < best.count; i++) starts[i] = spots[i].node;
    return best.count;
}
