#include "kit/kit.h"
#include "vector/codes.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define N_MAX 1040 /* past every unrolled loop, and odd multiples of the lanes */

static _Alignas(64) float a[N_MAX], b[N_MAX];

static void fill(void) {
    for (size_t i = 0; i < N_MAX; i++) {
        a[i] = (float)((int64_t)(random_u64() % 2001) - 1000) / 500;
        b[i] = (float)((int64_t)(random_u64() % 2001) - 1000) / 500;
    }
}

static bool near(double value, double expected, double scale) {
    return fabs(value - expected) <= 1e-5 * (1 + scale);
}

#define EACH_LEVEL(k)                                                                              \
    for (const Kernels *const *at_ = kernels_supported(), *k; (k = *at_) != NULL; at_++)

TEST("dot and distance give what plain arithmetic gives, at every length and any alignment") {
    fill();
    EACH_LEVEL(k)
    for (size_t n = 0; n <= 1024; n += KERNEL_LANES)
        for (size_t shift = 0; shift < 2; shift++) {
            double dot = 0, distance = 0;
            for (size_t i = 0; i < n; i++) {
                double x = a[i + shift], y = b[i];
                dot += x * y;
                distance += (x - y) * (x - y);
            }
            CHECK(near(k->dot(a + shift, b, n), dot, (double)n));
            CHECK(near(k->distance2(a + shift, b, n), distance, (double)n * 4));
        }
}

static float half_value(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double value = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return (float)(half & 0x8000 ? -value : value);
}

TEST("16-bit floats of both kinds are read exactly, subnormal ones too") {
    uint16_t x[16] = {0};
    float one[16] = {1};
    EACH_LEVEL(k)
    for (uint32_t bits = 0; bits < 65536; bits++) {
        x[0] = (uint16_t)bits;
        if ((bits >> 10 & 31) < 31) CHECK(k->dot_f16(x, one, 16) == half_value((uint16_t)bits));
        uint32_t wide = bits << 16;
        float value;
        memcpy(&value, &wide, sizeof value);
        if (isnormal(value) || value == 0) CHECK(k->dot_bf16(x, one, 16) == value);
    }
}

TEST("dots of 16-bit floats sum every lane, at every length") {
    static uint16_t half[N_MAX], brain[N_MAX];
    fill();
    for (size_t i = 0; i < N_MAX; i++) {
        uint32_t bits;
        memcpy(&bits, &a[i], sizeof bits);
        brain[i] = (uint16_t)(bits >> 16);
        half[i] = (uint16_t)(random_u64() % 0x4000 | (random_u64() & 0x8000)); /* within +-2 */
    }
    EACH_LEVEL(k)
    for (size_t n = 0; n <= 1024; n += KERNEL_LANES) {
        double by_half = 0, by_brain = 0;
        for (size_t i = 0; i < n; i++) {
            uint32_t bits = (uint32_t)brain[i] << 16;
            float value;
            memcpy(&value, &bits, sizeof value);
            by_half += (double)half_value(half[i]) * b[i];
            by_brain += (double)value * b[i];
        }
        CHECK(near(k->dot_f16(half, b, n), by_half, (double)n));
        CHECK(near(k->dot_bf16(brain, b, n), by_brain, (double)n));
    }
}

static uint64_t mixed(void) { /* cheaper than the kernel's random numbers, where many are needed */
    static uint64_t state;
    return hash_mix(++state);
}

/* Random numbers within +-most, the extremes among them often. */
static void fill_bytes(int8_t *to, size_t n, int most) {
    for (size_t i = 0; i < n; i++) {
        int value = (int)(mixed() % (uint64_t)(2 * most + 1)) - most;
        to[i] = (int8_t)(mixed() % 4 ? value : value < 0 ? -most : most);
    }
}

TEST("products of one row of bytes with others are exact, however many and long") {
    enum { CODES = 13 };
    static int8_t x[N_MAX], codes[CODES * N_MAX];
    uint32_t rows[CODES];
    int32_t dots[CODES];
    EACH_LEVEL(k)
    for (size_t n = 0; n <= 1024; n += CODE_LANES)
        for (size_t count = 0; count <= CODES; count++) {
            fill_bytes(x, N_MAX, I8_MAX);
            fill_bytes(codes, COUNT(codes), I8_MAX);
            for (size_t i = 0; i < count; i++) rows[i] = (uint32_t)(random_u64() % CODES);
            k->dots_i8(x, codes, n, rows, count, dots);
            for (size_t i = 0; i < count; i++) {
                int32_t expected = 0;
                for (size_t d = 0; d < n; d++) expected += x[d] * codes[rows[i] * n + d];
                CHECK_INT(dots[i], expected);
            }
        }
}

/* Records and fine codes of any bytes, factors included, beside a query of any numbers. */
typedef struct Coded {
    CodeQuery query;
    uint8_t *records, *fine;
} Coded;

enum { CODED = 19 };

static float number(void) { /* within +-1, of few digits: products and sums are exact */
    return (float)(int)(random_u64() % 257) / 128 - 1;
}

static void factors_fill(CodeFactors *f) {
    union {
        float value;
        uint32_t bits;
    } add = {number()}, scale = {number()}, error = {fabsf(number())}, step = {number()};
    *f = (CodeFactors){.add = add.value,
                       .scale = (uint16_t)(scale.bits >> 16),
                       .error = (uint16_t)(error.bits >> 16),
                       .balance = (int16_t)(random_u64() % 65),
                       .fine_add = (uint16_t)(add.bits >> 16),
                       .fine_step = (step.bits & ~0xffu) | (uint8_t)random_u64()};
}

static void coded_open(Coded *c, size_t n) {
    size_t size = code_record_size(n), words = n / 64, step = plane_words(words);
    *c = (Coded){.records = memory_aligned(CODED * size), .fine = memory_aligned(CODED * n / 2)};
    code_query_open(&c->query, n);
    for (size_t i = 0; i < CODED * size; i++) c->records[i] = mixed() % 3 ? (uint8_t)mixed() : 255;
    for (size_t i = 0; i < CODED * n / 2; i++) c->fine[i] = mixed() % 4 ? (uint8_t)mixed() : 255;
    for (size_t i = 0; i < CODED; i++) factors_fill((CodeFactors *)(c->records + i * size + n / 8));
    for (size_t p = 0; p < QUERY_PLANES; p++)
        for (size_t w = 0; w < words; w++)
            c->query.planes[p * step + w] = random_u64() | (words % 2 ? 0 : UINT64_MAX);
    fill_bytes(c->query.bytes, n, 127);
    c->query.base = number(), c->query.low2 = number(), c->query.step2 = number();
    c->query.sum = number(), c->query.byte_scale = number();
    for (size_t i = 0; i < CODE_CENTROIDS; i++)
        c->query.dots[i] = number(), c->query.far[i] = fabsf(number());
}

static void coded_close(Coded *c) {
    code_query_close(&c->query);
    free(c->records);
    free(c->fine);
}

static uint32_t sum_over_ones(const Coded *c, size_t row) {
    size_t n = c->query.padded, sum = 0;
    const uint64_t *code = (const uint64_t *)(c->records + row * code_record_size(n));
    for (size_t p = 0; p < QUERY_PLANES; p++)
        for (size_t w = 0; w < n / 64; w++)
            sum +=
                (size_t)__builtin_popcountll(code[w] & c->query.planes[p * plane_words(n / 64) + w])
                << p;
    return (uint32_t)sum;
}

static int32_t fine_product(const Coded *c, size_t row) {
    int32_t sum = 0;
    for (size_t i = 0; i < c->query.padded; i++) {
        uint8_t byte = c->fine[row * c->query.padded / 2 + i / 64 * 32 + i % 32];
        sum += (i % 64 < 32 ? byte & 15 : byte >> 4) * c->query.bytes[i];
    }
    return sum;
}

TEST("estimates are those of the formula, for any number of codes and of dimensions") {
    for (size_t n = CODE_LANES; n <= 4480; n += n < 1024 ? CODE_LANES : 576) {
        OWNED(coded_close) Coded c;
        float signs[CODED], fines[CODED], out[CODED + 1];
        double sums[CODED], products[CODED];
        coded_open(&c, n);
        for (size_t i = 0; i < CODED; i++) {
            const CodeFactors *f = code_factors(c.records + i * code_record_size(n), n);
            uint32_t sum = sum_over_ones(&c, i);
            int32_t product = fine_product(&c, i);
            signs[i] = code_estimate(&c.query, f, sum) + 2 * code_error(&c.query, f);
            fines[i] = code_fine_estimate(&c.query, f, product);
            sums[i] = sum;
            products[i] = abs(product);
        }
        EACH_LEVEL(k)
        for (uint32_t count = 0; count <= CODED; count++) {
            uint32_t rows[CODED];
            for (uint32_t i = 0; i < count; i++) rows[i] = i * 7 % CODED;
            out[count] = 12345;
            k->sign_estimates(&c.query, c.records, rows, count, 2, out);
            for (uint32_t i = 0; i < count; i++)
                CHECK(fabs(out[i] - signs[rows[i]]) <= 1e-6 * (100 + sums[rows[i]]));
            k->fine_estimates(&c.query, c.records, c.fine, rows, count, out);
            for (uint32_t i = 0; i < count; i++)
                CHECK(fabs(out[i] - fines[rows[i]]) <= 1e-6 * (100 + products[rows[i]]));
            CHECK(out[count] == 12345); /* nothing is written beyond */
        }
    }
}

/* Factors by which an estimate is the sum or the product itself. */
static void coded_plain(Coded *c) {
    size_t n = c->query.padded;
    c->query.base = c->query.low2 = c->query.sum = 0;
    c->query.step2 = c->query.byte_scale = 1;
    for (size_t i = 0; i < CODE_CENTROIDS; i++) c->query.dots[i] = 0;
    for (size_t i = 0; i < CODED; i++)
        *(CodeFactors *)(c->records + i * code_record_size(n) + n / 8) =
            (CodeFactors){.scale = 0x3f80, .fine_step = 0x3f800000};
}

TEST("sums over ones and products of half bytes are exact for any number of codes and of words") {
    for (size_t words = 1; words <= 70; words++) {
        OWNED(coded_close) Coded c;
        float out[CODED];
        uint32_t sums[CODED], rows[CODED];
        int32_t products[CODED];
        coded_open(&c, words * 64);
        coded_plain(&c);
        for (uint32_t i = 0; i < CODED; i++) {
            rows[i] = i * 7 % CODED;
            sums[i] = sum_over_ones(&c, rows[i]);
            products[i] = fine_product(&c, rows[i]);
        }
        EACH_LEVEL(k)
        for (size_t count = 0; count <= CODED; count++) {
            k->sign_estimates(&c.query, c.records, rows, count, 0, out);
            for (size_t i = 0; i < count; i++) CHECK(out[i] == (float)sums[i]);
            k->fine_estimates(&c.query, c.records, c.fine, rows, count, out);
            for (size_t i = 0; i < count; i++) CHECK(out[i] == (float)products[i]);
        }
    }
}

TEST("sums and products of the same extremes everywhere are exact in 65,536 dimensions") {
    enum { N = 65536 };
    OWNED(coded_close) Coded c;
    float out;
    uint32_t zero = 0;
    coded_open(&c, N);
    memset(c.records, 255, N / 8);
    memset(c.fine, 255, N / 2);
    memset(c.query.planes, 255, QUERY_PLANES * N / 8);
    memset(c.query.bytes, -127, N);
    coded_plain(&c);
    EACH_LEVEL(k) {
        k->sign_estimates(&c.query, c.records, &zero, 1, 0, &out);
        CHECK(out == N * 15.0f);
        k->fine_estimates(&c.query, c.records, c.fine, &zero, 1, &out);
        CHECK(out == N * 15.0f * -127);
    }
}

TEST("the same extremes everywhere do not overflow, in 65,536 dimensions") {
    size_t n = 65536;
    int8_t *x = malloc(n), *y = malloc(n);
    int32_t dot;
    memset(x, I8_MAX, n);
    memset(y, -I8_MAX, n);
    EACH_LEVEL(k) {
        k->dots_i8(x, y, n, &(uint32_t){0}, 1, &dot);
        CHECK_INT(dot, -(long long)n * I8_MAX * I8_MAX);
    }
    free(x);
    free(y);
}

TEST("a tile holds the product of every row with every column, extremes included") {
    static _Alignas(64) uint8_t rows[TILE_ROWS_MAX * 832];
    static _Alignas(64) int8_t panel[TILE_COLUMNS_MAX * 832];
    static _Alignas(64) int32_t out[TILE_ROWS_MAX * TILE_COLUMNS_MAX];
    EACH_LEVEL(k)
    for (size_t n = CODE_LANES; n <= 832; n += CODE_LANES) {
        fill_bytes((int8_t *)rows, k->tile_rows * n, I8_MAX);
        fill_bytes(panel, k->tile_columns * n, I8_MAX);
        for (size_t i = 0; i < k->tile_rows * n; i++) rows[i] = (uint8_t)(rows[i] + I8_OFFSET);
        k->tile(rows, panel, n, out);
        for (size_t i = 0; i < k->tile_rows; i++)
            for (size_t j = 0; j < k->tile_columns; j++) {
                int32_t expected = 0;
                for (size_t d = 0; d < n; d++)
                    expected +=
                        rows[i * n + d] * panel[d / 4 * 4 * k->tile_columns + j * 4 + d % 4];
                CHECK_INT(out[i * k->tile_columns + j], expected);
            }
    }
}

TEST("what is above a threshold or its column's floor is found, in order, at every number of "
     "columns") {
    int32_t dots[64], offset[64];
    float scale[64], half[64], floors[64], values[64];
    uint16_t at[64];
    for (size_t i = 0; i < 64; i++) {
        dots[i] = (int32_t)(random_u64() % 2000) - 1000;
        offset[i] = (int32_t)(random_u64() % 100);
        scale[i] = 0.5f;
        half[i] = (float)i;
        floors[i] = (float)(i % 5) * 50 - 150;
    }
    EACH_LEVEL(k)
    for (size_t columns = 0; columns <= k->tile_columns; columns++)
        for (float threshold = -200; threshold <= 200; threshold += 25) {
            bool floored = random_u64() % 2;
            const TileRow row = {dots,  offset, scale,    half, floored ? floors : NULL,
                                 0.25f, 3,      threshold};
            size_t count = k->above(&row, columns, values, at), next = 0;
            for (size_t j = 0; j < columns; j++) {
                float value = (float)(dots[j] - offset[j]) * 0.125f - (half[j] + 3);
                if (value <= threshold && (!floored || value <= floors[j])) continue;
                CHECK(next < count && at[next] == j && values[next] == value);
                next++;
            }
            CHECK_INT(count, next);
        }
}

TEST("a list keeps the greatest values in order, and of equal ones those that came first") {
    enum { LONGEST = 4 * KERNEL_LANES, ADDED = 300 };
    float values[LONGEST], added[ADDED];
    uint32_t rows[LONGEST];
    EACH_LEVEL(k)
    for (size_t n = KERNEL_LANES; n <= LONGEST; n += KERNEL_LANES) {
        for (size_t i = 0; i < n; i++) values[i] = -FLT_MAX;
        for (uint32_t j = 0; j < ADDED; j++) {
            added[j] = (float)(random_u64() % 100) - 50;
            k->list_add(values, rows, n, added[j], j);
        }
        for (size_t i = 0; i < n; i++) {
            size_t before = 0; /* how many of those added stand before this one */
            for (size_t j = 0; j < ADDED; j++)
                before += added[j] > values[i] || (added[j] == values[i] && j < rows[i]);
            CHECK_INT(before, i);
            CHECK(added[rows[i]] == values[i]);
        }
    }
}

static double norm2(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sum;
}

TEST("a rotation keeps lengths and products, spreads one coordinate over all, at every level "
     "alike") {
    static uint32_t signs[CODE_ROUNDS * 1024 / 32];
    static _Alignas(64) float x[1024], y[1024], first[1024];
    for (size_t i = 0; i < COUNT(signs); i++) signs[i] = (uint32_t)random_u64();
    for (size_t n = CODE_LANES; n <= 1024; n += CODE_LANES) {
        fill();
        EACH_LEVEL(k) {
            double product = 0, rotated = 0, most = 0;
            memcpy(x, a, n * sizeof *x);
            memset(y, 0, sizeof y);
            y[n / 3] = 1;
            product = x[n / 3];
            k->rotate(x, n, signs);
            k->rotate(y, n, signs);
            for (size_t i = 0; i < n; i++) {
                rotated += (double)x[i] * y[i];
                most = MAX(most, fabs(y[i]));
            }
            CHECK(near(norm2(x, n), norm2(a, n), norm2(a, n)));
            CHECK(near(norm2(y, n), 1, 1));
            CHECK(near(rotated, product, 10));
            CHECK(most < 6 / sqrt((double)n));
            if (k == kernels_supported()[0]) memcpy(first, x, n * sizeof *x);
            for (size_t i = 0; i < n; i++) CHECK(near(x[i], first[i], 10));
        }
    }
}

TEST("codes of a residual are what their definitions say") {
    static uint64_t words[16];
    static uint8_t fine[512];
    double sums[3];
    fill();
    EACH_LEVEL(k)
    for (size_t n = CODE_LANES; n <= 1024; n += CODE_LANES) {
        double length = 0, signed_sum = 0, product = 0, fine_norm2 = 0, step = 0.25;
        k->encode_signs(a, b, n, words, sums);
        for (size_t i = 0; i < n; i++) {
            CHECK((words[i / 64] >> (i % 64) & 1) == (a[i] > 0));
            length += fabs((double)a[i]);
            signed_sum += a[i] > 0 ? b[i] : -b[i];
        }
        CHECK(near(sums[0], length, (double)n) && near(sums[1], signed_sum, (double)n));
        k->encode_fine(a, b, n, (float)step, fine, sums);
        for (size_t i = 0; i < n; i++) {
            uint8_t byte = fine[i / 64 * 32 + i % 32];
            double value = ((i % 64 < 32 ? byte & 15 : byte >> 4) - 7.5) * step;
            CHECK(fabs(value - a[i]) <= (fabs(a[i]) < 7.5 * step ? 0.5001 * step : 2));
            product += value * a[i];
            fine_norm2 += value * value;
        }
        CHECK(near(sums[0], product, (double)n) && near(sums[1], fine_norm2, (double)n));
    }
}

TEST("a query's planes add up to its numbers within half a step, and narrowing rounds") {
    static uint64_t planes[QUERY_PLANES * 16];
    static int8_t bytes[1024];
    float range[3];
    fill();
    EACH_LEVEL(k)
    for (size_t n = CODE_LANES; n <= 1024; n += CODE_LANES) {
        size_t step = plane_words(n / 64);
        double sum = 0;
        k->query_planes(a, n, planes, range);
        float scale = k->narrow(a, n, 127, bytes);
        for (size_t i = 0; i < n; i++) {
            unsigned level = 0;
            for (unsigned p = 0; p < QUERY_PLANES; p++)
                level |= (unsigned)(planes[p * step + i / 64] >> (i % 64) & 1) << p;
            CHECK(fabs(range[0] + range[1] * (double)level - a[i]) <= 0.501 * range[1]);
            CHECK(fabs((double)bytes[i] * scale - a[i]) <= 0.501 * scale);
            sum += a[i];
        }
        CHECK(near(range[2], sum, (double)n));
    }
}

TEST("nothing but zeros is no trouble") {
    static const float zeros[128];
    static uint64_t planes[QUERY_PLANES * 8];
    static int8_t bytes[128];
    float range[3];
    EACH_LEVEL(k) {
        CHECK(k->narrow(zeros, 128, I8_MAX, bytes) == 0 && bytes[77] == 0);
        k->query_planes(zeros, 128, planes, range);
        CHECK(range[0] == 0 && range[1] == 0 && range[2] == 0 && planes[3] == 0);
    }
}

TEST("this CPU has at least the plain level, and one is chosen") {
    CHECK(kernels_supported()[0] && kernels()->dot);
}
