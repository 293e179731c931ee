/* The inner loops, compiled for several CPU levels: kernels_body.h holds each in plain C, and
 * kernels_avx2.c and kernels_avx512.c replace those that the compiler does not vectorise well. The
 * best level that this CPU has is picked once, or LAKEHOUSE_SIMD=base|avx2|avx512 picks. Integer
 * kernels give the same result at every level. Floats must be finite. Thread safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define KERNEL_LANES 16 /* rows of floats are padded with zeros to a multiple of this */
#define CODE_LANES 64   /* codes are padded to a multiple of this many dimensions */
#define I8_MAX 63       /* int8 codes are within +-63: sums of products of two fit 16 bits */
#define I8_OFFSET 64    /* added to make the left side of a tile unsigned */
#define QUERY_PLANES 4  /* bits of a query's number beside 1-bit codes */
#define CODE_ROUNDS 4   /* of a rotation */
#define TILE_ROWS_MAX 8
#define TILE_COLUMNS_MAX 64

/* One row of a tile beside what its columns are. The value of a column, which is the same when row
 * and column change places: (dots - offset) * (scale * row_scale) - (half + row_half). */
typedef struct TileRow {
    const int32_t *dots, *offset;
    const float *scale, *half, *floors; /* floors: may be NULL */
    float row_scale, row_half, threshold;
} TileRow;

typedef struct CodeQuery CodeQuery;

typedef struct Kernels {
    const char *name;
    size_t tile_rows, tile_columns;

    /* n is a multiple of KERNEL_LANES. */
    float (*dot)(const float *a, const float *b, size_t n);
    float (*distance2)(const float *a, const float *b, size_t n);   /* squared */
    float (*dot_bf16)(const uint16_t *a, const float *b, size_t n); /* a: upper halves of floats */
    float (*dot_f16)(const uint16_t *a, const float *b, size_t n);  /* a: IEEE 754 binary16 */

    /* n is a multiple of CODE_LANES from here on. Products of a with the codes at codes + rows[i] *
     * n; all within +-I8_MAX. */
    void (*dots_i8)(const int8_t *a, const int8_t *codes, size_t n, const uint32_t *rows,
                    size_t count, int32_t *dots);
    /* out[i] is the similarity of rows[i] to the query, less the query's shift (codes.h): by its
     * signs, and so many standard errors more; by its fine code. */
    void (*sign_estimates)(const CodeQuery *query, const uint8_t *records, const uint32_t *rows,
                           size_t count, float errors, float *out);
    void (*fine_estimates)(const CodeQuery *query, const uint8_t *records, const uint8_t *fine,
                           const uint32_t *rows, size_t count, float *out);
    /* tile_rows x tile_columns dot products, row by row: rows of a have n numbers offset by
     * I8_OFFSET, at a + i * n; panel holds tile_columns columns, 4 numbers of each at a time. */
    void (*tile)(const uint8_t *a, const int8_t *panel, size_t n, int32_t *out);
    /* The values above row->threshold or above their column's floor, and their columns; returns how
     * many. */
    size_t (*above)(const TileRow *row, size_t columns, float *values, uint16_t *at);
    /* Puts a value, and the row it is of, behind those that are no less in a list whose values
     * fall; the last is lost. n is a multiple of KERNEL_LANES. */
    void (*list_add)(float *values, uint32_t *rows, size_t n, float value, uint32_t row);

    /* Making codes (codes.h). Rotates in place; signs are CODE_ROUNDS * n bits. */
    void (*rotate)(float *x, size_t n, const uint32_t *signs);
    /* x less c, in place; sums: of squares, of products with c. */
    void (*residual)(float *x, const float *c, size_t n, double sums[2]);
    /* Bit i is set where x[i] > 0; sums: of magnitudes, of c with x's signs. */
    void (*encode_signs)(const float *x, const float *c, size_t n, uint64_t *words, double sums[2]);
    /* Steps 0 to 15 for values step * (i - 7.5); sums of products of those values: with x, with
     * themselves, with c. */
    void (*encode_fine)(const float *x, const float *c, size_t n, float step, uint8_t *fine,
                        double sums[3]);
    /* Rounds x / scale to within +-most; returns the scale. */
    float (*narrow)(const float *x, size_t n, int most, int8_t *code);
    /* Fills the planes; range: what level 0 stands for, one level's step, the sum of x. */
    void (*query_planes)(const float *x, size_t n, uint64_t *planes, float range[3]);
} Kernels;

static inline size_t plane_words(size_t words) {
    return (words + 7) / 8 * 8; /* zero-padded */
}

extern const Kernels *kernels_chosen; /* set before main */
static inline const Kernels *kernels(void) {
    return kernels_chosen;
}
/* Every table that this CPU can run, for tests; ends with NULL. */
const Kernels *const *kernels_supported(void);

extern const Kernels kernels_base;
#ifdef __x86_64__
extern const Kernels kernels_avx2, kernels_avx512;
#endif
