/* Each inner loop once, in plain C. The files that include this name a table (KERNELS, NAME) and
 * are compiled with -O3 -ffast-math and their own -march, which is what vectorises the loops. */
#include "vector/kernels.h"

static float dot(const float *restrict a, const float *restrict b, size_t n) {
    float sum = 0;
    n -= n % KERNEL_LANES; /* it is a multiple: says so to the compiler, which drops the tail */
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

const Kernels KERNELS = {.name = NAME, .dot = dot};
