#include "vector/kernels.h"

#include "base/base.h"

#include <stdlib.h>

static const Kernels *supported[4]; /* best first */
const Kernels *kernels_chosen;

#ifdef __x86_64__
static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vpopcntdq");
}

/* F16C, which clang 14 cannot ask for, is older than AVX2: every CPU with this has that. */
static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("popcnt");
}
#endif

/* Before main, so that a call costs one load: a graph's links are too many for a check each. */
__attribute__((constructor)) static void kernels_pick(void) {
#ifdef __x86_64__
    __builtin_cpu_init();
#endif
    size_t count = 0;
#ifdef __x86_64__
    if (has_avx512()) supported[count++] = &kernels_avx512;
    if (has_avx2()) supported[count++] = &kernels_avx2;
#endif
    supported[count++] = &kernels_base;
    kernels_chosen = supported[0];
    Str wanted = str_from(getenv("LAKEHOUSE_SIMD"));
    for (size_t i = 0; i < count; i++)
        if (str_is(wanted, supported[i]->name)) kernels_chosen = supported[i];
}

const Kernels *const *kernels_supported(void) {
    return supported;
}
