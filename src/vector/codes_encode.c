/* Codes of rows: signs and 4-bit steps of the residual, with the factors of their estimates. */
#include "vector/codes.h"

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

static void encode_signs(const Residual *r, uint64_t *words, CodeFactors *f) {
    double sums[2];
    kernels()->encode_signs(r->values, r->centroid, r->n, words, sums);
    for (size_t w = 0; w < r->n / 64; w++) f->ones += (uint32_t)__builtin_popcountll(words[w]);
    double scale = sums[0] > 0 ? r->norm2 / sums[0] : 0;
    f->scale = (float)scale;
    f->add = (float)estimate_add(r, scale, sums[1]);
    f->error = (float)estimate_error(r, sums[0] / sqrt((double)r->n * MAX(r->norm2, 1e-300)));
}

/* Rounds up to the upper half of a float. */
static uint16_t half_above(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0xffff) >> 16);
}

static void encode_fine(const Residual *r, uint8_t *fine, CodeFactors *f) {
    float step = 2 * FINE_REACH / 15 * (float)sqrt(r->norm2 / (double)r->n);
    double sums[3];
    kernels()->encode_fine(r->values, r->centroid, r->n, step, fine, sums);
    double g = sums[0] > 0 ? r->norm2 / sums[0] : 0;
    double cosine = sums[0] > 0 ? sums[0] / sqrt(sums[1] * r->norm2) : 0;
    f->fine_step = (float)g * step;
    f->fine_low = f->fine_step * -7.5f;
    f->fine_add = (float)estimate_add(r, g, sums[2]);
    f->fine_error = half_above((float)estimate_error(r, cosine));
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
    CodeFactors factors = {.centroid = (uint16_t)centroid};
    double sums[2], bias = bias_of(model, rotated);
    kernels()->residual(rotated, c, n, sums);
    Residual r = {.values = rotated,
                  .centroid = c,
                  .n = n,
                  .norm2 = sums[0],
                  .to_centroid = sums[1],
                  .bias = bias};
    memset(record, 0, code_record_size(n));
    encode_signs(&r, (uint64_t *)record, &factors);
    encode_fine(&r, fine, &factors);
    memcpy(record + n / 8, &factors, sizeof factors);
}
