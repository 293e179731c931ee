/* The walk: score the entry points, keep the `ef` best nodes seen in a sorted beam, expand the best
 * one not yet expanded until none is left (Malkov and Yashunin, algorithm 2). A node is scored by
 * its signs first; only when that estimate and one standard error beat the worst of the beam by its
 * 4-bit code; only what is answered by its vector (graph_rerank). Memory is asked for ahead of use:
 * what a walk costs is waiting for it.
 *
 * Queries need beams of unlike width: where rows crowd, many are hardly farther than the answers.
 * So the beam grows beyond `ef`, up to WIDE times, by what is no farther from its k-th best than an
 * ef-th is from a k-th on average (graph_gaps.c).
 *
 * Under a filter the beam holds any node, a second list those that may be answered. Where so few
 * are left that the walk would meet more nodes than there are, or where the walk found too few, all
 * codes are passed over instead.
 */
#include "vector/graph_beam.h"

#include <stdlib.h>

#define SIGMA 1       /* standard errors that an estimate by signs is given */
#define WALK_NODES 24 /* scored for each place in the beam, about */
#define WIDE 3

typedef struct Walk {
    const Graph *graph;
    const RowSet *allowed;
    GraphScratch *scratch;
    size_t record_size, fine_size;
    size_t next; /* place in the beam: nothing before it is left to expand */
    float far;   /* what a node must beat to be expanded */
    size_t k;
    size_t least; /* so many are expanded, however far they are */
    float gap;    /* from the k-th; what is within it is expanded as well, while there is room */
    float length; /* the query's, if similarity is a product */
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

/* What a node must beat to be of use. */
static float walk_worst(const Walk *w) {
    return w->allowed ? MIN(w->far, beam_worst(&w->scratch->found)) : w->far;
}

/* Once the beam changed. */
static void walk_set_far(Walk *w) {
    const Beam *beam = &w->scratch->beam;
    w->far = beam_worst(beam);
    if (beam->cap == w->least || beam->count < w->least) return;
    const Vectors *vectors = &w->graph->vectors;
    float shift = w->scratch->query.shift, similarity = beam->spots[w->k - 1].score + shift;
    float distance = vectors_distance(vectors, similarity / w->length) + w->gap;
    float far = vectors_similarity_at(vectors, distance) * w->length - shift;
    w->far = MAX(w->far, MIN(far, beam->spots[w->least - 1].score));
}

/* Nodes that passed the sift; their fine codes are on the way. */
typedef struct Sifted {
    uint32_t nodes[BATCH];
    size_t count;
} Sifted;

/* Scores by signs; out gets those of the nodes that may beat the worst. What these are follows no
 * pattern: a branch on it would cost more than the score. */
static void sift(const Walk *w, const uint32_t *nodes, size_t count, float worst, Sifted *out) {
    size_t kept = 0;
    float most[BATCH];
    kernels()->sign_estimates(&w->scratch->query, w->graph->records, nodes, count, SIGMA, most);
    for (size_t i = 0; i < count; i++) {
        out->nodes[kept] = nodes[i];
        kept += most[i] > worst;
    }
    for (size_t i = 0; i < kept; i++)
        prefetch(w->graph->fine + out->nodes[i] * w->fine_size, w->fine_size);
    out->count = kept;
}

static void fine_scores(const Walk *w, const Sifted *sifted, float *scores) {
    kernels()->fine_estimates(&w->scratch->query, w->graph->records, w->graph->fine, sifted->nodes,
                              sifted->count, scores);
}

/* Finds the best node not yet expanded, and asks for its links. */
static void walk_choose(Walk *w) {
    const Beam *beam = &w->scratch->beam;
    while (w->next < beam->count && beam->spots[w->next].node & SPOT_EXPANDED) w->next++;
    if (w->next < beam->count && beam->spots[w->next].score < w->far) w->next = beam->count;
    if (w->next < beam->count)
        prefetch(w->graph->links + beam->spots[w->next].node * w->graph->degree,
                 w->graph->degree * sizeof(uint32_t));
}

/* Puts nodes where they belong. */
static void walk_score(Walk *w, const Sifted *sifted) {
    GraphScratch *s = w->scratch;
    Spot spots[BATCH], answers[BATCH];
    float scores[BATCH], worst_answer = beam_worst(&s->found);
    size_t count = 0, answer_count = 0;
    fine_scores(w, sifted, scores);
    for (size_t i = 0; i < sifted->count; i++) {
        uint32_t node = sifted->nodes[i];
        Spot spot = {scores[i], node};
        spots_add(spots, &count, spot, w->far);
        if (w->allowed && may_answer(w, node))
            spots_add(answers, &answer_count, spot, worst_answer);
    }
    size_t best = beam_add(&s->beam, spots, count);
    w->next = MIN(w->next, best);
    walk_set_far(w);
    walk_choose(w);
    beam_add(&s->found, answers, answer_count);
}

/* The unseen ones among nodes; asks for their records. */
static size_t walk_see(const Walk *w, const uint32_t *nodes, size_t count, uint32_t *fresh) {
    count = see_all(w, nodes, count, fresh);
    for (size_t i = 0; i < count; i++) prefetch(record_of(w, fresh[i]), w->record_size);
    return count;
}

/* Sees what the best node not yet expanded links to. False: all are expanded. */
static bool walk_expand(Walk *w, uint32_t *fresh, size_t *count) {
    const Beam *beam = &w->scratch->beam;
    *count = 0;
    if (w->next == beam->count) return false;
    const uint32_t *links = w->graph->links + beam->spots[w->next].node * w->graph->degree;
    beam->spots[w->next].node |= SPOT_EXPANDED;
    *count = walk_see(w, links, w->graph->degree, fresh);
    walk_choose(w);
    return true;
}

/* The next node is chosen while codes of what the last one led to are still on the way: waiting for
 * these would cost more than an expansion out of order now and then. */
static void walk_on(Walk *w, const uint32_t *nodes, size_t count) {
    uint32_t fresh[BATCH];
    Sifted sifted = {.count = 0};
    bool more = true;
    count = walk_see(w, nodes, count, fresh);
    while (more) {
        sift(w, fresh, count, walk_worst(w), &sifted);
        more = walk_expand(w, fresh, &count) || sifted.count > 0;
        walk_score(w, &sifted);
    }
}

/* Where the best entries' surroundings do not fill the beam, the others are entered as well. */
static void walk(Walk *w) {
    const Graph *graph = w->graph;
    uint32_t starts[STARTS];
    walk_on(w, starts, graph_starts(graph, w->scratch, starts));
    if (w->scratch->beam.count >= w->least) return;
    for (size_t at = 0; at < graph->entry_count; at += BATCH)
        walk_on(w, graph->entries + at, MIN(BATCH, graph->entry_count - at));
}

/* Every allowed node, in the order of memory. */
static void pass_over(Walk *w) {
    GraphScratch *s = w->scratch;
    uint32_t nodes[64];
    Spot spots[64];
    float scores[64];
    Sifted sifted;
    s->found.count = 0;
    for (size_t from = 0; from < w->graph->vectors.count; from += 64) {
        size_t to = MIN(from + 64, w->graph->vectors.count), count = 0;
        float worst = beam_worst(&s->found);
        for (size_t node = from; node < to; node++)
            if (may_answer(w, (uint32_t)node)) nodes[count++] = (uint32_t)node;
        sift(w, nodes, count, worst, &sifted);
        fine_scores(w, &sifted, scores);
        count = 0;
        for (size_t i = 0; i < sifted.count; i++)
            spots_add(spots, &count, (Spot){scores[i], sifted.nodes[i]}, worst);
        beam_add(&s->found, spots, count);
    }
}

/* How wide the beam is. Under a filter the k-th answer is at no known rank of all nodes. */
static void walk_set(Walk *w, const float *vector, size_t k, size_t ef, size_t allowed) {
    const Vectors *vectors = &w->graph->vectors;
    size_t most = (size_t)((double)ef * (double)vectors->count / (double)allowed);
    w->k = k;
    w->gap = graph_gap(w->graph->gaps, k, ef);
    w->length = vectors->l2 ? 1 : sqrtf(kernels()->dot(vector, vector, vectors->stride));
    w->least = MIN(most, vectors->count);
    bool wide = !w->allowed && w->gap < INFINITY;
    beam_set(&w->scratch->beam, MIN(wide ? WIDE * ef : most, vectors->count));
    beam_set(&w->scratch->found, MIN(ef, vectors->count));
    walk_set_far(w);
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
    walk_set(&w, query->vector, k, ef, allowed);
    bool pass = query->allowed && scratch->beam.cap * WALK_NODES > allowed;
    if (!pass) walk(&w);
    /* The walk stayed where the filter lets little through: what it allows is elsewhere. */
    if (query->allowed && scratch->found.count < MIN(scratch->found.cap, allowed)) pass = true;
    if (pass) pass_over(&w);
    Beam *best = query->allowed ? &scratch->found : &scratch->beam;
    best->count = MIN(best->count, ef);
    return graph_rerank(graph, query->vector, &scratch->query, best, k, hits);
}
