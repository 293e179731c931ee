/* The loops that make codes (codes.h), part of kernels_body.h: plain C that vectorises, but for
 * gathering one bit of each of 64 bytes, which a level may define (BITS_OF). Sums are kept in
 * float over 64 dimensions and in double beyond. */

#ifndef BITS_OF
/* Bit `bit` of each byte; byte i's becomes bit i. */
static inline uint64_t bits_of(const uint8_t bytes[64], int bit) {
    uint64_t bits = 0;
    for (size_t i = 0; i < 64; i++) bits |= (uint64_t)(bytes[i] >> bit & 1) << i;
    return bits;
}
#endif

static void change_signs(float *x, size_t n, const uint32_t *signs) {
    for (size_t i = 0; i < n; i += 32)
        for (uint32_t j = 0; j < 32; j++) {
            uint32_t bits;
            memcpy(&bits, x + i + j, sizeof bits);
            bits ^= signs[i / 32] >> j << 31;
            memcpy(x + i + j, &bits, sizeof bits);
        }
}

/* Both halves become their sum and difference, which joins what the transforms of head and tail
 * keep apart. */
static void join_halves(float *restrict x, float *restrict y, size_t n) {
    n -= n % 32;
    for (size_t i = 0; i < n; i++) {
        float a = x[i], b = y[i];
        x[i] = (a + b) * 0.70710678f;
        y[i] = (a - b) * 0.70710678f;
    }
}

/* A Hadamard transform needs a power of two: it takes the largest one that fits, at the head and at
 * the tail in turns. */
static void rotate(float *x, size_t n, const uint32_t *signs) {
    size_t power = CODE_LANES;
    while (power * 2 <= n) power *= 2;
    for (size_t round = 0; round < CODE_ROUNDS; round++) {
        float *part = round % 2 ? x + (n - power) : x, scale = 1 / __builtin_sqrtf((float)power);
        change_signs(x, n, signs + round * n / 32);
        hadamard(part, power);
        for (size_t i = 0; i < power; i++) part[i] *= scale;
        if (power < n) join_halves(x, x + n / 2, n / 2);
    }
}

static void encode_signs(const float *restrict x, const float *restrict c, size_t n,
                         uint64_t *restrict words, double *restrict sums) {
    sums[0] = sums[1] = 0;
    for (size_t i = 0; i < n; i += 64, x += 64, c += 64) {
        uint8_t positive[64];
        float length = 0, product = 0;
        for (size_t j = 0; j < 64; j++) positive[j] = x[j] > 0;
        for (size_t j = 0; j < 64; j++) {
            length += __builtin_fabsf(x[j]);
            product += x[j] > 0 ? c[j] : -c[j];
        }
        words[i / 64] = bits_of(positive, 0);
        sums[0] += length;
        sums[1] += product;
    }
}

static void encode_fine(const float *restrict x, const float *restrict c, size_t n, float step,
                        uint8_t *restrict fine, double *restrict sums) {
    float inverse = step > 0 ? 1 / step : 0;
    sums[0] = sums[1] = sums[2] = 0;
    for (size_t i = 0; i < n; i += 64, x += 64, c += 64, fine += 32) {
        float product = 0, norm2 = 0, to_c = 0;
        int32_t levels[64];
        for (size_t j = 0; j < 64; j++) {
            float at = x[j] * inverse + 8; /* 7.5 is the middle of 0 to 15, 0.5 rounds */
            at = at < 0 ? 0 : at > 15 ? 15 : at;
            levels[j] = (int32_t)at;
        }
        for (size_t j = 0; j < 64; j++) {
            float value = step * ((float)levels[j] - 7.5f);
            product += value * x[j];
            norm2 += value * value;
            to_c += value * c[j];
        }
        for (size_t j = 0; j < 32; j++) fine[j] = (uint8_t)(levels[j] | levels[j + 32] << 4);
        sums[0] += product;
        sums[1] += norm2;
        sums[2] += to_c;
    }
}

static void residual(float *restrict x, const float *restrict c, size_t n, double *restrict sums) {
    sums[0] = sums[1] = 0;
    for (size_t i = 0; i < n; i += 64, x += 64, c += 64) {
        float norm2 = 0, product = 0;
        for (size_t j = 0; j < 64; j++) {
            x[j] -= c[j];
            norm2 += x[j] * x[j];
            product += x[j] * c[j];
        }
        sums[0] += norm2;
        sums[1] += product;
    }
}

static inline int32_t rounded(float x) {
    return (int32_t)(x + (x < 0 ? -0.5f : 0.5f));
}

static float narrow(const float *restrict x, size_t n, int most, int8_t *restrict code) {
    float reach = 0;
    n -= n % CODE_LANES;
    for (size_t i = 0; i < n; i++)
        reach = __builtin_fabsf(x[i]) > reach ? __builtin_fabsf(x[i]) : reach;
    float inverse = reach > 0 ? (float)most / reach : 0;
    for (size_t i = 0; i < n; i++) code[i] = (int8_t)rounded(x[i] * inverse);
    return reach / (float)most;
}

static void query_planes(const float *restrict x, size_t n, uint64_t *restrict planes,
                         float *restrict range) {
    float low = 0, high = 0, sum = 0, most = (1 << QUERY_PLANES) - 1;
    size_t step = plane_words(n / 64);
    n -= n % CODE_LANES;
    for (size_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
        sum += x[i];
    }
    float inverse = high > low ? most / (high - low) : 0;
    for (size_t i = 0; i < n; i += 64) {
        uint8_t levels[64];
        for (size_t j = 0; j < 64; j++) levels[j] = (uint8_t)rounded((x[i + j] - low) * inverse);
        for (int p = 0; p < QUERY_PLANES; p++)
            planes[(size_t)p * step + i / 64] = bits_of(levels, p);
    }
    range[0] = low;
    range[1] = (high - low) / most;
    range[2] = sum;
}
