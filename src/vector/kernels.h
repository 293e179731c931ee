/* The inner loops, compiled for several CPU levels from one body (kernels_body.h); the best that
 * this CPU has is picked once, or LAKEHOUSE_SIMD=base|avx2|avx512 picks. Vectors have a multiple of
 * KERNEL_LANES floats, padded with zeros, and must be finite. Thread safe. */
#pragma once

#include <stddef.h>

#define KERNEL_LANES 16

typedef struct Kernels {
    const char *name;
    float (*dot)(const float *a, const float *b, size_t n);
} Kernels;

const Kernels *kernels(void);
/* Every table that this CPU can run, for tests; ends with NULL. */
const Kernels *const *kernels_supported(void);

extern const Kernels kernels_base, kernels_avx2, kernels_avx512;
