/* The walk: score the entry points, keep the `ef` best nodes seen in a sorted beam, expand the best
 * one not yet expanded until none is left (Malkov and Yashunin, algorithm 2). A node is scored by
 * its signs first; only when that estimate and one standard error beat the worst of the beam by its
 * 4-bit code; only what is answered by its vector (graph_rerank). Memory is asked for ahead of use:
 * what a walk costs is waiting for it.
 *
 * Under a filter the beam holds any node, a second list those that may be answered. Where so few
 * are left that the walk would meet more nodes than there are, or where the walk found too few, all
 * codes are passed over instead.
 */
#include "vector/graph_beam.h"

#include <stdlib.h>

#define SIGMA 1       /* standard errors that an estimate by signs is given */
#define WALK_NODES 24 /* scored for each place in the beam, about */

typedef struct Walk {
    const Graph *graph;
    const RowSet *allowed;
    GraphScratch *scratch;
    size_t record_size, fine_size;
    size_t next; /* place in the beam: nothing before it is left to expand */
} Walk;

static const uint8_t *record_of(const Walk *w, uint32_t node) {
    return w->graph->records + node * w->record_size;
}

static void prefetch(const void *memory, size_t size) {
    for (size_t i = 0; i < size; i += 64) __builtin_prefetch((const char *)memory + i);
}

/* The node counts as seen from now on. Returns whether it did not. */
static bool see(GraphScratch *s, uint32_t node) {
    uint64_t word = s->seen[node / 64], bit = (uint64_t)1 << (node % 64);
    s->seen[node / 64] = word | bit;
    return !(word & bit);
}

static void touched_add(GraphScratch *s, const uint32_t *nodes, size_t count) {
    if (s->touched_count + count > s->touched_cap) {
        s->touched_cap = (s->touched_count + count) * 2;
        s->touched = realloc(s->touched, s->touched_cap * sizeof *s->touched);
        if (!s->touched) abort();
    }
    memcpy(s->touched + s->touched_count, nodes, count * sizeof *nodes);
    s->touched_count += count;
}

/* Those of the nodes that were not seen before; returns how many. Which these are follows no
 * pattern: no branches. */
static size_t see_all(const Walk *w, const uint32_t *nodes, size_t count, uint32_t *fresh) {
    GraphScratch *s = w->scratch;
    size_t fresh_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (nodes[i] >= w->graph->vectors.count) continue;
        fresh[fresh_count] = nodes[i];
        fresh_count += see(s, nodes[i]);
    }
    touched_add(s, fresh, fresh_count);
    return fresh_count;
}

static bool may_answer(const Walk *w, uint32_t node) {
    uint32_t row = w->graph->rows[node];
    return row < w->graph->vectors.count && rowset_has(w->allowed, row);
}

/* Scores by signs; nodes[] keeps those that may beat `worst`, most[] what each may score. Returns
 * how many. What is kept follows no pattern: a branch on it would cost more than the score. */
static size_t sift(const Walk *w, uint32_t *nodes, size_t count, float worst, float *most) {
    const GraphScratch *s = w->scratch;
    size_t padded = s->padded, kept = 0;
    uint32_t sums[BATCH];
    kernels()->bit_sums(w->graph->records, w->record_size, nodes, count, s->query.planes,
                        padded / 64, sums);
    for (size_t i = 0; i < count; i++) {
        CodeFactors f = *code_factors(record_of(w, nodes[i]), padded);
        f.centroid %= CODE_CENTROIDS; /* the file may say anything */
        most[kept] = code_estimate(&s->query, &f, sums[i]) + SIGMA * code_error(&s->query, &f);
        nodes[kept] = nodes[i];
        kept += most[kept] > worst;
    }
    for (size_t i = 0; i < kept; i++)
        prefetch(w->graph->fine + nodes[i] * w->fine_size, w->fine_size);
    return kept;
}

static float fine_score(const Walk *w, uint32_t node) {
    const GraphScratch *s = w->scratch;
    CodeFactors f = *code_factors(record_of(w, node), s->padded);
    f.centroid %= CODE_CENTROIDS;
    int32_t product =
        kernels()->dot_u4(w->graph->fine + node * w->fine_size, s->query.bytes, s->padded);
    return code_fine_estimate(&s->query, &f, product);
}

/* What a node must beat to be of use. */
static float walk_worst(const Walk *w) {
    float worst = beam_worst(&w->scratch->beam);
    return w->allowed ? MIN(worst, beam_worst(&w->scratch->found)) : worst;
}

/* Scores nodes and puts them where they belong. */
static void walk_visit(Walk *w, uint32_t *nodes, size_t count) {
    GraphScratch *s = w->scratch;
    float most[BATCH];
    count = sift(w, nodes, count, walk_worst(w), most);
    for (size_t i = 0; i < count; i++) {
        if (most[i] <= walk_worst(w)) continue; /* which has risen since */
        Spot spot = {fine_score(w, nodes[i]), nodes[i]};
        size_t at = beam_add(&s->beam, spot);
        if (at < s->beam.cap) {
            w->next = MIN(w->next, at);
            prefetch(w->graph->links + nodes[i] * w->graph->degree,
                     w->graph->degree * sizeof(uint32_t));
        }
        if (w->allowed && may_answer(w, nodes[i])) beam_add(&s->found, spot);
    }
}

/* Asks for the codes of what the next node to expand links to. */
static void look_ahead(const Walk *w) {
    const Beam *beam = &w->scratch->beam;
    size_t next = w->next;
    while (next < beam->count && beam->spots[next].node & SPOT_EXPANDED) next++;
    if (next == beam->count) return;
    const uint32_t *links = w->graph->links + beam->spots[next].node * w->graph->degree;
    for (size_t i = 0; i < w->graph->degree && links[i] < w->graph->vectors.count; i++)
        prefetch(record_of(w, links[i]), w->record_size);
}

static void walk_visit_unseen(Walk *w, const uint32_t *nodes, size_t count) {
    uint32_t fresh[BATCH];
    count = see_all(w, nodes, count, fresh);
    for (size_t i = 0; i < count; i++) prefetch(record_of(w, fresh[i]), w->record_size);
    look_ahead(w);
    walk_visit(w, fresh, count);
}

static void walk_on(Walk *w) {
    Beam *beam = &w->scratch->beam;
    for (w->next = 0; w->next < beam->count;) {
        uint32_t node = beam->spots[w->next].node;
        if (!(node & SPOT_EXPANDED)) {
            beam->spots[w->next].node |= SPOT_EXPANDED;
            walk_visit_unseen(w, w->graph->links + node * w->graph->degree, w->graph->degree);
        } else {
            w->next++;
        }
    }
}

/* Where the best entries' surroundings do not fill the beam, the others are entered as well. */
static void walk(Walk *w) {
    const Graph *graph = w->graph;
    uint32_t starts[STARTS];
    walk_visit_unseen(w, starts, graph_starts(graph, w->scratch, starts));
    walk_on(w);
    if (w->scratch->beam.count == w->scratch->beam.cap) return;
    for (size_t at = 0; at < graph->entry_count; at += BATCH)
        walk_visit_unseen(w, graph->entries + at, MIN(BATCH, graph->entry_count - at));
    walk_on(w);
}

/* Every allowed node, in the order of memory. */
static void pass_over(Walk *w) {
    GraphScratch *s = w->scratch;
    uint32_t nodes[64];
    float most[64];
    s->found.count = 0;
    for (size_t from = 0; from < w->graph->vectors.count; from += 64) {
        size_t to = MIN(from + 64, w->graph->vectors.count), count = 0;
        for (size_t node = from; node < to; node++)
            if (may_answer(w, (uint32_t)node)) nodes[count++] = (uint32_t)node;
        count = sift(w, nodes, count, beam_worst(&s->found), most);
        for (size_t i = 0; i < count; i++)
            beam_add(&s->found, (Spot){fine_score(w, nodes[i]), nodes[i]});
    }
}

size_t graph_search(const Graph *graph, const GraphQuery *query, GraphScratch *scratch, Hit *hits) {
    size_t count = graph->vectors.count, k = MIN(query->k, count), ef = MAX(query->ef, k);
    size_t allowed = query->allowed ? query->allowed->count : count;
    if (k == 0 || allowed == 0) return 0;
    Walk w = {.graph = graph,
              .allowed = query->allowed,
              .scratch = scratch,
              .record_size = code_record_size(graph->model->padded),
              .fine_size = code_fine_size(graph->model->padded)};
    scratch_set(scratch, graph, query->vector);
    size_t wide = (size_t)((double)ef * (double)count / (double)allowed);
    beam_set(&scratch->beam, MIN(wide, count));
    beam_set(&scratch->found, MIN(ef, count));
    bool pass = query->allowed && wide * WALK_NODES > allowed;
    if (!pass) walk(&w);
    /* The walk stayed where the filter lets little through: what it allows is elsewhere. */
    if (query->allowed && scratch->found.count < MIN(scratch->found.cap, allowed)) pass = true;
    if (pass) pass_over(&w);
    return graph_rerank(graph, query->vector, &scratch->query,
                        query->allowed ? &scratch->found : &scratch->beam, k, hits);
}
