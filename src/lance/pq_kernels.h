/* The inner loops of vector indexes (IVF_PQ), compiled for several CPU levels: pq_kernels_body.h
 * holds them over a few operations on vectors that each level names; the loops over codes are
 * written out for AVX-512. The best level that this CPU has is picked once, or
 * LAKEHOUSE_SIMD=base|avx2|avx512 picks. Thread safe. Internal to lance. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PANEL_COLUMNS 64 /* of a group */
#define CHUNK_ROWS 96    /* that pq nearest() is asked about at once: their state fits L1 */
#define CODE_VALUES 256  /* of a byte of a code */
#define SCAN_ROWS 256    /* whose sums are taken at once */
#define BELOW_ROOM 16    /* written past what below() appends */

/* Points that rows are compared with, packed for registers: groups of PANEL_COLUMNS, in each
 * coordinate by coordinate. `half` is half the squared length of each, or 0 where the largest dot
 * product is nearest; huge where there is no point. */
typedef struct Panel {
    size_t points, dimensions, groups;
    const float *values; /* groups * dimensions * PANEL_COLUMNS */
    const float *half;   /* groups * PANEL_COLUMNS */
} Panel;

typedef struct PqKernels {
    const char *name;
    /* The point that is nearest to each of at most CHUNK_ROWS rows, `stride` floats apart, and half
     * its squared distance less half the row's squared length. */
    void (*nearest)(const float *rows, size_t stride, size_t count, const Panel *panel,
                    uint32_t *out, float *scores);
    /* The dot product of x with every point of the panel; groups * PANEL_COLUMNS floats. */
    void (*dots)(const float *x, const Panel *panel, float *out);
    float (*dot)(const float *a, const float *b, size_t n);
    float (*distance2)(const float *a, const float *b, size_t n);
    /* The dot product, and in *b2 the squared length of b. */
    float (*dot_length)(const float *a, const float *b, size_t n, float *b2);
    void (*range)(const float *values, size_t n, float *least, float *most);
    /* (value - least) * scale, rounded; results fit a byte. */
    void (*narrow)(const float *values, size_t n, float least, float scale, uint8_t *out);
    /* For at most SCAN_ROWS rows: the sum over `bytes` of table[byte][code], where row i's code
     * lies at codes[byte * stride + i]. Tables are CODE_VALUES bytes each, 64-aligned. */
    void (*sums)(const uint8_t *codes, size_t stride, size_t count, size_t bytes,
                 const uint8_t *tables, uint16_t *out);
    /* distance[i] = constants[i] + base - scale * sums[i], of those below `limit`: appended with
     * their numbers to arrays with room for count + BELOW_ROOM. Returns how many. */
    size_t (*below)(const float *constants, const uint16_t *sums, size_t count, float base,
                    float scale, float limit, float *distances, uint32_t *numbers);
} PqKernels;

extern const PqKernels *pq_kernels_chosen; /* set before main */
static inline const PqKernels *pq_kernels(void) {
    return pq_kernels_chosen;
}
/* Every table that this CPU can run, for tests; ends with NULL. */
const PqKernels *const *pq_kernels_supported(void);

extern const PqKernels pq_kernels_base;
#ifdef __x86_64__
extern const PqKernels pq_kernels_avx2, pq_kernels_avx512;
#endif
