/* Builds the graph step by step (graph_build.h). What is here is one of them, which puts the rows
 * in the order of their first leaf, and what a build needs and leaves. */
#include "vector/graph_build.h"

#include <stdlib.h>
#include <string.h>

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
                   .codes = memory_aligned(count * padded),
                   .scales = memory_aligned(count * sizeof(float)),
                   .halves = memory_aligned(count * sizeof(float))};
    parts->count = count;
    parts->degree = b->degree;
    parts->records = memory_aligned(count * code_record_size(padded));
    parts->fine = memory_aligned(count * code_fine_size(padded));
    parts->rows = memory_aligned(count * sizeof(uint32_t));
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
    uint8_t *by_node = memory_aligned(count * size);
    for (size_t node = 0; node < count; node++)
        memcpy(by_node + node * size, by_row + rows[node] * size, size);
    free(by_row);
    return by_node;
}

static void order_parts(Builder *b, uint32_t *links) {
    GraphParts *parts = b->parts;
    uint32_t *node_of = memory_aligned(b->count * sizeof *node_of);
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

static bool build_steps(Builder *b) {
    builder_encode(b);
    atomic_store(&b->done, 0);
    if (builder_cancelled(b)) return false;
    builder_choose_effort(b);
    builder_find_near(b);
    atomic_store(&b->done, 0);
    if (builder_cancelled(b)) return false;
    order_rows(b);
    uint32_t *links = memory_aligned(b->count * b->degree * sizeof *links);
    builder_link(b, links);
    if (builder_cancelled(b)) {
        free(links);
        return false;
    }
    order_parts(b, links);
    builder_choose_entries(b);
    builder_measure_gaps(b);
    return !builder_cancelled(b);
}

bool graph_build(const GraphBuild *build, GraphParts *out, Err *err) {
    OWNED(graph_parts_close) GraphParts parts = {.degree = graph_degree(build->m)};
    if (build->vectors.count > 0) {
        OWNED(builder_close) Builder b;
        builder_open(&b, build, &parts);
        if (!build_steps(&b))
            return b.too_long
                       ? err_code(err, LH_IMPOSSIBLE, "vector_too_long",
                                  "a vector is not finite, or longer than %.0e", VECTOR_LENGTH_MAX)
                       : err_set(err, LH_CANCELLED, "cancelled");
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
                   .gaps = parts->gaps,
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
