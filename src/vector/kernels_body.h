/* Each inner loop once, in plain C. The files that include this name a table (KERNELS, NAME), are
 * compiled with -O3 -ffast-math and their own -march, and may have defined some of the loops with
 * intrinsics before (a macro of the loop's name says so). */
#include "vector/codes.h"

#include <string.h>

typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));

#ifndef DOT
static inline float sum_of(const Eight *x) {
    float sum = 0;
    for (int i = 0; i < 8; i++) sum += (*x)[i];
    return sum;
}

/* Four sums side by side: with one, each addition waits for the last, and 768 dimensions take three
 * times as long by AVX2. */
static float dot(const float *a, const float *b, size_t n) {
    const Eight *x = (const Eight *)a, *y = (const Eight *)b;
    Eight s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (; n >= 32; n -= 32, x += 4, y += 4) {
        s0 += x[0] * y[0];
        s1 += x[1] * y[1];
        s2 += x[2] * y[2];
        s3 += x[3] * y[3];
    }
    if (n > 0) s0 += x[0] * y[0] + x[1] * y[1];
    s0 += s1 + s2 + s3;
    return sum_of(&s0);
}

static float distance2(const float *a, const float *b, size_t n) {
    const Eight *x = (const Eight *)a, *y = (const Eight *)b;
    Eight s0 = {0}, s1 = {0};
    for (; n > 0; n -= 16, x += 2, y += 2) {
        Eight d0 = x[0] - y[0], d1 = x[1] - y[1];
        s0 += d0 * d0;
        s1 += d1 * d1;
    }
    s0 += s1;
    return sum_of(&s0);
}
#endif

static float dot_bf16(const uint16_t *restrict a, const float *restrict b, size_t n) {
    float sum = 0;
    n -= n % KERNEL_LANES;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)a[i] << 16;
        float x;
        memcpy(&x, &bits, sizeof x);
        sum += x * b[i];
    }
    return sum;
}

#ifndef DOT_F16
/* The exponent is moved by a multiplication, which brings subnormal numbers along. */
static float dot_f16(const uint16_t *restrict a, const float *restrict b, size_t n) {
    float sum = 0;
    n -= n % KERNEL_LANES;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)(a[i] & 0x7fff) << 13 | (uint32_t)(a[i] & 0x8000) << 16;
        float x;
        memcpy(&x, &bits, sizeof x);
        sum += x * 0x1p112f * b[i];
    }
    return sum;
}
#endif

#ifndef DOTS_I8
static int32_t dot_i8(const int8_t *restrict a, const int8_t *restrict b, size_t n) {
    int32_t sum = 0;
    n -= n % CODE_LANES;
    for (size_t i = 0; i < n; i++) sum += (int16_t)(a[i] * b[i]);
    return sum;
}

static void dots_i8(const int8_t *a, const int8_t *codes, size_t n, const uint32_t *rows,
                    size_t count, int32_t *dots) {
    for (size_t i = 0; i < count; i++) dots[i] = dot_i8(a, codes + rows[i] * n, n);
}
#endif

#ifndef ESTIMATES
#ifndef DOT_U4
static int32_t dot_u4(const uint8_t *restrict code, const int8_t *restrict query, size_t n) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; i += CODE_LANES, code += CODE_LANES / 2, query += CODE_LANES)
        for (size_t j = 0; j < CODE_LANES / 2; j++)
            sum += (code[j] & 15) * query[j] + (code[j] >> 4) * query[j + CODE_LANES / 2];
    return sum;
}
#endif

#ifndef BIT_SUM
static inline uint32_t bit_sum(const uint8_t *code, const uint64_t *planes, size_t words) {
    size_t sums[QUERY_PLANES] = {0}, step = plane_words(words);
    const uint64_t *bits = (const uint64_t *)code;
    for (size_t w = 0; w < words; w++)
        for (size_t p = 0; p < QUERY_PLANES; p++)
            sums[p] += (size_t)__builtin_popcountll(bits[w] & planes[p * step + w]);
    return (uint32_t)(sums[0] + 2 * sums[1] + 4 * sums[2] + 8 * sums[3]);
}
#endif

static void sign_estimates(const CodeQuery *query, const uint8_t *records, const uint32_t *rows,
                           size_t count, float errors, float *out) {
    size_t n = query->padded;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *record = records + rows[i] * code_record_size(n);
        const CodeFactors *f = code_factors(record, n);
        out[i] = code_estimate(query, f, bit_sum(record, query->planes, n / 64)) +
                 errors * code_error(query, f);
    }
}

static void fine_estimates(const CodeQuery *query, const uint8_t *records, const uint8_t *fine,
                           const uint32_t *rows, size_t count, float *out) {
    size_t n = query->padded;
    for (size_t i = 0; i < count; i++) {
        const CodeFactors *f = code_factors(records + rows[i] * code_record_size(n), n);
        const uint8_t *code = fine + rows[i] * code_fine_size(n);
        out[i] = code_fine_estimate(query, f, dot_u4(code, query->bytes, n));
    }
}
#endif

#ifndef TILE
#define TILE_ROWS 4
#define TILE_COLUMNS 16
static void tile(const uint8_t *restrict a, const int8_t *restrict panel, size_t n,
                 int32_t *restrict out) {
    memset(out, 0, sizeof *out * TILE_ROWS * TILE_COLUMNS);
    for (size_t k = 0; k < n; k += 4, panel += 4 * TILE_COLUMNS)
        for (size_t i = 0; i < TILE_ROWS; i++)
            for (size_t j = 0; j < TILE_COLUMNS; j++)
                for (size_t d = 0; d < 4; d++)
                    out[i * TILE_COLUMNS + j] += a[i * n + k + d] * panel[j * 4 + d];
}
#endif

#ifndef ABOVE
static size_t above(const TileRow *row, size_t columns, float *values, uint16_t *at) {
    size_t count = 0;
    for (size_t j = 0; j < columns; j++) {
        float scale = row->scale[j] * row->row_scale, half = row->half[j] + row->row_half;
        float value = (float)(row->dots[j] - row->offset[j]) * scale - half;
        if (value <= row->threshold && (!row->floors || value <= row->floors[j])) continue;
        values[count] = value;
        at[count++] = (uint16_t)j;
    }
    return count;
}
#endif

typedef int32_t EightInts __attribute__((vector_size(32), aligned(4), may_alias));

/* From the end on, so that nothing is read after it was moved. Where a value lands is anyone's
 * guess: no branches within eight. */
static void list_add(float *values, uint32_t *rows, size_t n, float value, uint32_t row) {
    const Eight new_values = {value, value, value, value, value, value, value, value};
    const int32_t r = (int32_t)row;
    const EightInts new_rows = {r, r, r, r, r, r, r, r};
    while (n > 0 && values[n - 1] < value) {
        n -= 8;
        Eight *x = (Eight *)(values + n), before = new_values;
        EightInts *y = (EightInts *)(rows + n), rows_before = new_rows;
        if (n > 0) {
            before = *(Eight *)(values + n - 1);
            rows_before = *(EightInts *)(rows + n - 1);
        } else { /* before the first is what is never passed */
            before = __builtin_shufflevector(*x, before, 8, 0, 1, 2, 3, 4, 5, 6);
            rows_before = __builtin_shufflevector(*y, rows_before, 8, 0, 1, 2, 3, 4, 5, 6);
        }
        EightInts stays = *x >= new_values, lands = ~stays & (before >= new_values),
                  moves = ~stays & ~lands;
        *y = (stays & *y) | (lands & new_rows) | (moves & rows_before);
        *x = (Eight)((stays & (EightInts)*x) | (lands & (EightInts)new_values) |
                     (moves & (EightInts)before));
    }
}

/* The steps of distance 1, 2 and 4 lie within a vector of eight: each adds a vector, its signs
 * changed, to itself with neighbours swapped. */
static inline void hadamard_eight(Eight *values) {
    Eight x = *values;
    const Eight one = {1, -1, 1, -1, 1, -1, 1, -1}, two = {1, 1, -1, -1, 1, 1, -1, -1},
                four = {1, 1, 1, 1, -1, -1, -1, -1};
    x = x * one + __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6);
    x = x * two + __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5);
    *values = x * four + __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3);
}

/* Two steps in one pass over the memory. */
static inline void hadamard_twice(Eight *x, size_t blocks, size_t h) {
    for (size_t i = 0; i < blocks; i += 4 * h)
        for (size_t j = i; j < i + h; j++) {
            Eight a = x[j] + x[j + h], b = x[j] - x[j + h];
            Eight c = x[j + 2 * h] + x[j + 3 * h], d = x[j + 2 * h] - x[j + 3 * h];
            x[j] = a + c;
            x[j + h] = b + d;
            x[j + 2 * h] = a - c;
            x[j + 3 * h] = b - d;
        }
}

static void hadamard(float *values, size_t n) {
    Eight *x = (Eight *)values;
    size_t blocks = n / 8, h = 1;
    for (size_t i = 0; i < blocks; i++) hadamard_eight(&x[i]);
    for (; h * 4 <= blocks; h *= 4) hadamard_twice(x, blocks, h);
    if (h == blocks) return;
    for (size_t j = 0; j < h; j++) {
        Eight a = x[j], b = x[j + h];
        x[j] = a + b;
        x[j + h] = a - b;
    }
}

#include "vector/kernels_codes.h"

const Kernels KERNELS = {.name = NAME,
                         .tile_rows = TILE_ROWS,
                         .tile_columns = TILE_COLUMNS,
                         .dot = dot,
                         .distance2 = distance2,
                         .dot_bf16 = dot_bf16,
                         .dot_f16 = dot_f16,
                         .dots_i8 = dots_i8,
                         .sign_estimates = sign_estimates,
                         .fine_estimates = fine_estimates,
                         .tile = tile,
                         .above = above,
                         .list_add = list_add,
                         .rotate = rotate,
                         .residual = residual,
                         .encode_signs = encode_signs,
                         .encode_fine = encode_fine,
                         .narrow = narrow,
                         .query_planes = query_planes};
