#include "kit/kit.h"
#include "vector/kernels.h"

#include <math.h>
#include <stdalign.h>

TEST("every level gives what plain arithmetic gives, at every length and any alignment") {
    static alignas(64) float a[1040], b[1040];
    for (size_t i = 0; i < COUNT(a); i++) {
        a[i] = (float)((int64_t)(random_u64() % 2001) - 1000) / 500;
        b[i] = (float)((int64_t)(random_u64() % 2001) - 1000) / 500;
    }
    for (const Kernels *const *level = kernels_supported(); *level; level++)
        for (size_t n = 0; n <= 1024; n += KERNEL_LANES)
            for (size_t shift = 0; shift < 2; shift++) {
                double expected = 0;
                for (size_t i = 0; i < n; i++) expected += (double)a[i + shift] * b[i];
                CHECK(fabs((*level)->dot(a + shift, b, n) - expected) <
                      1e-3 * (1 + (double)n / 16));
            }
}

TEST("this CPU has at least the plain level, and one is chosen") {
    CHECK(kernels_supported()[0] && kernels()->dot);
}
