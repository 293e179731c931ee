/* AVX2 and FMA. */
#ifdef __x86_64__
#include "lance/pq_kernels.h"

#include <immintrin.h>

#define LANES 8
#define TILE_ROWS 6
#define TILE_VECTORS 2

typedef __m256 Floats;
typedef __m256i Numbers;

static inline Floats floats_load(const float *from) {
    return _mm256_loadu_ps(from);
}
static inline void floats_store(float *to, Floats x) {
    _mm256_storeu_ps(to, x);
}
static inline Floats floats_all(float x) {
    return _mm256_set1_ps(x);
}
static inline Numbers numbers_load(const uint32_t *from) {
    return _mm256_loadu_si256((const void *)from);
}
static inline void numbers_store(uint32_t *to, Numbers x) {
    _mm256_storeu_si256((void *)to, x);
}
static inline Floats multiply_add(Floats a, Floats b, Floats c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline float sum(Floats x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline void lower(Floats a, uint32_t n, Floats *best, Numbers *number) {
    __m256 less = _mm256_cmp_ps(a, *best, _CMP_LT_OQ);
    *best = _mm256_blendv_ps(*best, a, less);
    *number = _mm256_blendv_epi8(*number, _mm256_set1_epi32((int)n), _mm256_castps_si256(less));
}

#define KERNELS pq_kernels_avx2
#define NAME "avx2"
#include "lance/pq_kernels_body.h"
#endif
