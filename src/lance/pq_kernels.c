#include "lance/pq_kernels.h"

#include "base/base.h"

#include <stdlib.h>

static const PqKernels *supported[4]; /* best first */
const PqKernels *pq_kernels_chosen;

/* All that the compiler may use of what the Makefile lets it. */
#ifdef __x86_64__
static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bitalg") &&
           __builtin_cpu_supports("avx512vpopcntdq");
}

static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}
#endif

/* Before main, so that a call costs one load. */
__attribute__((constructor)) static void pq_kernels_pick(void) {
#ifdef __x86_64__
    __builtin_cpu_init();
#endif
    size_t count = 0;
#ifdef __x86_64__
    if (has_avx512()) supported[count++] = &pq_kernels_avx512;
    if (has_avx2()) supported[count++] = &pq_kernels_avx2;
#endif
    supported[count++] = &pq_kernels_base;
    pq_kernels_chosen = supported[0];
    Str wanted = str_from(getenv("LAKEHOUSE_SIMD"));
    for (size_t i = 0; i < count; i++)
        if (str_is(wanted, supported[i]->name)) pq_kernels_chosen = supported[i];
}

const PqKernels *const *pq_kernels_supported(void) {
    return supported;
}
