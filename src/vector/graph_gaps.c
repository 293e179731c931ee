/* Last step of the build: how much farther the j-th nearest of a row is than its nearest, over a
 * sample of rows. From this a search knows how much farther than a k-th an ef-th is on average, and
 * spends on each query what that takes (graph_search.c). The idea is that of distance-adaptive beam
 * search (Al-Jazzazi et al., 2025), here by differences, and as much work as `ef` says. */
#include "vector/graph_beam.h"
#include "vector/graph_build.h"

#include <stdlib.h>

#define SAMPLE 64

static const size_t ranks[GRAPH_GAPS] = {1,  2,  3,  4,   6,   8,   12,  16,  24,  32,
                                         48, 64, 96, 128, 192, 256, 384, 512, 768, 1024};
#define RANK_MAX 1024

bool graph_gaps_check(const float *gaps) {
    float last = 0;
    for (size_t i = 0; i < GRAPH_GAPS; last = gaps[i++])
        if (!(gaps[i] >= last)) return false;
    return true;
}

static float gap_at(const float *gaps, size_t rank) {
    size_t i = 0;
    while (i + 1 < GRAPH_GAPS && ranks[i + 1] < rank) i++;
    if (i + 1 == GRAPH_GAPS) return INFINITY;
    float share = (float)(rank - ranks[i]) / (float)(ranks[i + 1] - ranks[i]);
    return share > 0 ? gaps[i] + share * (gaps[i + 1] - gaps[i]) : gaps[i];
}

float graph_gap(const float *gaps, size_t from, size_t to) {
    float far = gap_at(gaps, to);
    return far < INFINITY ? far - gap_at(gaps, from) : INFINITY;
}

typedef struct Sample {
    Builder *builder;
    Graph graph;
    float *gaps; /* GRAPH_GAPS of each row */
} Sample;

static bool has_distances(const Vectors *vectors, const float *row) {
    return vectors->l2 || fabsf(kernels()->dot(row, row, vectors->stride) - 1) < 0.01F;
}

/* By the estimates that searches go by: the k-th best of them looks nearer than a k-th is. The row
 * itself is not among its nearest. */
static void measure_row(const Sample *sample, size_t row, GraphScratch *scratch, float *gaps) {
    const Graph *graph = &sample->graph;
    const Beam *beam = &scratch->beam;
    GraphQuery query = {vectors_row(&graph->vectors, row), 1, RANK_MAX + 1, NULL};
    float nearest = 0;
    Hit hit;
    graph_search(graph, &query, scratch, &hit);
    bool known = has_distances(&graph->vectors, query.vector);
    for (size_t i = 0, rank = 0, at = 0; i < GRAPH_GAPS; i++) {
        while (at < beam->count && rank < ranks[i])
            rank += graph->rows[beam->spots[at++].node & ~SPOT_EXPANDED] != row;
        gaps[i] = INFINITY;
        if (!known || rank < ranks[i]) continue;
        float distance =
            vectors_distance(&graph->vectors, beam->spots[at - 1].score + scratch->query.shift);
        if (i == 0) nearest = distance;
        gaps[i] = distance - nearest;
    }
}

static void measure_range(void *context, size_t from, size_t to) {
    const Sample *sample = context;
    Builder *b = sample->builder;
    GraphScratch *scratch = graph_scratch_open();
    for (size_t i = from; i < to && !builder_cancelled(b); i++)
        measure_row(sample, i * b->count / SAMPLE, scratch, sample->gaps + i * GRAPH_GAPS);
    graph_scratch_close(&scratch);
}

void builder_measure_gaps(Builder *b) {
    Sample sample = {.builder = b,
                     .graph = graph_of(b->parts, &b->options->vectors),
                     .gaps = calloc(SAMPLE * GRAPH_GAPS, sizeof *sample.gaps)};
    if (!sample.gaps) abort();
    parallel_for(b->options->threads, SAMPLE, 4, measure_range, &sample);
    for (size_t i = 0; i < GRAPH_GAPS; i++) {
        double sum = 0;
        for (size_t row = 0; row < SAMPLE; row++) sum += sample.gaps[row * GRAPH_GAPS + i];
        b->parts->gaps[i] = (float)(sum / SAMPLE);
    }
    free(sample.gaps);
}
