#include "vector/kernels.h"

#include "base/base.h"

#include <pthread.h>
#include <stdlib.h>

static const Kernels *supported[4]; /* best first */
static const Kernels *chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void kernels_pick(void) {
    size_t count = 0;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        supported[count++] = &kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        supported[count++] = &kernels_avx2;
    supported[count++] = &kernels_base;
    chosen = supported[0];
    Str wanted = str_from(getenv("LAKEHOUSE_SIMD"));
    for (size_t i = 0; i < count; i++)
        if (str_is(wanted, supported[i]->name)) chosen = supported[i];
}

const Kernels *kernels(void) {
    pthread_once(&once, kernels_pick);
    return chosen;
}

const Kernels *const *kernels_supported(void) {
    pthread_once(&once, kernels_pick);
    return supported;
}
