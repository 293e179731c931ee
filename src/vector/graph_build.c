/* Builds the graph from each row's near rows (graph_candidates.c):
 *
 *   1. Prune the candidates so that links point in different directions (RobustPrune: Subramanya et
 *      al., DiskANN, 2019), then fill what is left with the nearest pruned ones.
 *   2. Add each link's reverse and prune again where a row has too many.
 *   3. What no entry point reaches becomes an entry point. */
#include "vector/graph_candidates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALPHA 1.2f
#define ENTRIES_MAX 1024

typedef struct Builder {
    Candidates near;
    const Vectors *vectors;
    size_t degree;
    uint32_t *links;
    size_t *reverse_from; /* count + 1 offsets into reverse */
    uint32_t *reverse;
} Builder;

static bool holds(const uint32_t *rows, size_t count, uint32_t row) {
    for (size_t i = 0; i < count; i++)
        if (rows[i] == row) return true;
    return false;
}

/* A candidate is dropped when a link already kept is nearer to it, by ALPHA, than the row is. */
static bool occluded(const Builder *b, const uint32_t *kept, size_t kept_count, Hit candidate) {
    for (size_t i = 0; i < kept_count; i++)
        if (closeness(&b->near, kept[i], candidate.row) * ALPHA >= candidate.score) return true;
    return false;
}

/* `list` is sorted, nearest first. Writes b->degree links, GRAPH_NONE behind the last. */
static void prune(const Builder *b, const Hit *list, size_t count, size_t keep, uint32_t *links) {
    size_t kept = 0;
    for (size_t i = 0; i < count && kept < keep; i++)
        if (!occluded(b, links, kept, list[i])) links[kept++] = list[i].row;
    size_t apart = kept;
    for (size_t i = 0; i < count && kept < keep; i++)
        if (!holds(links, apart, list[i].row)) links[kept++] = list[i].row;
    for (size_t i = kept; i < b->degree; i++) links[i] = GRAPH_NONE;
}

static void prune_range(void *context, size_t from, size_t to) {
    Builder *b = context;
    for (size_t row = from; row < to; row++)
        prune(b, b->near.lists + row * CANDIDATES_MAX, b->near.counts[row], b->degree / 2,
              b->links + row * b->degree);
}

/* Who links to each row, by counting sort. */
static void reverse_links(Builder *b) {
    size_t count = b->vectors->count;
    b->reverse_from = calloc(count + 2, sizeof *b->reverse_from);
    if (!b->reverse_from) abort();
    size_t *next = b->reverse_from + 1; /* shifted by one while filling */
    for (size_t i = 0; i < count * b->degree; i++)
        if (b->links[i] != GRAPH_NONE) next[b->links[i] + 1]++;
    for (size_t row = 0; row < count; row++) next[row + 1] += next[row];
    b->reverse = malloc(MAX(next[count], 1) * sizeof *b->reverse);
    if (!b->reverse) abort();
    for (size_t i = 0; i < count * b->degree; i++)
        if (b->links[i] != GRAPH_NONE) b->reverse[next[b->links[i]]++] = (uint32_t)(i / b->degree);
}

static int by_score(const void *a, const void *b) {
    const Hit *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->row > y->row) - (x->row < y->row);
}

static void merge_row(Builder *b, uint32_t row, Text *scratch) {
    uint32_t *links = b->links + (size_t)row * b->degree;
    size_t forward = 0, reverse = b->reverse_from[row + 1] - b->reverse_from[row];
    const uint32_t *from = b->reverse + b->reverse_from[row];
    while (forward < b->degree && links[forward] != GRAPH_NONE) forward++;
    text_clear(scratch);
    Hit *list = (Hit *)text_reserve(scratch, (forward + reverse) * sizeof *list);
    size_t count = 0;
    for (size_t i = 0; i < forward; i++)
        list[count++] = (Hit){links[i], closeness(&b->near, row, links[i])};
    for (size_t i = 0; i < reverse; i++)
        if (!holds(links, forward, from[i]))
            list[count++] = (Hit){from[i], closeness(&b->near, row, from[i])};
    qsort(list, count, sizeof *list, by_score);
    prune(b, list, count, b->degree, links);
}

static void merge_range(void *context, size_t from, size_t to) {
    OWNED(text_close) Text scratch = {0};
    for (size_t row = from; row < to; row++) merge_row(context, (uint32_t)row, &scratch);
}

static void mark_reached(const Builder *b, bool *reached, uint32_t *stack, uint32_t start) {
    size_t depth = 0;
    reached[start] = true;
    stack[depth++] = start;
    while (depth > 0) {
        const uint32_t *links = b->links + (size_t)stack[--depth] * b->degree;
        for (size_t i = 0; i < b->degree && links[i] != GRAPH_NONE; i++)
            if (!reached[links[i]]) reached[links[i]] = true, stack[depth++] = links[i];
    }
}

static void entry_add(Text *entries, uint32_t row) {
    text_add(entries, (Str){(const char *)&row, sizeof row});
}

/* About sqrt(count) random rows, and one for whatever those do not reach. */
static void choose_entries(const Builder *b, Text *entries) {
    size_t count = b->vectors->count, wanted = (size_t)sqrt((double)count);
    bool *reached = calloc(count, sizeof *reached);
    uint32_t *stack = malloc(count * sizeof *stack);
    if (!reached || !stack) abort();
    wanted = MIN(MAX(wanted, 1), ENTRIES_MAX);
    for (size_t i = 0; i < wanted; i++) {
        uint32_t row =
            (uint32_t)(count * i / wanted + (i * 0x9e3779b97f4a7c15u >> 32) % (count / wanted));
        entry_add(entries, row);
        if (!reached[row]) mark_reached(b, reached, stack, row);
    }
    for (size_t row = 0; row < count; row++)
        if (!reached[row]) {
            entry_add(entries, (uint32_t)row);
            mark_reached(b, reached, stack, (uint32_t)row);
        }
    free(reached);
    free(stack);
}

static void builder_close(Builder *b) {
    candidates_close(&b->near);
    free(b->reverse_from);
    free(b->reverse);
}

bool graph_build(const GraphBuild *build, uint32_t *links, Text *entries, Err *err) {
    OWNED(builder_close)
    Builder b = {.vectors = &build->vectors, .links = links, .degree = graph_degree(build->m)};
    size_t count = build->vectors.count;
    if (count == 0) return true;
    if (!candidates_open(&b.near, build, err)) return false;
    parallel_for(build->threads, count, 256, prune_range, &b);
    reverse_links(&b);
    parallel_for(build->threads, count, 256, merge_range, &b);
    choose_entries(&b, entries);
    return true;
}
