/* Builds the graph: codes, near rows, links (graph_build.h), then puts the rows in the order of
 * their first leaf, takes entry points spread over that order, and mends what no entry point
 * reaches. */
#include "vector/graph_build.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 512 /* each costs a search an estimate */
#define ENTRY_ROWS 16   /* for each entry point, while there are few rows */

bool builder_cancelled(Builder *b) {
    if (b->options->cancelled && !atomic_load(&b->cancelled) &&
        b->options->cancelled(b->options->context))
        atomic_store(&b->cancelled, true);
    return atomic_load(&b->cancelled);
}

void builder_progress(Builder *b, double before, double share, size_t rows) {
    if (!b->options->progress || b->count == 0) return;
    size_t done = atomic_fetch_add(&b->done, rows) + rows;
    b->options->progress(b->options->context,
                         MIN(before + share * (double)done / (double)b->count, 1));
}

static void *room(size_t count, size_t size) {
    void *memory = aligned_alloc(64, (MAX(count * size, 1) + 63) / 64 * 64);
    if (!memory) abort();
    return memory;
}

/* 200, the default, means four leaves of about 1,000 rows. */
static size_t fan_out_of(int ef_construction) {
    return (size_t)MIN(MAX(ef_construction / 50, 2), 16);
}
static size_t leaf_rows_of(int ef_construction) {
    return (size_t)MIN(MAX(ef_construction * 5, 250), 2000);
}
static size_t near_len_of(int m) {
    return (size_t)MIN(MAX(m, 8), 64);
}

static void builder_open(Builder *b, const GraphBuild *build, GraphParts *parts) {
    size_t count = build->vectors.count, padded = code_padded(build->vectors.dimensions);
    *b = (Builder){.options = build,
                   .parts = parts,
                   .count = count,
                   .padded = padded,
                   .degree = graph_degree(build->m),
                   .fan_out = fan_out_of(build->ef_construction),
                   .leaf_rows = leaf_rows_of(build->ef_construction),
                   .near_len = near_len_of(build->m),
                   .codes = room(count, padded),
                   .scales = room(count, sizeof(float)),
                   .halves = room(count, sizeof(float))};
    parts->count = count;
    parts->degree = b->degree;
    parts->records = room(count, code_record_size(padded));
    parts->fine = room(count, code_fine_size(padded));
    parts->rows = room(count, sizeof(uint32_t));
}

static void builder_close(Builder *b) {
    free(b->codes);
    free(b->scales);
    free(b->halves);
    free(b->leaders);
    free(b->assigned);
    free(b->near);
    free(b->links);
    free(b->link_count);
}

void graph_parts_close(GraphParts *parts) {
    code_model_close(&parts->model);
    free(parts->rows);
    free(parts->links);
    free(parts->entries);
    free(parts->records);
    free(parts->fine);
    *parts = (GraphParts){0};
}

/* Rows by their nearest leader, by counting sort: rows[node]. */
static void order_rows(Builder *b) {
    size_t *next = calloc(b->leader_count + 1, sizeof *next);
    if (!next) abort();
    for (size_t row = 0; row < b->count; row++) next[b->assigned[row * b->fan_out].row + 1]++;
    for (size_t l = 0; l < b->leader_count; l++) next[l + 1] += next[l];
    for (size_t row = 0; row < b->count; row++)
        b->parts->rows[next[b->assigned[row * b->fan_out].row]++] = (uint32_t)row;
    free(next);
}

/* Moves what is kept by row, `size` bytes each, to its node. */
static uint8_t *put_in_order(const uint32_t *rows, size_t count, uint8_t *by_row, size_t size) {
    uint8_t *by_node = room(count, size);
    for (size_t node = 0; node < count; node++)
        memcpy(by_node + node * size, by_row + rows[node] * size, size);
    free(by_row);
    return by_node;
}

static void order_parts(Builder *b, uint32_t *links) {
    GraphParts *parts = b->parts;
    uint32_t *node_of = room(b->count, sizeof *node_of);
    for (size_t node = 0; node < b->count; node++) node_of[parts->rows[node]] = (uint32_t)node;
    for (size_t i = 0; i < b->count * b->degree; i++)
        if (links[i] != GRAPH_NONE) links[i] = node_of[links[i]];
    free(node_of);
    parts->links = (uint32_t *)put_in_order(parts->rows, b->count, (uint8_t *)links,
                                            b->degree * sizeof *links);
    parts->records =
        put_in_order(parts->rows, b->count, parts->records, code_record_size(b->padded));
    parts->fine = put_in_order(parts->rows, b->count, parts->fine, code_fine_size(b->padded));
}

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

static size_t centroid_of(const Builder *b, uint32_t node) {
    const uint8_t *record = b->parts->records + node * code_record_size(b->padded);
    return code_factors(record, b->padded)->centroid;
}

/* By centroid, by counting sort: a search passes over those of the nearest centroids alone. */
static void order_entries(Builder *b) {
    GraphParts *parts = b->parts;
    size_t next[CODE_CENTROIDS + 1] = {0};
    uint32_t *ordered = room(parts->entry_count, sizeof *ordered);
    for (size_t i = 0; i < parts->entry_count; i++) next[centroid_of(b, parts->entries[i]) + 1]++;
    for (size_t c = 0; c < CODE_CENTROIDS; c++) next[c + 1] += next[c];
    for (size_t i = 0; i < parts->entry_count; i++)
        ordered[next[centroid_of(b, parts->entries[i])]++] = parts->entries[i];
    free(parts->entries);
    parts->entries = ordered;
}

/* Nodes are in the order of leaves, so that evenly spread ones are from everywhere. */
static void choose_entries(Builder *b) {
    Reach r = {.parts = b->parts,
               .reached = calloc(b->count, sizeof *r.reached),
               .stack = room(b->count, sizeof *r.stack)};
    size_t wanted = MIN(MAX(b->count / ENTRY_ROWS, 1), ENTRIES_MAX);
    if (!r.reached) abort();
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

static bool build_steps(Builder *b) {
    builder_encode(b);
    atomic_store(&b->done, 0);
    if (builder_cancelled(b)) return false;
    builder_choose_effort(b);
    builder_find_near(b);
    atomic_store(&b->done, 0);
    if (builder_cancelled(b)) return false;
    order_rows(b);
    uint32_t *links = room(b->count, b->degree * sizeof *links);
    builder_link(b, links);
    if (builder_cancelled(b)) {
        free(links);
        return false;
    }
    order_parts(b, links);
    choose_entries(b);
    order_entries(b);
    return true;
}

bool graph_build(const GraphBuild *build, GraphParts *out, Err *err) {
    OWNED(graph_parts_close) GraphParts parts = {.degree = graph_degree(build->m)};
    if (build->vectors.count > 0) {
        OWNED(builder_close) Builder b;
        builder_open(&b, build, &parts);
        if (!build_steps(&b)) return err_set(err, LH_CANCELLED, "cancelled");
    }
    if (build->progress) build->progress(build->context, 1);
    *out = parts;
    parts = (GraphParts){0};
    return true;
}

Graph graph_of(const GraphParts *parts, const Vectors *vectors) {
    Graph graph = {.vectors = *vectors,
                   .model = &parts->model,
                   .rows = parts->rows,
                   .links = parts->links,
                   .entries = parts->entries,
                   .records = parts->records,
                   .fine = parts->fine,
                   .degree = parts->degree,
                   .entry_count = parts->entry_count};
    graph_group_entries(&graph);
    return graph;
}

int64_t graph_build_bytes(size_t count, size_t dimensions, int m, int ef_construction) {
    size_t padded = code_padded(dimensions), degree = graph_degree(m);
    size_t fan_out = fan_out_most(fan_out_of(ef_construction));
    size_t leaf_rows = leaf_rows_most(leaf_rows_of(ef_construction));
    size_t parts = code_record_size(padded) + code_fine_size(padded) + 4;
    size_t codes = padded + 8 + fan_out * sizeof(Near); /* and the leaders of each row */
    size_t near = fan_out * near_len_of(m) * sizeof(Near), links = degree * sizeof(Near);
    /* Slots of leaves and near rows; near rows and links; links both ways, as they come out. */
    size_t most = MAX(near + MAX(fan_out * 8, links), 2 * links + 8 + degree * sizeof(uint32_t));
    size_t leaders = MIN(count * fan_out / leaf_rows + 1, 60000);
    return (int64_t)(count * (parts + codes + most + 2) + leaders * (padded + 16) +
                     (size_t)parallel_threads() *
                         near_scratch_size(padded, leaf_rows, near_len_of(m)));
}
