/* AVX2, FMA, POPCNT and F16C: products of bytes by vpmaddubsw, which adds pairs in 16 bits; codes
 * are narrow enough (kernels.h) that a few of those sums fit before they are widened. */
#ifdef __x86_64__
#include "vector/codes.h"

#include <immintrin.h>
#include <string.h>

static inline int32_t sum_i32(__m256i x) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static inline __m256i load(const void *p) {
    return _mm256_loadu_si256(p);
}

#define DOT_F16
static float dot_f16(const uint16_t *a, const float *b, size_t n) {
    __m256 s = _mm256_setzero_ps(), t = s;
    for (size_t i = 0; i < n; i += 16) {
        s = _mm256_fmadd_ps(_mm256_cvtph_ps(_mm_loadu_si128((const void *)(a + i))),
                            _mm256_loadu_ps(b + i), s);
        t = _mm256_fmadd_ps(_mm256_cvtph_ps(_mm_loadu_si128((const void *)(a + i + 8))),
                            _mm256_loadu_ps(b + i + 8), t);
    }
    float parts[8], sum = 0;
    _mm256_storeu_ps(parts, _mm256_add_ps(s, t));
    for (int i = 0; i < 8; i++) sum += parts[i];
    return sum;
}

#define DOTS_I8
static inline __m256i products(__m256i x, const int8_t *b) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(load(b), x));
}

static inline __m256i dot_parts(const int8_t *a, const int8_t *b, size_t n) {
    __m256i sum = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += CODE_LANES) {
        __m256i pair =
            _mm256_add_epi16(products(load(a + i), b + i), products(load(a + i + 32), b + i + 32));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pair, _mm256_set1_epi16(1)));
    }
    return sum;
}

static void dots_i8(const int8_t *a, const int8_t *codes, size_t n, const uint32_t *rows,
                    size_t count, int32_t *dots) {
    for (size_t i = 0; i < count; i++) dots[i] = sum_i32(dot_parts(a, codes + rows[i] * n, n));
}

#define DOT_U4
static inline __m256i products_u4(const uint8_t *code, const int8_t *query) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256i x = load(code), high = _mm256_and_si256(_mm256_srli_epi16(x, 4), low);
    return _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(x, low), load(query)),
                            _mm256_maddubs_epi16(high, load(query + 32)));
}

/* A pair of products is 2 * 15 * 127 at most: eight pairs fit 16 bits. */
static int32_t dot_u4(const uint8_t *code, const int8_t *query, size_t n) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 256 <= n; i += 256) {
        const uint8_t *c = code + i / 2;
        const int8_t *q = query + i;
        __m256i a = _mm256_add_epi16(products_u4(c, q), products_u4(c + 32, q + 64));
        __m256i b = _mm256_add_epi16(products_u4(c + 64, q + 128), products_u4(c + 96, q + 192));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_add_epi16(a, b), ones));
    }
    for (; i < n; i += CODE_LANES)
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products_u4(code + i / 2, query + i), ones));
    return sum_i32(sum);
}

#define BIT_SUM
/* How many bits are set in each byte, by a table of half bytes. */
static inline __m256i bit_counts(__m256i x) {
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                           2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), low);
    return _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(x, low)),
                           _mm256_shuffle_epi8(table, high));
}

/* Planes a and b of 256 dimensions, b twice: 24 at most in a byte. */
static inline __m256i two_planes(__m256i code, const uint64_t *a, const uint64_t *b) {
    __m256i high = bit_counts(_mm256_and_si256(code, load(b)));
    return _mm256_add_epi8(bit_counts(_mm256_and_si256(code, load(a))),
                           _mm256_add_epi8(high, high));
}

#define BYTE_SUMS 8 /* of those fit a byte */
static inline uint32_t bit_sum(const uint8_t *code, const uint64_t *planes, size_t words) {
    const __m256i zero = _mm256_setzero_si256();
    size_t step = plane_words(words);
    __m256i sum = zero;
    for (size_t w = 0; w < words;) {
        __m256i low = zero, high = zero;
        for (size_t end = w + 4 * BYTE_SUMS; w < words && w < end; w += 4) {
            __m256i x = load(code + w * 8);
            low = _mm256_add_epi8(low, two_planes(x, planes + w, planes + step + w));
            high =
                _mm256_add_epi8(high, two_planes(x, planes + 2 * step + w, planes + 3 * step + w));
        }
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(low, zero));
        sum = _mm256_add_epi64(sum, _mm256_slli_epi64(_mm256_sad_epu8(high, zero), 2));
    }
    return (uint32_t)sum_i32(sum);
}

#define TILE
#define TILE_ROWS 4
#define TILE_COLUMNS 16
/* Adds four numbers of one row times four of eight columns to 16-bit pair sums. */
static inline __m256i step(const uint8_t *a, __m256i columns) {
    int32_t four;
    memcpy(&four, a, sizeof four);
    return _mm256_maddubs_epi16(_mm256_set1_epi32(four), columns);
}

/* Two steps of four make 2 * 2 * 127 * 63 at most, which is the most that fits 16 bits. */
static void tile(const uint8_t *a, const int8_t *panel, size_t n, int32_t *out) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[TILE_ROWS][2] = {0};
    for (size_t k = 0; k < n; k += 8, panel += 8 * TILE_COLUMNS) {
        __m256i x0 = load(panel), x1 = load(panel + 32), y0 = load(panel + 64),
                y1 = load(panel + 96);
#pragma GCC unroll 4
        for (size_t i = 0; i < TILE_ROWS; i++) {
            const uint8_t *row = a + i * n + k;
            __m256i p = _mm256_add_epi16(step(row, x0), step(row + 4, y0));
            __m256i q = _mm256_add_epi16(step(row, x1), step(row + 4, y1));
            sums[i][0] = _mm256_add_epi32(sums[i][0], _mm256_madd_epi16(p, ones));
            sums[i][1] = _mm256_add_epi32(sums[i][1], _mm256_madd_epi16(q, ones));
        }
    }
    for (size_t i = 0; i < TILE_ROWS; i++)
        for (size_t j = 0; j < 2; j++)
            _mm256_storeu_si256((void *)(out + i * TILE_COLUMNS + j * 8), sums[i][j]);
}

#define ABOVE
static size_t above(const TileRow *row, size_t columns, float *values, uint16_t *at) {
    const __m256 row_scale = _mm256_set1_ps(row->row_scale),
                 row_half = _mm256_set1_ps(row->row_half);
    const __m256 threshold = _mm256_set1_ps(row->threshold);
    size_t count = 0;
    for (size_t j = 0; j < columns; j += 8) {
        __m256i dots = _mm256_sub_epi32(load(row->dots + j), load(row->offset + j));
        __m256 scale = _mm256_mul_ps(_mm256_loadu_ps(row->scale + j), row_scale), least = threshold;
        __m256 half = _mm256_add_ps(_mm256_loadu_ps(row->half + j), row_half);
        __m256 x = _mm256_sub_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(dots), scale), half);
        if (row->floors) least = _mm256_min_ps(least, _mm256_loadu_ps(row->floors + j));
        unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(x, least, _CMP_GT_OQ));
        if (j + 8 > columns) mask &= (1u << (columns - j)) - 1;
        if (!mask) continue;
        float found[8];
        _mm256_storeu_ps(found, x);
        for (; mask; mask &= mask - 1) {
            unsigned bit = (unsigned)__builtin_ctz(mask);
            values[count] = found[bit];
            at[count++] = (uint16_t)(j + bit);
        }
    }
    return count;
}

#define BITS_OF
static inline uint64_t bits_of(const uint8_t bytes[64], int bit) {
    __m128i left = _mm_cvtsi32_si128(7 - bit);
    __m256i low = _mm256_sll_epi16(load(bytes), left),
            high = _mm256_sll_epi16(load(bytes + 32), left);
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high)
                                                     << 32;
}

#define KERNELS kernels_avx2
#define NAME "avx2"
#include "vector/kernels_body.h"
#endif
