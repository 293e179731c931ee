/* Finds each row's near rows, the raw material of the graph.
 *
 *   1. Several times over, divide all rows around random pivots until a part is small, and compare
 *      all pairs within each part (as HCNNG does: Munoz et al., 2019). Each time the pivots differ,
 *      so a neighbour that one division cut off is met in another.
 *   2. Compare each row with the neighbours of its neighbours, links taken both ways (NN-descent:
 *      Dong, Charikar and Li, 2011).
 *
 * Work is dot products over rows that lie together in the cache, where insertion one by one waits
 * on memory. A row's list is written by one range of a parallel loop only: no locks, and the same
 * result whatever the number of threads. */
#include "vector/graph_candidates.h"

#include "vector/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAF_ROWS 256
#define PIVOTS 24
#define JOIN 24 /* nearest candidates, and as many rows that have this one among theirs */

/* Closeness: the larger the nearer. dot - |a|^2/2 - |b|^2/2 is -distance^2/2. */
float closeness(const Candidates *c, uint32_t x, uint32_t y) {
    return kernels()->dot(vectors_row(&c->build->vectors, x), vectors_row(&c->build->vectors, y),
                          c->build->vectors.stride) -
           c->half_norm[x] - c->half_norm[y];
}

static uint64_t mix(uint64_t value) { /* splitmix64's finaliser: a reproducible random number */
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

static bool cancelled(const Candidates *c) {
    return c->build->cancelled && c->build->cancelled(c->build->context);
}

static void candidate_add(Candidates *c, uint32_t row, Hit hit) {
    Hit *list = c->lists + (size_t)row * CANDIDATES_MAX;
    size_t count = c->counts[row];
    if (count == CANDIDATES_MAX && hit.score <= list[CANDIDATES_MAX - 1].score) return;
    for (size_t i = 0; i < count; i++)
        if (list[i].row == hit.row) return;
    hits_add(list, &count, CANDIDATES_MAX, hit);
    c->counts[row] = (uint8_t)count;
}

static void leaf_compare(Candidates *c, const uint32_t *rows, size_t count) {
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++) {
            float score = closeness(c, rows[i], rows[j]);
            candidate_add(c, rows[i], (Hit){rows[j], score});
            candidate_add(c, rows[j], (Hit){rows[i], score});
        }
}

/* Groups rows by their nearest pivot, in place: part p is rows[starts[p] .. starts[p + 1]). */
static void divide(Candidates *c, uint32_t *rows, size_t count, uint64_t seed,
                   size_t starts[PIVOTS + 1]) {
    uint32_t pivots[PIVOTS];
    uint8_t *part_of = malloc(count);
    uint32_t *sorted = malloc(count * sizeof *sorted);
    size_t sizes[PIVOTS] = {0}, next[PIVOTS];
    if (!part_of || !sorted) abort();
    for (size_t p = 0; p < PIVOTS; p++) pivots[p] = rows[mix(seed + p) % count];
    for (size_t i = 0; i < count; i++) {
        float best = -INFINITY;
        for (size_t p = 0; p < PIVOTS; p++) {
            float score = closeness(c, rows[i], pivots[p]);
            if (score > best) best = score, part_of[i] = (uint8_t)p;
        }
        sizes[part_of[i]]++;
    }
    starts[0] = 0;
    for (size_t p = 0; p < PIVOTS; p++) next[p] = starts[p], starts[p + 1] = starts[p] + sizes[p];
    for (size_t i = 0; i < count; i++) sorted[next[part_of[i]]++] = rows[i];
    memcpy(rows, sorted, count * sizeof *rows);
    free(part_of);
    free(sorted);
}

/* Rows that no pivot tells apart (duplicates) are cut into leaves as they stand. */
static void partition(Candidates *c, uint32_t *rows, size_t count, uint64_t seed) {
    size_t starts[PIVOTS + 1];
    if (count <= LEAF_ROWS) {
        leaf_compare(c, rows, count);
        return;
    }
    if (cancelled(c)) return;
    divide(c, rows, count, seed, starts);
    for (size_t p = 0; p < PIVOTS; p++) {
        size_t size = starts[p + 1] - starts[p];
        if (size == count)
            for (size_t at = 0; at < count; at += LEAF_ROWS)
                leaf_compare(c, rows + at, MIN(LEAF_ROWS, count - at));
        else if (size > 1)
            partition(c, rows + starts[p], size, mix(seed ^ (p + 1) * 0x9e3779b97f4a7c15u));
    }
}

typedef struct Division {
    Candidates *candidates;
    uint32_t *rows;
    size_t starts[PIVOTS + 1];
    uint64_t seed;
} Division;

static void partition_range(void *context, size_t from, size_t to) {
    Division *division = context;
    for (size_t p = from; p < to; p++) {
        size_t size = division->starts[p + 1] - division->starts[p];
        if (size > 1)
            partition(division->candidates, division->rows + division->starts[p], size,
                      mix(division->seed + 1000 + p));
    }
}

/* One division of all rows. The first level is done by one thread, its parts by all. */
static void divide_all(Candidates *c, uint32_t *rows, uint64_t seed) {
    Division division = {.candidates = c, .rows = rows, .seed = seed};
    size_t count = c->build->vectors.count;
    for (size_t i = 0; i < count; i++) rows[i] = (uint32_t)i;
    if (count <= LEAF_ROWS) {
        leaf_compare(c, rows, count);
        return;
    }
    divide(c, rows, count, seed, division.starts);
    parallel_for(c->build->threads, PIVOTS, 1, partition_range, &division);
}

/* For step 2: of each row the nearest JOIN candidates, then up to JOIN rows that have it among
 * theirs; GRAPH_NONE in empty slots. */
typedef struct Join {
    Candidates *candidates;
    uint32_t *near;
} Join;

static void join_collect(Candidates *c, uint32_t *near) {
    size_t count = c->build->vectors.count;
    uint8_t *reverse = calloc(count, 1);
    if (!reverse) abort();
    memset(near, 0xff, count * 2 * JOIN * sizeof *near);
    for (size_t i = 0; i < JOIN; i++)
        for (size_t row = 0; row < count; row++) {
            if (i >= c->counts[row]) continue;
            uint32_t other = c->lists[row * CANDIDATES_MAX + i].row;
            near[row * 2 * JOIN + i] = other;
            if (reverse[other] < JOIN)
                near[(size_t)other * 2 * JOIN + JOIN + reverse[other]++] = (uint32_t)row;
        }
    free(reverse);
}

/* The rows met so far by one row's join, so that each is compared once. */
typedef struct Met {
    uint64_t *bits;
    uint32_t rows[CANDIDATES_MAX + 1 + 2 * JOIN * (2 * JOIN + 1)];
    size_t count;
} Met;

static bool met_add(Met *met, uint32_t row) {
    uint64_t bit = (uint64_t)1 << (row % 64);
    if (row == GRAPH_NONE || met->bits[row / 64] & bit) return false;
    met->bits[row / 64] |= bit;
    met->rows[met->count++] = row;
    return true;
}

static void met_clear(Met *met) {
    while (met->count > 0) met->bits[met->rows[--met->count] / 64] = 0;
}

static void join_compare(Candidates *c, Met *met, uint32_t row, uint32_t other) {
    if (met_add(met, other)) candidate_add(c, row, (Hit){other, closeness(c, row, other)});
}

static void join_row(const Join *join, Met *met, uint32_t row) {
    Candidates *c = join->candidates;
    const uint32_t *near = join->near + (size_t)row * 2 * JOIN;
    met_add(met, row);
    for (size_t i = 0; i < c->counts[row]; i++)
        met_add(met, c->lists[(size_t)row * CANDIDATES_MAX + i].row);
    for (size_t i = 0; i < 2 * JOIN; i++) {
        if (near[i] == GRAPH_NONE) continue;
        const uint32_t *beyond = join->near + (size_t)near[i] * 2 * JOIN;
        join_compare(c, met, row, near[i]);
        for (size_t j = 0; j < 2 * JOIN; j++) join_compare(c, met, row, beyond[j]);
    }
    met_clear(met);
}

static void join_range(void *context, size_t from, size_t to) {
    const Join *join = context;
    Met *met = calloc(1, sizeof *met);
    if (!met) abort();
    met->bits = calloc(join->candidates->build->vectors.count / 64 + 1, sizeof *met->bits);
    if (!met->bits) abort();
    for (size_t row = from; row < to && !cancelled(join->candidates); row++)
        join_row(join, met, (uint32_t)row);
    free(met->bits);
    free(met);
}

static void join_neighbours(Candidates *c) {
    size_t count = c->build->vectors.count;
    Join join = {c, malloc(count * 2 * JOIN * sizeof *join.near)};
    if (!join.near) abort();
    join_collect(c, join.near);
    parallel_for(c->build->threads, count, count / 32 + 1, join_range, &join);
    free(join.near);
}

static void half_norms(Candidates *c) {
    const Vectors *vectors = &c->build->vectors;
    for (size_t row = 0; row < vectors->count; row++) {
        const float *x = vectors_row(vectors, row);
        c->half_norm[row] = kernels()->dot(x, x, vectors->stride) / 2;
    }
}

bool candidates_open(Candidates *c, const GraphBuild *build, Err *err) {
    size_t count = build->vectors.count;
    *c = (Candidates){.build = build};
    c->half_norm = malloc(count * sizeof *c->half_norm);
    c->lists = malloc(count * CANDIDATES_MAX * sizeof *c->lists);
    c->counts = calloc(count, 1);
    uint32_t *rows = malloc(count * sizeof *rows);
    if (!c->half_norm || !c->lists || !c->counts || !rows) abort();
    half_norms(c);
    int divisions = MIN(MAX(build->ef_construction / 20, 2), 64);
    for (int i = 0; i < divisions && !cancelled(c); i++) divide_all(c, rows, mix((uint64_t)i + 1));
    free(rows);
    for (int i = 0; i < MIN(build->ef_construction / 100, 4) && !cancelled(c); i++)
        join_neighbours(c);
    return !cancelled(c) || err_set(err, LH_CANCELLED, "cancelled");
}

void candidates_close(Candidates *c) {
    free(c->half_norm);
    free(c->lists);
    free(c->counts);
    *c = (Candidates){0};
}
