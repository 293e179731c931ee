/* Second step of the build: near rows of each row, found by matrix products, which run at the
 * CPU's speed where insertion into a graph waits on memory.
 *
 *   1. Some rows, taken at random, lead; every row joins the leaves of its few nearest leaders.
 *   2. Within a leaf all rows are compared with all.
 *
 * Products are of int8 codes, a few rows with a panel of columns at a time (Kernels.tile); a block
 * of rows stays in the cache while the panels pass. Within a leaf each pair is met once. Each row
 * of a loop's range writes its own lists only: no locks, and the same result whatever the number of
 * threads. */
#include "vector/graph_build.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ROWS 48 /* a multiple of every level's tile_rows; 36 KiB at 768 dimensions */
#define LEAF_CUT 3    /* leaves beyond this many times leaf_rows are cut */
#define LEADERS_MAX 60000
#define NOTHING (-FLT_MAX) /* less than any value */

/* Codes as columns of tiles, with what makes a product a similarity: dot - half. */
typedef struct Panels {
    size_t count, padded, columns; /* of a panel */
    int8_t *codes;
    int32_t *offset;
    float *scale, *half;
} Panels;

static size_t round_up(size_t value, size_t step) {
    return (value + step - 1) / step * step;
}

static void panels_open(Panels *p, size_t room, size_t padded) {
    *p = (Panels){.padded = padded, .columns = kernels()->tile_columns};
    room = round_up(room, p->columns);
    p->codes = memory_aligned(room * padded);
    p->offset = memory_aligned(room * sizeof *p->offset);
    p->scale = memory_aligned(room * sizeof *p->scale);
    p->half = memory_aligned(room * sizeof *p->half);
}

static void panels_close(Panels *p) {
    free(p->codes);
    free(p->offset);
    free(p->scale);
    free(p->half);
    *p = (Panels){0};
}

/* Sixteen groups of four of each column at a time: where they go to stays in the cache. */
static void panel_fill(const Panels *p, const Builder *b, size_t first, size_t count,
                       const uint32_t *rows) {
    int8_t *codes = p->codes + first * p->padded;
    int32_t sums[TILE_COLUMNS_MAX] = {0};
    for (size_t k = 0; k < p->padded; k += CODE_LANES)
        for (size_t i = 0; i < count; i++) {
            const int8_t *code = b->codes + (size_t)rows[i] * b->padded + k;
            int8_t *column = codes + k * p->columns + i * 4;
            for (size_t d = 0; d < CODE_LANES; d++) sums[i] += code[d];
            for (size_t d = 0; d < CODE_LANES; d += 4) memcpy(column + d * p->columns, code + d, 4);
        }
    for (size_t i = 0; i < count; i++) {
        p->offset[first + i] = sums[i] * I8_OFFSET;
        p->scale[first + i] = b->scales[rows[i]];
        p->half[first + i] = b->halves[rows[i]];
    }
}

/* The columns behind the last are never above anything, but are read. */
static void panels_fill(Panels *p, const Builder *b, const uint32_t *rows, size_t count) {
    p->count = count;
    for (size_t at = 0; at < count; at += p->columns)
        panel_fill(p, b, at, MIN(p->columns, count - at), rows + at);
    for (size_t at = count; at < round_up(count, p->columns); at++) {
        p->offset[at] = 0;
        p->scale[at] = p->half[at] = 0;
    }
}

/* For each of some rows the nearest others so far, nearest first: minus distances in place of
 * distances, so that the worst of a full list is its threshold. */
typedef struct Lists {
    size_t keep, room; /* of each list; a multiple of KERNEL_LANES */
    float *values;
    uint32_t *rows;
    float *thresholds; /* by row, up to the end of the last panel */
} Lists;

static void lists_open(Lists *lists, size_t count, size_t keep) {
    size_t room = round_up(keep, KERNEL_LANES);
    count = round_up(count, TILE_COLUMNS_MAX);
    *lists = (Lists){.keep = keep,
                     .room = room,
                     .values = memory_aligned(count * room * sizeof *lists->values),
                     .rows = memory_aligned(count * room * sizeof *lists->rows),
                     .thresholds = memory_aligned(count * sizeof *lists->thresholds)};
}

static void lists_close(Lists *lists) {
    free(lists->values);
    free(lists->rows);
    free(lists->thresholds);
}

static void lists_clear(Lists *lists, size_t count) {
    count = round_up(count, TILE_COLUMNS_MAX);
    for (size_t i = 0; i < count; i++) lists->thresholds[i] = NOTHING;
    for (size_t i = 0; i < count * lists->room; i++) lists->values[i] = NOTHING;
}

static void lists_add(Lists *lists, size_t i, float value, uint32_t row) {
    float *values = lists->values + i * lists->room;
    if (value <= lists->thresholds[i]) return;
    kernels()->list_add(values, lists->rows + i * lists->room, lists->room, value, row);
    lists->thresholds[i] = values[lists->keep - 1];
}

/* Row i's list as distances; the empty rest says GRAPH_NONE. */
static void lists_read(const Lists *lists, size_t i, const uint32_t *rows, Near *out) {
    for (size_t j = 0; j < lists->keep; j++) {
        float value = lists->values[i * lists->room + j];
        uint32_t row = lists->rows[i * lists->room + j];
        out[j] =
            value > NOTHING ? (Near){-value, rows ? rows[row] : row} : (Near){INFINITY, GRAPH_NONE};
    }
}

/* Some rows, of tiles, beside panels. */
typedef struct Block {
    const Builder *builder;
    size_t count;
    const uint32_t *rows;
    uint8_t *codes; /* BLOCK_ROWS of padded, offset */
    Lists *lists;
    size_t first; /* the place of its first row in lists */
    bool within;  /* the columns are all rows of lists: each pair is met once, for both */
} Block;

static Block block_open(const Builder *b, Lists *lists) {
    return (Block){.builder = b, .lists = lists, .codes = memory_aligned(BLOCK_ROWS * b->padded)};
}

static void block_fill(Block *block) {
    size_t padded = block->builder->padded;
    for (size_t i = 0; i < BLOCK_ROWS; i++) {
        uint8_t *to = block->codes + i * padded;
        if (i >= block->count) {
            memset(to, I8_OFFSET, padded);
            continue;
        }
        const int8_t *code = block->builder->codes + (size_t)block->rows[i] * padded;
        for (size_t k = 0; k < padded; k++) to[k] = (uint8_t)(code[k] + I8_OFFSET);
    }
}

static void block_take_row(Block *block, size_t i, const Panels *p, size_t panel,
                           const int32_t *dots) {
    Lists *lists = block->lists;
    size_t first = panel * p->columns, self = block->first + i;
    float values[TILE_COLUMNS_MAX];
    uint16_t at[TILE_COLUMNS_MAX];
    const TileRow row = {.dots = dots,
                         .offset = p->offset + first,
                         .scale = p->scale + first,
                         .half = p->half + first,
                         .floors = block->within ? lists->thresholds + first : NULL,
                         .row_scale = block->builder->scales[block->rows[i]],
                         .row_half = block->builder->halves[block->rows[i]],
                         .threshold = lists->thresholds[self]};
    size_t found = kernels()->above(&row, MIN(p->columns, p->count - first), values, at);
    for (size_t j = 0; j < found; j++) {
        size_t column = first + at[j];
        if (block->within && column <= self) continue;
        lists_add(lists, self, values[j], (uint32_t)column);
        if (block->within) lists_add(lists, column, values[j], (uint32_t)self);
    }
}

static void block_compare(Block *block, const Panels *p) {
    const Kernels *k = kernels();
    int32_t out[TILE_ROWS_MAX * TILE_COLUMNS_MAX] __attribute__((aligned(64)));
    size_t panel = block->within ? block->first / p->columns : 0;
    block_fill(block);
    for (; panel * p->columns < p->count; panel++)
        for (size_t i = 0; i < block->count; i += k->tile_rows) {
            k->tile(block->codes + i * p->padded, p->codes + panel * p->columns * p->padded,
                    p->padded, out);
            for (size_t r = 0; r < k->tile_rows && i + r < block->count; r++)
                block_take_row(block, i + r, p, panel, out + r * p->columns);
        }
}

/* One row out of each of as many stretches. */
void builder_choose_leaders(Builder *b) {
    size_t wanted = b->count * b->fan_out / b->leaf_rows;
    b->leader_count = MIN(MAX(wanted, 1), LEADERS_MAX);
    free(b->leaders);
    b->leaders = malloc(b->leader_count * sizeof *b->leaders);
    if (!b->leaders) abort();
    for (size_t i = 0; i < b->leader_count; i++) {
        size_t from = b->count * i / b->leader_count, to = b->count * (i + 1) / b->leader_count;
        b->leaders[i] = (uint32_t)(from + hash_mix(i) % (to - from));
    }
    b->fan_out = MIN(b->fan_out, b->leader_count);
}

typedef struct Assignment {
    Builder *builder;
    Panels panels;
} Assignment;

static void assign_range(void *context, size_t from, size_t to) {
    Assignment *assignment = context;
    Builder *b = assignment->builder;
    uint32_t rows[BLOCK_ROWS];
    Lists lists;
    lists_open(&lists, BLOCK_ROWS, b->fan_out);
    Block block = block_open(b, &lists);
    block.rows = rows;
    for (size_t at = from; at < to && !builder_cancelled(b); at += BLOCK_ROWS) {
        block.count = MIN(BLOCK_ROWS, to - at);
        for (size_t i = 0; i < block.count; i++) rows[i] = (uint32_t)(at + i);
        lists_clear(&lists, BLOCK_ROWS);
        block_compare(&block, &assignment->panels);
        for (size_t i = 0; i < block.count; i++)
            lists_read(&lists, i, NULL, b->assigned + (at + i) * b->fan_out);
    }
    free(block.codes);
    lists_close(&lists);
    builder_progress(b, 0.1, 0.1, to - from);
}

static void assign_rows(Builder *b) {
    Assignment assignment = {.builder = b};
    panels_open(&assignment.panels, b->leader_count, b->padded);
    panels_fill(&assignment.panels, b, b->leaders, b->leader_count);
    b->assigned = malloc(b->count * b->fan_out * sizeof *b->assigned);
    if (!b->assigned) abort();
    parallel_for(b->options->threads, b->count, 10 * BLOCK_ROWS, assign_range, &assignment);
    panels_close(&assignment.panels);
}

/* Members of leaf l are slots[starts[l]] to slots[starts[l + 1]]; slot s is row s / fan_out. */
typedef struct Leaves {
    Builder *builder;
    uint64_t *slots;
    size_t *starts;
    size_t count;
} Leaves;

static void leaves_fill(Leaves *leaves) {
    const Builder *b = leaves->builder;
    size_t slots = b->count * b->fan_out, *next = calloc(b->leader_count + 2, sizeof *next);
    size_t cut = LEAF_CUT * b->leaf_rows, most = slots / cut + b->leader_count + 1;
    leaves->slots = malloc(slots * sizeof *leaves->slots);
    leaves->starts = malloc((most + 1) * sizeof *leaves->starts);
    if (!next || !leaves->slots || !leaves->starts) abort();
    for (size_t s = 0; s < slots; s++) next[b->assigned[s].row + 2]++;
    for (size_t l = 0; l < b->leader_count; l++) next[l + 2] += next[l + 1];
    for (size_t s = 0; s < slots; s++) leaves->slots[next[b->assigned[s].row + 1]++] = s;
    for (size_t l = 0; l < b->leader_count; l++) { /* next[l] is now where leaf l starts */
        size_t size = next[l + 1] - next[l], parts = (size + cut - 1) / cut;
        for (size_t p = 0; p < parts; p++)
            leaves->starts[leaves->count++] = next[l] + size * p / parts;
    }
    leaves->starts[leaves->count] = slots;
    free(next);
}

static void leaf_compare(Builder *b, const uint64_t *slots, size_t count, uint32_t *rows) {
    Panels panels;
    Lists lists;
    panels_open(&panels, count, b->padded);
    lists_open(&lists, count, b->near_len);
    lists_clear(&lists, count);
    Block block = block_open(b, &lists);
    block.within = true;
    for (size_t i = 0; i < count; i++) rows[i] = (uint32_t)(slots[i] / b->fan_out);
    panels_fill(&panels, b, rows, count);
    for (size_t at = 0; at < count && !builder_cancelled(b); at += BLOCK_ROWS) {
        block.count = MIN(BLOCK_ROWS, count - at);
        block.rows = rows + at;
        block.first = at;
        block_compare(&block, &panels);
    }
    for (size_t i = 0; i < count; i++) {
        lists_read(&lists, i, rows, b->near + slots[i] * b->near_len);
    }
    free(block.codes);
    lists_close(&lists);
    panels_close(&panels);
}

static void leaves_range(void *context, size_t from, size_t to) {
    const Leaves *leaves = context;
    Builder *b = leaves->builder;
    for (size_t l = from; l < to; l++) {
        size_t start = leaves->starts[l], count = leaves->starts[l + 1] - start;
        uint32_t *rows = malloc(MAX(count, 1) * sizeof *rows);
        if (!rows) abort();
        leaf_compare(b, leaves->slots + start, count, rows);
        free(rows);
        builder_progress(b, 0.2, 0.6 / (double)b->fan_out, count);
    }
}

size_t near_scratch_size(size_t padded, size_t leaf_rows, size_t near_len) {
    size_t row = padded + sizeof(int32_t) + 2 * sizeof(float); /* of panels */
    size_t list = round_up(near_len, KERNEL_LANES) * sizeof(Near) + sizeof(float);
    return (LEAF_CUT * leaf_rows + TILE_COLUMNS_MAX) * (row + list) + BLOCK_ROWS * padded;
}

void builder_find_near(Builder *b) {
    Leaves leaves = {.builder = b};
    assign_rows(b);
    if (builder_cancelled(b)) return;
    b->near = malloc(b->count * b->fan_out * b->near_len * sizeof *b->near);
    if (!b->near) abort();
    leaves_fill(&leaves);
    parallel_for(b->options->threads, leaves.count, 1, leaves_range, &leaves);
    free(leaves.slots);
    free(leaves.starts);
}
