/* AVX-512 with VNNI (products of bytes summed in 32 bits by one instruction) and VPOPCNTDQ. */
#ifdef __x86_64__
#include "vector/codes.h"

#include <immintrin.h>
#include <string.h>

static inline __m512i load(const void *p) {
    return _mm512_loadu_si512(p);
}

#define DOT
static float dot(const float *a, const float *b, size_t n) {
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    for (; n >= 64; n -= 64, a += 64, b += 64) {
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b), s0);
        s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + 16), _mm512_loadu_ps(b + 16), s1);
        s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + 32), _mm512_loadu_ps(b + 32), s2);
        s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + 48), _mm512_loadu_ps(b + 48), s3);
    }
    for (; n > 0; n -= 16, a += 16, b += 16)
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b), s0);
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

static float distance2(const float *a, const float *b, size_t n) {
    __m512 s0 = _mm512_setzero_ps(), s1 = s0;
    for (; n >= 32; n -= 32, a += 32, b += 32) {
        __m512 d0 = _mm512_sub_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b));
        __m512 d1 = _mm512_sub_ps(_mm512_loadu_ps(a + 16), _mm512_loadu_ps(b + 16));
        s0 = _mm512_fmadd_ps(d0, d0, s0);
        s1 = _mm512_fmadd_ps(d1, d1, s1);
    }
    if (n > 0) {
        __m512 d0 = _mm512_sub_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b));
        s0 = _mm512_fmadd_ps(d0, d0, s0);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(s0, s1));
}

#define DOT_F16
static float dot_f16(const uint16_t *a, const float *b, size_t n) {
    __m512 sum = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16)
        sum = _mm512_fmadd_ps(_mm512_cvtph_ps(_mm256_loadu_si256((const void *)(a + i))),
                              _mm512_loadu_ps(b + i), sum);
    return _mm512_reduce_add_ps(sum);
}

#define DOTS_I8
/* VNNI wants its left side unsigned: the signs move to the right side. */
static inline __m512i add_products(__m512i sum, __m512i x, const int8_t *b) {
    __m512i y = load(b);
    y = _mm512_mask_sub_epi8(y, _mm512_movepi8_mask(x), _mm512_setzero_si512(), y);
    return _mm512_dpbusd_epi32(sum, _mm512_abs_epi8(x), y);
}

static inline __m128i four_parts(__m512i x) {
    __m256i y = _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
}

/* The sum of each. */
static inline __m128i add_four(const __m512i sums[4]) {
    __m128i two = _mm_hadd_epi32(four_parts(sums[0]), four_parts(sums[1]));
    return _mm_hadd_epi32(two, _mm_hadd_epi32(four_parts(sums[2]), four_parts(sums[3])));
}

static void dots_i8(const int8_t *a, const int8_t *codes, size_t n, const uint32_t *rows,
                    size_t count, int32_t *dots) {
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        __m512i sums[4] = {0};
        for (size_t k = 0; k < n; k += CODE_LANES) {
            __m512i x = load(a + k);
#pragma GCC unroll 4
            for (size_t j = 0; j < 4; j++)
                sums[j] = add_products(sums[j], x, codes + rows[i + j] * n + k);
        }
        _mm_storeu_si128((void *)(dots + i), add_four(sums));
    }
    for (; i < count; i++) {
        __m512i sum = _mm512_setzero_si512();
        for (size_t k = 0; k < n; k += CODE_LANES)
            sum = add_products(sum, load(a + k), codes + rows[i] * n + k);
        dots[i] = _mm512_reduce_add_epi32(sum);
    }
}

#define ESTIMATES
/* Eight 64-bit sums over the ones of one code, still to be added up. */
static inline __m512i bit_parts(const uint8_t *code, const uint64_t *planes, size_t step) {
    __m512i sums[QUERY_PLANES] = {0};
    for (size_t w = 0; w < step; w += 8) {
        __m512i x = load(code + w * 8);
#pragma GCC unroll 4
        for (size_t p = 0; p < QUERY_PLANES; p++)
            sums[p] = _mm512_add_epi64(
                sums[p], _mm512_popcnt_epi64(_mm512_and_si512(x, load(planes + p * step + w))));
    }
    __m512i low = _mm512_add_epi64(sums[0], _mm512_slli_epi64(sums[1], 1));
    __m512i high = _mm512_add_epi64(sums[2], _mm512_slli_epi64(sums[3], 1));
    return _mm512_add_epi64(low, _mm512_slli_epi64(high, 2));
}

static inline __m512i add_neighbours(__m512i a, __m512i b) {
    return _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

static inline __m512i add_lanes(__m512i a, __m512i b) {
    return _mm512_add_epi64(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xdd));
}

/* The sums of eight vectors of eight, by a tree of shuffles. */
static inline __m512 add_eight(const __m512i parts[8]) {
    __m512i a = add_lanes(add_neighbours(parts[0], parts[1]), add_neighbours(parts[2], parts[3]));
    __m512i b = add_lanes(add_neighbours(parts[4], parts[5]), add_neighbours(parts[6], parts[7]));
    __m256i sums = _mm512_cvtepi64_epi32(add_lanes(a, b));
    return _mm512_cvtepi32_ps(_mm512_castsi256_si512(sums));
}

/* The factors of four records, one behind the other. */
static inline __m512i load_four(const CodeFactors *const factors[4]) {
    __m512i x = _mm512_castsi128_si512(_mm_loadu_si128((const void *)factors[0]));
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const void *)factors[1]), 1);
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const void *)factors[2]), 2);
    return _mm512_inserti32x4(x, _mm_loadu_si128((const void *)factors[3]), 3);
}

/* The 32 bits at `field` of each of eight factors. */
static inline __m512i field_of(__m512i four, __m512i others, int field) {
    const __m512i at = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_permutex2var_epi32(four, _mm512_add_epi32(at, _mm512_set1_epi32(field)), others);
}

/* code_estimate and errors times code_error of eight. A permutation looks at the low four bits of
 * an index alone: those of the centroid. */
static inline __m512 estimate_eight(const CodeQuery *q, const CodeFactors *const factors[8],
                                    __m512 sums, __m512 far) {
    __m512i a = load_four(factors), b = load_four(factors + 4), centroid = field_of(a, b, 3);
    __m512i scale_error = field_of(a, b, 1), balance = field_of(a, b, 2);
    __m512 scale = _mm512_castsi512_ps(_mm512_slli_epi32(scale_error, 16));
    __m512 error =
        _mm512_castsi512_ps(_mm512_and_si512(scale_error, _mm512_set1_epi32((int)0xffff0000)));
    balance = _mm512_srai_epi32(_mm512_slli_epi32(balance, 16), 16);
    __m512 signs = _mm512_fmadd_ps(_mm512_cvtepi32_ps(balance), _mm512_set1_ps(q->low2),
                                   _mm512_set1_ps(q->base));
    signs = _mm512_fmadd_ps(sums, _mm512_set1_ps(q->step2), signs);
    __m512 sum = _mm512_add_ps(_mm512_castsi512_ps(field_of(a, b, 0)),
                               _mm512_permutexvar_ps(centroid, _mm512_loadu_ps(q->dots)));
    sum = _mm512_fmadd_ps(error, _mm512_permutexvar_ps(centroid, far), sum);
    return _mm512_fmadd_ps(scale, signs, sum);
}

/* Eight at a time; what is missing of the last eight is the last one again. */
static void sign_estimates(const CodeQuery *query, const uint8_t *records, const uint32_t *rows,
                           size_t count, float errors, float *out) {
    size_t n = query->padded, size = code_record_size(n), step = plane_words(n / 64);
    __m512 far = _mm512_mul_ps(_mm512_loadu_ps(query->far), _mm512_set1_ps(errors));
    for (size_t i = 0; i < count; i += 8) {
        const CodeFactors *factors[8];
        __m512i parts[8];
        for (size_t j = 0; j < 8; j++) {
            const uint8_t *record = records + rows[i + j < count ? i + j : count - 1] * size;
            parts[j] = bit_parts(record, query->planes, step);
            factors[j] = code_factors(record, n);
        }
        __m512 x = estimate_eight(query, factors, add_eight(parts), far);
        _mm512_mask_storeu_ps(out + i, (__mmask16)(count - i < 8 ? (1u << (count - i)) - 1 : 255),
                              x);
    }
}

static inline __m512i two_halves(const int8_t *low, const int8_t *high) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const void *)low)),
                              _mm256_loadu_si256((const void *)high), 1);
}

/* The products of four codes with the query. */
static inline __m128i dots_u4(const uint8_t *const codes[4], const int8_t *query, size_t n) {
    const __m512i low = _mm512_set1_epi8(15);
    __m512i sums[4] = {0};
    size_t i = 0;
    for (; i + 128 <= n; i += 128) {
        const int8_t *q = query + i;
        __m512i y = two_halves(q, q + 64), z = two_halves(q + 32, q + 96);
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            __m512i x = load(codes[j] + i / 2);
            sums[j] = _mm512_dpbusd_epi32(sums[j], _mm512_and_si512(x, low), y);
            x = _mm512_and_si512(_mm512_srli_epi16(x, 4), low);
            sums[j] = _mm512_dpbusd_epi32(sums[j], x, z);
        }
    }
    for (size_t j = 0; i < n && j < 4; j++) { /* the low halves of 32 bytes, then the high ones */
        __m256i x = _mm256_loadu_si256((const void *)(codes[j] + i / 2));
        __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(x), _mm256_srli_epi16(x, 4), 1);
        sums[j] = _mm512_dpbusd_epi32(sums[j], _mm512_and_si512(both, low), load(query + i));
    }
    return add_four(sums);
}

/* code_fine_estimate of four. */
static inline __m128 fine_estimate_four(const CodeQuery *q, const CodeFactors *const factors[4],
                                        __m128i products) {
    __m512i a = load_four(factors);
    __m128i high = _mm_set1_epi32((int)0xffff0000),
            step = _mm512_castsi512_si128(field_of(a, a, 3));
    __m128 dots = _mm512_castps512_ps128(
        _mm512_permutexvar_ps(_mm512_castsi128_si512(step), _mm512_loadu_ps(q->dots)));
    __m128 add = _mm512_castps512_ps128(_mm512_castsi512_ps(field_of(a, a, 0)));
    __m128i fine_add = _mm_and_si128(_mm512_castsi512_si128(field_of(a, a, 2)), high);
    __m128 steps = _mm_fmsub_ps(_mm_cvtepi32_ps(products), _mm_set1_ps(q->byte_scale),
                                _mm_set1_ps(CODE_FINE_MIDDLE * q->sum));
    step = _mm_andnot_si128(_mm_set1_epi32(255), step);
    add = _mm_add_ps(_mm_add_ps(add, dots), _mm_castsi128_ps(fine_add));
    return _mm_fmadd_ps(_mm_castsi128_ps(step), steps, add);
}

static void fine_estimates(const CodeQuery *query, const uint8_t *records, const uint8_t *fine,
                           const uint32_t *rows, size_t count, float *out) {
    size_t n = query->padded;
    for (size_t i = 0; i < count; i += 4) {
        const CodeFactors *factors[4];
        const uint8_t *codes[4];
        for (size_t j = 0; j < 4; j++) {
            uint32_t row = rows[i + j < count ? i + j : count - 1];
            codes[j] = fine + row * code_fine_size(n);
            factors[j] = code_factors(records + row * code_record_size(n), n);
        }
        __m128 x = fine_estimate_four(query, factors, dots_u4(codes, query->bytes, n));
        _mm_mask_storeu_ps(out + i, (__mmask8)(count - i < 4 ? (1u << (count - i)) - 1 : 15), x);
    }
}

#define TILE
#define TILE_ROWS 6
#define TILE_COLUMNS 64
/* Of the intrinsic GCC 12 copies every sum, and most copies end on the stack: twice the time. */
static inline __m512i add_dots(__m512i sum, __m512i row, __m512i columns) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(row), "v"(columns));
    return sum;
}

static void tile(const uint8_t *a, const int8_t *panel, size_t n, int32_t *out) {
    __m512i sums[TILE_ROWS][4] = {0};
    for (size_t k = 0; k < n; k += 4, panel += 4 * TILE_COLUMNS) {
        __m512i x0 = load(panel), x1 = load(panel + 64), x2 = load(panel + 128),
                x3 = load(panel + 192);
#pragma GCC unroll 6
        for (size_t i = 0; i < TILE_ROWS; i++) {
            int32_t four;
            memcpy(&four, a + i * n + k, sizeof four);
            __m512i row = _mm512_set1_epi32(four);
            sums[i][0] = add_dots(sums[i][0], row, x0);
            sums[i][1] = add_dots(sums[i][1], row, x1);
            sums[i][2] = add_dots(sums[i][2], row, x2);
            sums[i][3] = add_dots(sums[i][3], row, x3);
        }
    }
    for (size_t i = 0; i < TILE_ROWS; i++)
        for (size_t j = 0; j < 4; j++)
            _mm512_storeu_si512(out + i * TILE_COLUMNS + j * 16, sums[i][j]);
}

#define ABOVE
static size_t above(const TileRow *row, size_t columns, float *values, uint16_t *at) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512 row_scale = _mm512_set1_ps(row->row_scale),
                 row_half = _mm512_set1_ps(row->row_half);
    const __m512 threshold = _mm512_set1_ps(row->threshold);
    size_t count = 0;
    for (size_t j = 0; j < columns; j += 16) {
        __m512i dots = _mm512_sub_epi32(load(row->dots + j), load(row->offset + j));
        __m512 scale = _mm512_mul_ps(_mm512_loadu_ps(row->scale + j), row_scale), least = threshold;
        __m512 half = _mm512_add_ps(_mm512_loadu_ps(row->half + j), row_half);
        __m512 x = _mm512_sub_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dots), scale), half);
        if (row->floors) least = _mm512_min_ps(least, _mm512_loadu_ps(row->floors + j));
        __mmask16 mask = _mm512_cmp_ps_mask(x, least, _CMP_GT_OQ);
        if (j + 16 > columns) mask &= (__mmask16)((1u << (columns - j)) - 1);
        if (!mask) continue;
        __m512i found = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)j));
        _mm512_mask_compressstoreu_ps(values + count, mask, x);
        __m256i narrow = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(mask, found));
        size_t n = (size_t)__builtin_popcount(mask);
        _mm256_mask_storeu_epi16(at + count, (__mmask16)((1u << n) - 1), narrow);
        count += n;
    }
    return count;
}

#define BITS_OF
static inline uint64_t bits_of(const uint8_t bytes[64], int bit) {
    return _mm512_movepi8_mask(_mm512_sll_epi16(load(bytes), _mm_cvtsi32_si128(7 - bit)));
}

#define KERNELS kernels_avx512
#define NAME "avx512"
#include "vector/kernels_body.h"
#endif
