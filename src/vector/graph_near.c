/* Second step of the build: near rows of each row, found by matrix products, which run at the
 * CPU's speed where insertion into a graph waits on memory.
 *
 *   1. Some rows, taken at random, lead; every row joins the leaves of its few nearest leaders.
 *   2. Within a leaf all rows are compared with all.
 *
 * Products are of int8 codes, a few rows with a panel of columns at a time (Kernels.tile); a block
 * of rows stays in the cache while the panels pass. Each row of a loop's range writes its own lists
 * only: no locks, and the same result whatever the number of threads. */
#include "vector/graph_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ROWS 48 /* a multiple of every level's tile_rows; 36 KiB at 768 dimensions */
#define LEAF_CUT 3    /* leaves beyond this many times leaf_rows are cut */
#define LEADERS_MAX 60000

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

static void *aligned(size_t size) {
    void *memory = aligned_alloc(64, round_up(MAX(size, 1), 64));
    if (!memory) abort();
    return memory;
}

static void panels_open(Panels *p, size_t room, size_t padded) {
    *p = (Panels){.padded = padded, .columns = kernels()->tile_columns};
    room = round_up(room, p->columns);
    p->codes = aligned(room * padded);
    p->offset = aligned(room * sizeof *p->offset);
    p->scale = aligned(room * sizeof *p->scale);
    p->half = aligned(room * sizeof *p->half);
}

static void panels_close(Panels *p) {
    free(p->codes);
    free(p->offset);
    free(p->scale);
    free(p->half);
    *p = (Panels){0};
}

static void panels_set(Panels *p, const Builder *b, size_t at, uint32_t row) {
    const int8_t *code = b->codes + (size_t)row * b->padded;
    int8_t *column = p->codes + at / p->columns * p->columns * p->padded + at % p->columns * 4;
    int32_t sum = 0;
    for (size_t k = 0; k < p->padded; k++) sum += code[k];
    for (size_t k = 0; k < p->padded; k += 4) memcpy(column + k * p->columns, code + k, 4);
    p->offset[at] = sum * I8_OFFSET;
    p->scale[at] = b->scales[row];
    p->half[at] = b->halves[row];
}

/* The columns behind the last are never above anything, but are read. */
static void panels_finish(Panels *p, size_t count) {
    p->count = count;
    for (size_t at = count; at < round_up(count, p->columns); at++) {
        p->offset[at] = 0;
        p->scale[at] = p->half[at] = 0;
    }
}

/* Rows of tiles, and for each the best columns so far: nearest first. */
typedef struct BlockRows {
    const Builder *builder;
    size_t count, keep;
    const uint32_t *rows;
    size_t self;    /* the column of the first row, of the next the next; SIZE_MAX: none */
    uint8_t *codes; /* BLOCK_ROWS of padded, offset */
    Near *lists;    /* BLOCK_ROWS of keep: similarity in place of distance, numbers of columns */
    size_t counts[BLOCK_ROWS];
    float thresholds[BLOCK_ROWS];
} BlockRows;

static void block_fill(BlockRows *block) {
    size_t padded = block->builder->padded;
    for (size_t i = 0; i < BLOCK_ROWS; i++) {
        uint8_t *to = block->codes + i * padded;
        block->counts[i] = 0;
        block->thresholds[i] = -INFINITY;
        if (i >= block->count) {
            memset(to, I8_OFFSET, padded);
            continue;
        }
        const int8_t *code = block->builder->codes + (size_t)block->rows[i] * padded;
        for (size_t k = 0; k < padded; k++) to[k] = (uint8_t)(code[k] + I8_OFFSET);
    }
}

static void block_keep(BlockRows *block, size_t i, float similarity, uint32_t column) {
    Near *list = block->lists + i * block->keep;
    size_t at = block->counts[i];
    if (at == block->keep) {
        if (similarity <= block->thresholds[i]) return;
        at--;
    } else {
        block->counts[i]++;
    }
    for (; at > 0 && list[at - 1].distance < similarity; at--) list[at] = list[at - 1];
    list[at] = (Near){similarity, column};
    if (block->counts[i] == block->keep) block->thresholds[i] = list[block->keep - 1].distance;
}

static void block_take_row(BlockRows *block, size_t i, const Panels *p, size_t panel,
                           const int32_t *dots) {
    size_t first = panel * p->columns;
    float values[TILE_COLUMNS_MAX];
    uint16_t at[TILE_COLUMNS_MAX];
    const TileRow row = {.dots = dots,
                         .offset = p->offset + first,
                         .scale = p->scale + first,
                         .half = p->half + first,
                         .row_scale = block->builder->scales[block->rows[i]],
                         .threshold = block->thresholds[i]};
    size_t found = kernels()->above(&row, MIN(p->columns, p->count - first), values, at);
    for (size_t j = 0; j < found; j++)
        if (first + at[j] != block->self + i)
            block_keep(block, i, values[j], (uint32_t)(first + at[j]));
}

static void block_compare(BlockRows *block, const Panels *p) {
    const Kernels *k = kernels();
    int32_t out[TILE_ROWS_MAX * TILE_COLUMNS_MAX] __attribute__((aligned(64)));
    for (size_t panel = 0; panel * p->columns < p->count; panel++)
        for (size_t i = 0; i < block->count; i += k->tile_rows) {
            k->tile(block->codes + i * p->padded, p->codes + panel * p->columns * p->padded,
                    p->padded, out);
            for (size_t r = 0; r < k->tile_rows && i + r < block->count; r++)
                block_take_row(block, i + r, p, panel, out + r * p->columns);
        }
}

static void block_open(BlockRows *block, const Builder *b, size_t keep) {
    *block = (BlockRows){.builder = b,
                         .keep = keep,
                         .self = SIZE_MAX - BLOCK_ROWS,
                         .codes = aligned(BLOCK_ROWS * b->padded),
                         .lists = aligned(BLOCK_ROWS * keep * sizeof(Near))};
}

static void block_close(BlockRows *block) {
    free(block->codes);
    free(block->lists);
}

/* What was kept of row i, as distances; the empty rest says GRAPH_NONE. */
static void block_read(const BlockRows *block, size_t i, const uint32_t *rows, Near *out) {
    float half = block->builder->halves[block->rows[i]];
    for (size_t j = 0; j < block->keep; j++) {
        Near near = block->lists[i * block->keep + j];
        out[j] = j < block->counts[i]
                     ? (Near){half - near.distance, rows ? rows[near.row] : near.row}
                     : (Near){INFINITY, GRAPH_NONE};
    }
}

/* One row out of each of as many stretches. */
static void choose_leaders(Builder *b) {
    size_t wanted = b->count * b->fan_out / b->leaf_rows;
    b->leader_count = MIN(MAX(wanted, 1), LEADERS_MAX);
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
    BlockRows block;
    block_open(&block, b, b->fan_out);
    block.rows = rows;
    for (size_t at = from; at < to && !builder_cancelled(b); at += BLOCK_ROWS) {
        block.count = MIN(BLOCK_ROWS, to - at);
        for (size_t i = 0; i < block.count; i++) rows[i] = (uint32_t)(at + i);
        block_fill(&block);
        block_compare(&block, &assignment->panels);
        for (size_t i = 0; i < block.count; i++)
            block_read(&block, i, NULL, b->assigned + (at + i) * b->fan_out);
    }
    block_close(&block);
    builder_progress(b, 0.1, 0.1, to - from);
}

static void assign_rows(Builder *b) {
    Assignment assignment = {.builder = b};
    panels_open(&assignment.panels, b->leader_count, b->padded);
    for (size_t i = 0; i < b->leader_count; i++)
        panels_set(&assignment.panels, b, i, b->leaders[i]);
    panels_finish(&assignment.panels, b->leader_count);
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
    BlockRows block;
    panels_open(&panels, count, b->padded);
    block_open(&block, b, b->near_len);
    for (size_t i = 0; i < count; i++) {
        rows[i] = (uint32_t)(slots[i] / b->fan_out);
        panels_set(&panels, b, i, rows[i]);
    }
    panels_finish(&panels, count);
    for (size_t at = 0; at < count && !builder_cancelled(b); at += BLOCK_ROWS) {
        block.count = MIN(BLOCK_ROWS, count - at);
        block.rows = rows + at;
        block.self = at;
        block_fill(&block);
        block_compare(&block, &panels);
        for (size_t i = 0; i < block.count; i++) {
            size_t row = rows[at + i], list = slots[at + i] % b->fan_out;
            block_read(&block, i, rows, b->near + row * b->list_len + list * b->near_len);
        }
    }
    block_close(&block);
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

size_t near_scratch_size(size_t padded, size_t leaf_rows) {
    return LEAF_CUT * leaf_rows * (padded + 16) + BLOCK_ROWS * (padded + 2048);
}

void builder_find_near(Builder *b) {
    Leaves leaves = {.builder = b};
    choose_leaders(b);
    assign_rows(b);
    if (builder_cancelled(b)) return;
    b->list_len = MAX(b->fan_out * b->near_len, b->degree);
    b->near = malloc(b->count * b->list_len * sizeof *b->near);
    if (!b->near) abort();
    leaves_fill(&leaves);
    parallel_for(b->options->threads, leaves.count, 1, leaves_range, &leaves);
    free(leaves.slots);
    free(leaves.starts);
}
