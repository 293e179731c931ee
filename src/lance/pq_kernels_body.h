/* The loops over floats, once. A file that includes this has named a table (KERNELS, NAME), a
 * vector of LANES floats (Floats) and one of as many integers (Numbers), and the operations on
 * them: floats_load, floats_store, floats_all (one value in each lane), numbers_all, multiply_add,
 * sum, and lower (where a < best: best = a, number = n). Its accumulators are TILE_ROWS rows by
 * TILE_VECTORS vectors: as many as leave room in the registers of that level.
 *
 * nearest() is a matrix product whose results are never written: each tile of dot products is
 * compared with the best so far, which is kept lane by lane and told apart at the end. */
#include <string.h>

typedef struct Best {
    float scores[LANES];
    uint32_t numbers[LANES]; /* of the first column of the vector that it came from */
} Best;

#define TILE_COLUMNS (TILE_VECTORS * LANES)

static inline __attribute__((always_inline)) void tile(const float *const rows[TILE_ROWS],
                                                       size_t dimensions, const float *values,
                                                       Floats out[TILE_ROWS][TILE_VECTORS]) {
    Floats sums[TILE_ROWS][TILE_VECTORS];
    for (int r = 0; r < TILE_ROWS; r++)
        for (int v = 0; v < TILE_VECTORS; v++) sums[r][v] = floats_all(0);
    for (size_t k = 0; k < dimensions; k++, values += PANEL_COLUMNS) {
        Floats points[TILE_VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < TILE_VECTORS; v++) points[v] = floats_load(values + v * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < TILE_ROWS; r++) {
            Floats x = floats_all(rows[r][k]);
#pragma GCC unroll 8
            for (int v = 0; v < TILE_VECTORS; v++)
                sums[r][v] = multiply_add(x, points[v], sums[r][v]);
        }
    }
    for (int r = 0; r < TILE_ROWS; r++)
        for (int v = 0; v < TILE_VECTORS; v++) out[r][v] = sums[r][v];
}

/* The columns of one tile. Rows past the last are the last again: comparing twice changes nothing.
 */
static inline void tile_compare(const float *rows, size_t stride, size_t count, size_t row,
                                const Panel *panel, size_t column, Best *best) {
    const float *at[TILE_ROWS];
    Floats products[TILE_ROWS][TILE_VECTORS];
    size_t group = column / PANEL_COLUMNS, within = column % PANEL_COLUMNS;
    for (size_t r = 0; r < TILE_ROWS; r++)
        at[r] = rows + (row + r < count ? row + r : count - 1) * stride;
    tile(at, panel->dimensions, panel->values + group * panel->dimensions * PANEL_COLUMNS + within,
         products);
    for (size_t r = 0; r < TILE_ROWS; r++) {
        Best *mine = &best[row + r < count ? row + r : count - 1];
        Floats score = floats_load(mine->scores);
        Numbers number = numbers_load(mine->numbers);
        for (size_t v = 0; v < TILE_VECTORS; v++) {
            Floats half = floats_load(panel->half + column + v * LANES);
            lower(half - products[r][v], (uint32_t)(column + v * LANES), &score, &number);
        }
        floats_store(mine->scores, score);
        numbers_store(mine->numbers, number);
    }
}

static inline uint32_t best_of(const Best *best, float *score) {
    uint32_t at = 0;
    float least = best->scores[0];
    for (uint32_t lane = 1; lane < LANES; lane++)
        if (best->scores[lane] < least) least = best->scores[lane], at = lane;
    *score = least;
    return best->numbers[at] + at;
}

/* A tile's columns stay in cache while all rows pass by. */
static void nearest(const float *rows, size_t stride, size_t count, const Panel *panel,
                    uint32_t *out, float *scores) {
    Best best[CHUNK_ROWS];
    for (size_t i = 0; i < count; i++)
        for (size_t lane = 0; lane < LANES; lane++)
            best[i].scores[lane] = 3e38f, best[i].numbers[lane] = 0;
    for (size_t column = 0; column < panel->groups * PANEL_COLUMNS; column += TILE_COLUMNS)
        for (size_t row = 0; row < count; row += TILE_ROWS)
            tile_compare(rows, stride, count, row, panel, column, best);
    for (size_t i = 0; i < count; i++) out[i] = best_of(&best[i], &scores[i]);
}

static void dots(const float *x, const Panel *panel, float *out) {
    const float *values = panel->values;
    for (size_t group = 0; group < panel->groups; group++, out += PANEL_COLUMNS)
        for (size_t from = 0; from < PANEL_COLUMNS; from += 4 * LANES) {
            const float *at = values + group * panel->dimensions * PANEL_COLUMNS + from;
            Floats sums[4] = {floats_all(0), floats_all(0), floats_all(0), floats_all(0)};
            for (size_t k = 0; k < panel->dimensions; k++, at += PANEL_COLUMNS)
#pragma GCC unroll 4
                for (int v = 0; v < 4; v++)
                    sums[v] = multiply_add(floats_all(x[k]), floats_load(at + v * LANES), sums[v]);
            for (int v = 0; v < 4; v++) floats_store(out + from + v * LANES, sums[v]);
        }
}

static float dot(const float *a, const float *b, size_t n) {
    Floats s0 = floats_all(0), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        s0 = multiply_add(floats_load(a + i), floats_load(b + i), s0);
        s1 = multiply_add(floats_load(a + i + LANES), floats_load(b + i + LANES), s1);
        s2 = multiply_add(floats_load(a + i + 2 * LANES), floats_load(b + i + 2 * LANES), s2);
        s3 = multiply_add(floats_load(a + i + 3 * LANES), floats_load(b + i + 3 * LANES), s3);
    }
    float rest = 0;
    for (; i < n; i++) rest += a[i] * b[i];
    return sum(s0 + s1 + s2 + s3) + rest;
}

static float distance2(const float *a, const float *b, size_t n) {
    Floats s0 = floats_all(0), s1 = s0;
    size_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        Floats d0 = floats_load(a + i) - floats_load(b + i);
        Floats d1 = floats_load(a + i + LANES) - floats_load(b + i + LANES);
        s0 = multiply_add(d0, d0, s0);
        s1 = multiply_add(d1, d1, s1);
    }
    float rest = 0;
    for (; i < n; i++) rest += (a[i] - b[i]) * (a[i] - b[i]);
    return sum(s0 + s1) + rest;
}

static float dot_length(const float *a, const float *b, size_t n, float *b2) {
    Floats s0 = floats_all(0), s1 = s0, l0 = s0, l1 = s0;
    size_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        Floats x0 = floats_load(b + i), x1 = floats_load(b + i + LANES);
        s0 = multiply_add(floats_load(a + i), x0, s0);
        s1 = multiply_add(floats_load(a + i + LANES), x1, s1);
        l0 = multiply_add(x0, x0, l0);
        l1 = multiply_add(x1, x1, l1);
    }
    float rest = 0, length = 0;
    for (; i < n; i++) rest += a[i] * b[i], length += b[i] * b[i];
    *b2 = sum(l0 + l1) + length;
    return sum(s0 + s1) + rest;
}

static void range(const float *values, size_t n, float *least, float *most) {
    float low = values[0], high = values[0];
    for (size_t i = 1; i < n; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    *least = low;
    *most = high;
}

static void narrow(const float *restrict values, size_t n, float least, float scale,
                   uint8_t *restrict out) {
    for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(int)((values[i] - least) * scale + 0.5f);
}

#ifndef SUMS
/* Table by table: one is 256 bytes, and all of them beside the sums stay in L1. */
static void sums(const uint8_t *codes, size_t stride, size_t count, size_t bytes,
                 const uint8_t *tables, uint16_t *out) {
    memset(out, 0, count * sizeof *out);
    for (size_t byte = 0; byte < bytes; byte++) {
        const uint8_t *table = tables + byte * CODE_VALUES, *code = codes + byte * stride;
        for (size_t i = 0; i < count; i++) out[i] = (uint16_t)(out[i] + table[code[i]]);
    }
}

static size_t below(const float *constants, const uint16_t *sums_of, size_t count, float base,
                    float scale, float limit, float *distances, uint32_t *numbers) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        float distance = constants[i] + base - scale * (float)sums_of[i];
        distances[found] = distance;
        numbers[found] = (uint32_t)i;
        found += distance < limit;
    }
    return found;
}
#endif

const PqKernels KERNELS = {NAME,       nearest, dots,   dot,  distance2,
                           dot_length, range,   narrow, sums, below};
