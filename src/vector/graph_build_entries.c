/* Last step of the build: where walks begin. Entry points are spread over all rows, and what none
 * of them reaches is mended. Rows that are like no others are entry points as well: a query that
 * such a row is like is as far from all others, so that nothing would lead its walk to it. */
#include "vector/graph_build.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 512 /* each costs a search an estimate */
#define ENTRY_ROWS 16   /* for each entry point, while there are few rows */
#define LONELY 64       /* costs each search an estimate, wherever its query is */

/* What entry points reach. */
typedef struct Reach {
    GraphParts *parts;
    bool *reached;
    uint32_t *stack;
    uint32_t *spare; /* a link whose loss cuts nobody off; NULL: none is known */
} Reach;

static void reach_from(Reach *r, uint32_t start) {
    size_t depth = 0, degree = r->parts->degree;
    r->reached[start] = true;
    r->stack[depth++] = start;
    while (depth > 0) {
        const uint32_t *links = r->parts->links + r->stack[--depth] * degree;
        for (size_t i = 0; i < degree && links[i] != GRAPH_NONE; i++)
            if (!r->reached[links[i]]) r->reached[links[i]] = true, r->stack[depth++] = links[i];
    }
}

/* The last link of a node that nothing reached so far may go when what it leads to was reached. */
static uint32_t *spare_of(const Reach *r, uint32_t node) {
    uint32_t *last = r->parts->links + (node + 1) * r->parts->degree - 1;
    return *last == GRAPH_NONE || r->reached[*last] ? last : NULL;
}

/* A neighbour with room, or else the spare link, leads to the node. */
static bool reach_by_link(Reach *r, uint32_t node) {
    size_t degree = r->parts->degree;
    const uint32_t *links = r->parts->links + node * degree;
    for (size_t i = 0; i < degree && links[i] != GRAPH_NONE; i++) {
        uint32_t *last = r->parts->links + (links[i] + 1) * degree - 1;
        if (!r->reached[links[i]] || *last != GRAPH_NONE) continue;
        while (last > r->parts->links + links[i] * degree && last[-1] == GRAPH_NONE) last--;
        *last = node;
        return true;
    }
    if (!r->spare) return false;
    *r->spare = node;
    return true;
}

static void add_entry(GraphParts *parts, uint32_t node) {
    if (parts->entry_count % 64 == 0) {
        parts->entries = realloc(parts->entries, (parts->entry_count + 64) * sizeof node);
        if (!parts->entries) abort();
    }
    parts->entries[parts->entry_count++] = node;
}

static const uint8_t *record_of(const Builder *b, uint32_t node) {
    return b->parts->records + node * code_record_size(b->padded);
}

static size_t centroid_of(const Builder *b, uint32_t node) {
    return code_factors_centroid(code_factors(record_of(b, node), b->padded));
}

/* By centroid, by counting sort: a search passes over those of the nearest centroids alone. */
static void order_entries(Builder *b) {
    GraphParts *parts = b->parts;
    size_t next[CODE_CENTROIDS + 1] = {0};
    uint32_t *ordered = malloc((parts->entry_count + 64) / 64 * 64 * sizeof *ordered);
    if (!ordered) abort();
    for (size_t i = 0; i < parts->entry_count; i++) next[centroid_of(b, parts->entries[i]) + 1]++;
    for (size_t c = 0; c < CODE_CENTROIDS; c++) next[c + 1] += next[c];
    for (size_t i = 0; i < parts->entry_count; i++)
        ordered[next[centroid_of(b, parts->entries[i])]++] = parts->entries[i];
    free(parts->entries);
    parts->entries = ordered;
}

/* Nodes are in the order of leaves, so that evenly spread ones are from everywhere. */
static void spread_entries(Builder *b) {
    Reach r = {.parts = b->parts,
               .reached = calloc(b->count, sizeof *r.reached),
               .stack = malloc(b->count * sizeof *r.stack)};
    size_t wanted = MIN(MAX(b->count / ENTRY_ROWS, 1), ENTRIES_MAX);
    if (!r.reached || !r.stack) abort();
    for (size_t i = 0; i < wanted; i++) {
        uint32_t node = (uint32_t)(i * b->count / wanted);
        add_entry(b->parts, node);
        if (!r.reached[node]) reach_from(&r, node);
    }
    for (uint32_t node = 0; node < b->count; node++) {
        if (r.reached[node]) continue;
        if (!reach_by_link(&r, node)) add_entry(b->parts, node);
        r.spare = spare_of(&r, node);
        reach_from(&r, node);
    }
    free(r.reached);
    free(r.stack);
}

static bool is_entry(const GraphParts *parts, size_t count, uint32_t node) {
    for (size_t i = 0; i < count; i++)
        if (parts->entries[i] == node) return true;
    return false;
}

/* Those whose nearest row is the farthest, behind the entry points in the order of centroids. */
static void enter_lonely(Builder *b) {
    float distances[LONELY] = {0};
    uint32_t nodes[LONELY] = {0};
    size_t spread = b->parts->entry_count, wanted = MIN(LONELY, b->count / ENTRY_ROWS);
    for (uint32_t node = 0; node < b->count; node++) {
        uint32_t row = b->parts->rows[node];
        float distance = b->link_count[row] ? b->links[row * b->degree].distance : 0;
        if (distance > distances[LONELY - 1])
            kernels()->list_add(distances, nodes, LONELY, distance, node);
    }
    for (size_t i = 0; i < wanted && distances[i] > 0; i++)
        if (!is_entry(b->parts, spread, nodes[i])) add_entry(b->parts, nodes[i]);
}

void builder_choose_entries(Builder *b) {
    spread_entries(b);
    order_entries(b);
    enter_lonely(b);
}
