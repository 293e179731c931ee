/* Codes of rows: signs and 4-bit steps of the residual, with the factors of their estimates. */
#include "vector/codes.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define FINE_REACH 2.7f /* deviations that 16 steps cover: the best for normal numbers is near */

/* What both codes need of a row. */
typedef struct Residual {
    const float *values, *centroid;
    size_t n;
    double norm2;       /* |r|^2 */
    double to_centroid; /* <r, c> */
    double bias;        /* what similarity lacks from the product with a query, see below */
} Residual;

/* The estimate by an approximation a of r is g <a, q - c> + <r, c> - bias, with g = |r|^2 / <a, r>
 * so that it is right on average. */
static double estimate_add(const Residual *r, double g, double approximation_to_centroid) {
    return r->to_centroid - g * approximation_to_centroid - r->bias;
}

static double estimate_error(const Residual *r, double cosine) {
    double spread = cosine > 0 ? 1 / (cosine * cosine) - 1 : 0;
    return sqrt(r->norm2) * sqrt(MAX(spread, 0)) / sqrt((double)r->n - 1);
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
/* The upper half of a float, the nearest one and the one above (of what is not negative). */
static uint16_t half_near(float value) {
    return (uint16_t)((bits_of(value) + 0x8000) >> 16);
}
static uint16_t half_above(float value) {
    return (uint16_t)((bits_of(value) + 0xffff) >> 16);
}

/* Returns the standard error. */
static float encode_signs(const Residual *r, uint64_t *words, CodeFactors *f) {
    double sums[2];
    size_t ones = 0;
    kernels()->encode_signs(r->values, r->centroid, r->n, words, sums);
    for (size_t w = 0; w < r->n / 64; w++) ones += (size_t)__builtin_popcountll(words[w]);
    f->balance = (int16_t)MIN((int)ones - (int)(r->n / 2), INT16_MAX);
    f->scale = half_near(sums[0] > 0 ? (float)(r->norm2 / sums[0]) : 0);
    f->add = (float)estimate_add(r, code_float((uint32_t)f->scale << 16), sums[1]);
    return (float)estimate_error(r, sums[0] / sqrt((double)r->n * MAX(r->norm2, 1e-300)));
}

/* Returns the standard error. */
static float encode_fine(const Residual *r, uint8_t *fine, CodeFactors *f) {
    float step = 2 * FINE_REACH / 15 * (float)sqrt(r->norm2 / (double)r->n);
    double sums[3];
    kernels()->encode_fine(r->values, r->centroid, r->n, step, fine, sums);
    double g = sums[0] > 0 ? r->norm2 / sums[0] : 0;
    double cosine = sums[0] > 0 ? sums[0] / sqrt(sums[1] * r->norm2) : 0;
    f->fine_step = bits_of((float)g * step) & ~0xffu;
    f->fine_add = half_near((float)estimate_add(r, g, sums[2]) - f->add);
    return (float)estimate_error(r, cosine);
}

static void encode_errors(float by_signs, float by_fine, CodeFactors *f) {
    f->error = half_above(MAX(by_signs, by_fine));
    float part = ceilf(64 * by_fine / MAX(code_float((uint32_t)f->error << 16), FLT_MIN));
    f->fine_step |= part < 16 ? MAX((uint32_t)part, 1u) << 4 : 0;
}

/* With y the row and z the query less the mean m: -|x - q|^2/2 is <y, z> - |y|^2/2 and <x, q> is
 * <y, z> + <y, m>, each but for a constant of the query. */
static double bias_of(const CodeModel *m, const float *rotated) {
    return m->l2 ? kernels()->dot(rotated, rotated, m->padded) / 2
                 : -kernels()->dot(rotated, m->mean, m->padded);
}

void code_encode(const CodeModel *model, float *rotated, uint8_t *record, uint8_t *fine) {
    size_t n = model->padded, centroid = code_centroid(model, rotated);
    const float *c = model->values + (1 + centroid) * n;
    CodeFactors factors = {0};
    double sums[2], bias = bias_of(model, rotated);
    kernels()->residual(rotated, c, n, sums);
    Residual r = {.values = rotated,
                  .centroid = c,
                  .n = n,
                  .norm2 = sums[0],
                  .to_centroid = sums[1],
                  .bias = bias};
    memset(record, 0, code_record_size(n));
    float by_signs = encode_signs(&r, (uint64_t *)record, &factors);
    encode_errors(by_signs, encode_fine(&r, fine, &factors), &factors);
    factors.fine_step |= (uint32_t)centroid;
    memcpy(record + n / 8, &factors, sizeof factors);
}
