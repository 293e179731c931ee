/* AVX-512 with VBMI and VBMI2: a table of 256 bytes lies in four registers, of which vpermi2b looks
 * 64 codes up at once. */
#ifdef __x86_64__
#include "lance/pq_kernels.h"

#include <immintrin.h>

#define LANES 16
#define TILE_ROWS 6
#define TILE_VECTORS 4

typedef __m512 Floats;
typedef __m512i Numbers;

static inline Floats floats_load(const float *from) {
    return _mm512_loadu_ps(from);
}
static inline void floats_store(float *to, Floats x) {
    _mm512_storeu_ps(to, x);
}
static inline Floats floats_all(float x) {
    return _mm512_set1_ps(x);
}
static inline Numbers numbers_load(const uint32_t *from) {
    return _mm512_loadu_si512(from);
}
static inline void numbers_store(uint32_t *to, Numbers x) {
    _mm512_storeu_si512(to, x);
}
static inline Floats multiply_add(Floats a, Floats b, Floats c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline float sum(Floats x) {
    return _mm512_reduce_add_ps(x);
}
static inline void lower(Floats a, uint32_t n, Floats *best, Numbers *number) {
    __mmask16 less = _mm512_cmp_ps_mask(a, *best, _CMP_LT_OQ);
    *best = _mm512_min_ps(a, *best);
    *number = _mm512_mask_set1_epi32(*number, less, (int)n);
}

#define SUMS
#define CODE_LANES 64
#define SCAN_VECTORS (SCAN_ROWS / CODE_LANES)

typedef struct Wide {
    __m512i low, high; /* sums of 32 rows each: of the even quarters of 16, and of the odd */
} Wide;

static inline __m512i look_up(__m512i codes, const __m512i table[4]) {
    __m512i low = _mm512_permutex2var_epi8(table[0], codes, table[1]);
    __m512i high = _mm512_permutex2var_epi8(table[2], codes, table[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high);
}

static inline void widen(__m512i bytes, Wide *sums_of) {
    __m512i low = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(bytes));
    __m512i high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(bytes, 1));
    sums_of->low = _mm512_add_epi16(sums_of->low, low);
    sums_of->high = _mm512_add_epi16(sums_of->high, high);
}

/* Rows past the last read nothing: a masked load cannot fault. */
static void sums(const uint8_t *codes, size_t stride, size_t count, size_t bytes,
                 const uint8_t *tables, uint16_t *out) {
    Wide all[SCAN_VECTORS];
    __mmask64 rows[SCAN_VECTORS];
    for (size_t v = 0; v < SCAN_VECTORS; v++) {
        size_t left = count > v * CODE_LANES ? count - v * CODE_LANES : 0;
        rows[v] = left >= CODE_LANES ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
        all[v].low = all[v].high = _mm512_setzero_si512();
    }
    for (size_t byte = 0; byte < bytes; byte++, tables += CODE_VALUES, codes += stride) {
        __m512i table[4];
        for (int i = 0; i < 4; i++) table[i] = _mm512_loadu_si512(tables + i * CODE_LANES);
#pragma GCC unroll 4
        for (size_t v = 0; v < SCAN_VECTORS; v++)
            widen(look_up(_mm512_maskz_loadu_epi8(rows[v], codes + v * CODE_LANES), table),
                  &all[v]);
    }
    for (size_t v = 0; v < SCAN_VECTORS; v++) {
        _mm512_mask_storeu_epi16(out + v * CODE_LANES, (__mmask32)rows[v], all[v].low);
        _mm512_mask_storeu_epi16(out + v * CODE_LANES + 32, (__mmask32)(rows[v] >> 32),
                                 all[v].high);
    }
}

/* Compressed in a register: compressing into memory takes Zen 4 a hundred cycles. */
static size_t below(const float *constants, const uint16_t *sums_of, size_t count, float base,
                    float scale, float limit, float *distances, uint32_t *numbers) {
    size_t found = 0;
    __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (size_t i = 0; i < count; i += LANES) {
        size_t left = count - i;
        __mmask16 rows = left >= LANES ? 0xffff : (__mmask16)((1u << left) - 1);
        __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(rows, sums_of + i));
        __m512 start = _mm512_add_ps(_mm512_maskz_loadu_ps(rows, constants + i), floats_all(base));
        __m512 distance = _mm512_fnmadd_ps(floats_all(scale), _mm512_cvtepi32_ps(wide), start);
        __mmask16 low = _mm512_mask_cmp_ps_mask(rows, distance, floats_all(limit), _CMP_LT_OQ);
        if (!low) continue;
        __m512i number = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)i));
        floats_store(distances + found, _mm512_maskz_compress_ps(low, distance));
        numbers_store(numbers + found, _mm512_maskz_compress_epi32(low, number));
        found += (size_t)__builtin_popcount(low);
    }
    return found;
}

#define KERNELS pq_kernels_avx512
#define NAME "avx512"
#include "lance/pq_kernels_body.h"
#endif
