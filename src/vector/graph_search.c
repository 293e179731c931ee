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
#define STARTS 4      /* entry points to walk on from */
#define WALK_NODES 24 /* scored for each place in the beam, about */
#define BATCH (2 * GRAPH_M_MAX)

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

static bool seen(const GraphScratch *s, uint32_t node) {
    return s->seen[node / 64] >> (node % 64) & 1;
}

/* The node counts as seen from now on. */
static void see(GraphScratch *s, uint32_t node) {
    s->seen[node / 64] |= (uint64_t)1 << (node % 64);
    s->touched[s->touched_count++] = node;
}

static void touched_reserve(GraphScratch *s, size_t more) {
    if (s->touched_count + more <= s->touched_cap) return;
    s->touched_cap = (s->touched_count + more) * 2;
    s->touched = realloc(s->touched, s->touched_cap * sizeof *s->touched);
    if (!s->touched) abort();
}

static bool may_answer(const Walk *w, uint32_t node) {
    uint32_t row = w->graph->rows[node];
    return row < w->graph->vectors.count && rowset_has(w->allowed, row);
}

/* Scores by signs; nodes[] keeps those that may beat `worst`. Returns how many. */
static size_t sift(const Walk *w, uint32_t *nodes, size_t count, float worst) {
    const GraphScratch *s = w->scratch;
    size_t padded = s->padded, kept = 0;
    uint32_t sums[BATCH];
    kernels()->bit_sums(w->graph->records, w->record_size, nodes, count, s->query.planes,
                        padded / 64, sums);
    for (size_t i = 0; i < count; i++) {
        CodeFactors f = *code_factors(record_of(w, nodes[i]), padded);
        f.centroid %= CODE_CENTROIDS; /* the file may say anything */
        if (code_estimate(&s->query, &f, sums[i]) + SIGMA * code_error(&s->query, &f) <= worst)
            continue;
        prefetch(w->graph->fine + nodes[i] * w->fine_size, w->fine_size);
        nodes[kept++] = nodes[i];
    }
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

/* Scores nodes and puts them where they belong. */
static void walk_visit(Walk *w, uint32_t *nodes, size_t count) {
    GraphScratch *s = w->scratch;
    float worst = beam_worst(&s->beam);
    if (w->allowed) worst = MIN(worst, beam_worst(&s->found));
    count = sift(w, nodes, count, worst);
    for (size_t i = 0; i < count; i++) {
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
        if (!seen(w->scratch, links[i])) prefetch(record_of(w, links[i]), w->record_size);
}

static void walk_expand(Walk *w, uint32_t node) {
    const Graph *graph = w->graph;
    const uint32_t *links = graph->links + node * graph->degree;
    uint32_t nodes[BATCH];
    size_t count = 0;
    touched_reserve(w->scratch, graph->degree);
    for (size_t i = 0; i < graph->degree; i++) {
        uint32_t link = links[i];
        if (link >= graph->vectors.count) continue;
        if (seen(w->scratch, link)) continue;
        see(w->scratch, link);
        prefetch(record_of(w, link), w->record_size);
        nodes[count++] = link;
    }
    look_ahead(w);
    walk_visit(w, nodes, count);
}

/* The best few entry points by their signs. */
static size_t best_entries(const Walk *w, uint32_t starts[STARTS]) {
    const GraphScratch *s = w->scratch;
    const Graph *graph = w->graph;
    uint32_t nodes[BATCH], sums[BATCH];
    Spot spots[STARTS + 1];
    Beam best = {.spots = spots, .cap = STARTS};
    for (size_t at = 0; at < graph->entry_count;) {
        size_t count = 0;
        for (; at < graph->entry_count && count < BATCH; at++)
            if (graph->entries[at] < graph->vectors.count) nodes[count++] = graph->entries[at];
        kernels()->bit_sums(graph->records, w->record_size, nodes, count, s->query.planes,
                            s->padded / 64, sums);
        for (size_t i = 0; i < count; i++) {
            CodeFactors f = *code_factors(record_of(w, nodes[i]), s->padded);
            f.centroid %= CODE_CENTROIDS;
            beam_add(&best, (Spot){code_estimate(&s->query, &f, sums[i]), nodes[i]});
        }
    }
    for (size_t i = 0; i < best.count; i++) starts[i] = spots[i].node;
    return best.count;
}

static void walk_visit_unseen(Walk *w, const uint32_t *nodes, size_t count) {
    uint32_t fresh[BATCH];
    size_t fresh_count = 0;
    touched_reserve(w->scratch, count);
    for (size_t i = 0; i < count; i++) {
        if (nodes[i] >= w->graph->vectors.count || seen(w->scratch, nodes[i])) continue;
        see(w->scratch, nodes[i]);
        fresh[fresh_count++] = nodes[i];
    }
    walk_visit(w, fresh, fresh_count);
}

static void walk_on(Walk *w) {
    Beam *beam = &w->scratch->beam;
    for (w->next = 0; w->next < beam->count;) {
        uint32_t node = beam->spots[w->next].node;
        if (!(node & SPOT_EXPANDED)) {
            beam->spots[w->next].node |= SPOT_EXPANDED;
            walk_expand(w, node);
        } else {
            w->next++;
        }
    }
}

/* Where the best entries' surroundings do not fill the beam, the others are entered as well. */
static void walk(Walk *w) {
    const Graph *graph = w->graph;
    uint32_t starts[STARTS];
    walk_visit_unseen(w, starts, best_entries(w, starts));
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
    s->found.count = 0;
    for (size_t from = 0; from < w->graph->vectors.count; from += 64) {
        size_t to = MIN(from + 64, w->graph->vectors.count), count = 0;
        for (size_t node = from; node < to; node++)
            if (may_answer(w, (uint32_t)node)) nodes[count++] = (uint32_t)node;
        count = sift(w, nodes, count, beam_worst(&s->found));
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
