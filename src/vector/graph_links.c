/* Third step of the build: from each row's near rows to its links.
 *
 *   1. Merge the lists of its leaves and its leaders, and prune them so that links point in
 *      different directions (RobustPrune, in two rounds: Subramanya et al., DiskANN, 2019).
 *   2. Add each link's reverse and prune again where a row has too many. */
#include "vector/graph_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALPHA 1.3f
#define AT_ONCE 8       /* links compared with a candidate at once */
#define REVERSE_MAX 512 /* looked at of the rows that link to one */
#define PREFETCH 4

typedef struct Reverse {
    Builder *builder;
    size_t *starts; /* count + 1 */
    Near *links;    /* to row r: links[starts[r]] to links[starts[r + 1]] */
    uint32_t *out;
} Reverse;

/* What a thread needs to prune. */
typedef struct Pruning {
    const Builder *builder;
    Near *list;                     /* candidates, then links */
    Near *spares;                   /* candidates for the second round */
    uint32_t kept[GRAPH_M_MAX * 2]; /* the links' rows, and what makes distances of their dots */
    float scales[GRAPH_M_MAX * 2], halves[GRAPH_M_MAX * 2];
} Pruning;

static void pruning_open(Pruning *p, const Builder *b, size_t candidates) {
    p->builder = b;
    p->list = malloc(candidates * sizeof *p->list);
    p->spares = malloc(candidates * sizeof *p->spares);
    if (!p->list || !p->spares) abort();
}

static void pruning_close(Pruning *p) {
    free(p->list);
    free(p->spares);
}

/* The distance from a row to the nearest of the links from the first-th on, or any of them that is
 * not above `enough`. */
static float nearest_link(const Pruning *p, size_t first, size_t count, uint32_t row,
                          float enough) {
    const Builder *b = p->builder;
    int32_t dots[AT_ONCE];
    float nearest = INFINITY;
    for (size_t i = first; i < count && nearest > enough; i += AT_ONCE) {
        size_t some = MIN(AT_ONCE, count - i);
        kernels()->dots_i8(b->codes + (size_t)row * b->padded, b->codes, b->padded, p->kept + i,
                           some, dots);
        for (size_t j = 0; j < some; j++) {
            float product = (float)dots[j] * p->scales[i + j] * b->scales[row];
            nearest = MIN(nearest, p->halves[i + j] + b->halves[row] - product);
        }
    }
    return nearest;
}

static void prefetch_code(const Builder *b, uint32_t row) {
    const int8_t *code = b->codes + (size_t)row * b->padded;
    for (size_t k = 0; k < b->padded; k += 64) __builtin_prefetch(code + k);
}

static size_t keep(Pruning *p, size_t kept, Near near) {
    p->list[kept] = near;
    p->kept[kept] = near.row;
    p->scales[kept] = p->builder->scales[near.row];
    p->halves[kept] = p->builder->halves[near.row];
    return kept + 1;
}

/* The list is sorted, nearest first; the links stay at its head. Returns how many.
 * A candidate is dropped when a link is nearer to it than the row is, by ALPHA. The first round
 * takes those that no link is nearer to at all, which point in the most directions; the second
 * gives the places that are left to others. */
static size_t prune(Pruning *p, size_t count) {
    const Builder *b = p->builder;
    size_t kept = 0, spares = 0;
    for (size_t i = 0; i < count && kept < b->degree; i++) {
        Near near = p->list[i];
        if (i + PREFETCH < count) prefetch_code(b, p->list[i + PREFETCH].row);
        float nearest = nearest_link(p, 0, kept, near.row, near.distance / ALPHA);
        if (nearest > near.distance)
            kept = keep(p, kept, near);
        else if (nearest > near.distance / ALPHA)
            p->spares[spares++] = near;
    }
    size_t first = kept;
    for (size_t i = 0; i < spares && kept < b->degree; i++) {
        float enough = p->spares[i].distance / ALPHA;
        if (nearest_link(p, first, kept, p->spares[i].row, enough) > enough)
            kept = keep(p, kept, p->spares[i]);
    }
    return kept;
}

/* The same pair has the same distance in every list, bit for bit. */
static bool listed(const Near *list, size_t count, Near near) {
    while (count > 0 && list[count - 1].distance >= near.distance)
        if (list[--count].row == near.row) return true;
    return false;
}

/* A sorted list that is read from its head. */
typedef struct Head {
    const Near *at, *end;
} Head;

/* Merges sorted lists; a row that comes again is dropped. */
static size_t merge(Head *heads, size_t head_count, uint32_t self, Near *out) {
    size_t count = 0;
    for (;;) {
        Head *best = NULL;
        for (size_t i = 0; i < head_count; i++) {
            Head *head = &heads[i];
            if (head->at < head->end && (!best || head->at->distance < best->at->distance))
                best = head;
        }
        if (!best || best->at->row == GRAPH_NONE) return count;
        Near near = *best->at++;
        if (near.row != self && !listed(out, count, near)) out[count++] = near;
    }
}

static size_t merge_lists(const Builder *b, uint32_t row, Head *heads, Near *leaders, Near *out) {
    const Near *lists = b->near + row * b->fan_out * b->near_len;
    for (size_t i = 0; i < b->fan_out; i++) {
        const Near *assigned = &b->assigned[row * b->fan_out + i];
        leaders[i] = (Near){assigned->distance, b->leaders[assigned->row]};
        heads[i] = (Head){lists + i * b->near_len, lists + (i + 1) * b->near_len};
    }
    heads[b->fan_out] = (Head){leaders, leaders + b->fan_out};
    return merge(heads, b->fan_out + 1, row, out);
}

static void forward_range(void *context, size_t from, size_t to) {
    Builder *b = context;
    Pruning p;
    Head *heads = malloc((b->fan_out + 1) * sizeof *heads);
    Near *leaders = malloc(b->fan_out * sizeof *leaders);
    if (!heads || !leaders) abort();
    pruning_open(&p, b, b->fan_out * (b->near_len + 1));
    for (size_t at = from; at < to && !builder_cancelled(b); at++) {
        uint32_t row = b->parts->rows[at];
        size_t count = prune(&p, merge_lists(b, row, heads, leaders, p.list));
        b->link_count[row] = (uint16_t)count;
        memcpy(b->links + row * b->degree, p.list, count * sizeof *p.list);
    }
    free(heads);
    free(leaders);
    pruning_close(&p);
    builder_progress(b, 0.8, 0.1, to - from);
}

/* Who links to each row, by counting sort. */
static void reverse_open(Reverse *r) {
    const Builder *b = r->builder;
    r->starts = calloc(b->count + 2, sizeof *r->starts);
    if (!r->starts) abort();
    size_t *next = r->starts + 1; /* shifted by one while filling */
    for (size_t row = 0; row < b->count; row++)
        for (size_t i = 0; i < b->link_count[row]; i++)
            next[b->links[row * b->degree + i].row + 1]++;
    for (size_t row = 0; row < b->count; row++) next[row + 1] += next[row];
    r->links = malloc(MAX(next[b->count], 1) * sizeof *r->links);
    if (!r->links) abort();
    for (size_t row = 0; row < b->count; row++)
        for (size_t i = 0; i < b->link_count[row]; i++) {
            Near link = b->links[row * b->degree + i];
            r->links[next[link.row]++] = (Near){link.distance, (uint32_t)row};
        }
}

static int by_distance(const void *a, const void *b) {
    const Near *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static bool holds(const Near *list, size_t count, uint32_t row) {
    for (size_t i = 0; i < count; i++)
        if (list[i].row == row) return true;
    return false;
}

static void finish_row(const Reverse *r, uint32_t row, Pruning *p) {
    const Builder *b = r->builder;
    Near *list = p->list;
    uint32_t *out = r->out + (size_t)row * b->degree;
    size_t forward = b->link_count[row], count = forward;
    const Near *from = r->links + r->starts[row];
    size_t reverse = MIN(r->starts[row + 1] - r->starts[row], REVERSE_MAX);
    memcpy(list, b->links + row * b->degree, forward * sizeof *list);
    for (size_t i = 0; i < reverse; i++)
        if (!holds(list, forward, from[i].row)) list[count++] = from[i];
    qsort(list, count, sizeof *list, by_distance);
    if (count > b->degree) count = prune(p, count);
    for (size_t i = 0; i < b->degree; i++) out[i] = i < count ? list[i].row : GRAPH_NONE;
}

static void finish_range(void *context, size_t from, size_t to) {
    const Reverse *r = context;
    Builder *b = r->builder;
    Pruning p;
    pruning_open(&p, b, b->degree + REVERSE_MAX);
    for (size_t at = from; at < to && !builder_cancelled(b); at++)
        finish_row(r, b->parts->rows[at], &p);
    pruning_close(&p);
    builder_progress(b, 0.9, 0.1, to - from);
}

void builder_link(Builder *b, uint32_t *links) {
    Reverse reverse = {.builder = b, .out = links};
    b->links = malloc(b->count * b->degree * sizeof *b->links);
    b->link_count = calloc(b->count, sizeof *b->link_count);
    if (!b->links || !b->link_count) abort();
    parallel_for(b->options->threads, b->count, 256, forward_range, b);
    free(TAKE(b->near)); /* room for what follows */
    if (builder_cancelled(b)) return;
    reverse_open(&reverse);
    parallel_for(b->options->threads, b->count, 256, finish_range, &reverse);
    free(reverse.starts);
    free(reverse.links);
}
