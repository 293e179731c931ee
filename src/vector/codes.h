/* Short codes of vectors, from which similarities are estimated with a known error (RaBitQ: Gao and
 * Long, SIGMOD 2024; several bits: Gao et al., SIGMOD 2025), so that a search reads few vectors.
 *
 * A vector x is taken relative to the mean of all, rotated at random (sign changes and Hadamard
 * transforms, so that no coordinate stands out), and then relative to the nearest of a few
 * centroids. Of that residual r in P dimensions (P: a multiple of 64) are kept
 *
 *   - the signs, 1 bit a dimension. The estimate of <r, z> from them, z a query less that centroid,
 *     has no bias and a standard error of |r| |z| sqrt(1/a^2 - 1) / sqrt(P - 1), where a is the
 *     cosine between r and its signs: about 0.75 |r| |z| / sqrt(P);
 *   - 4 bits a dimension, steps over +-2.7 deviations: the same with an error near a tenth.
 *
 * Estimates are of the similarity of graph.h less one constant of the query.
 * Any dimension from 1 to 65,536, any scale, zero vectors and duplicates; finite numbers only.
 *
 * Bytes, little-endian: a record is code_record_size(P) bytes, at a multiple of 64: P/8 bytes of
 * signs (bit i of word i/64 is dimension i), then CodeFactors, then zeros. A walk waits for the
 * cache lines of its records: factors have the digits that their estimates need and no more, and a
 * record of 384 dimensions is one line. Fine codes are P/2 bytes: of each 64 dimensions byte j
 * holds j in its low half and j + 32 in the high one. Any bytes are a record: nothing in it is
 * followed. Thread rule: a model is read-only once made; a CodeQuery is one thread's. */
#pragma once

#include "base/base.h"

#include "vector/kernels.h"

#define CODE_CENTROIDS 16
#define CODE_FINE_MIDDLE 7.5f /* of the steps 0 to 15 */

/* Each uint16_t is the upper half of a float. */
typedef struct CodeFactors {
    float add;             /* of the estimate by signs */
    uint16_t scale, error; /* of the same */
    int16_t balance;       /* how many more than half of the signs are set */
    uint16_t fine_add;     /* of the estimate by 4 bits: what it has more than `add` */
    uint32_t fine_step; /* a float's upper three bytes, then code_fine_error's part, the centroid */
} CodeFactors;

typedef struct CodeModel {
    size_t dimensions, padded; /* of a vector; P */
    uint64_t seed;
    bool l2;         /* similarity is -distance^2 / 2, else the dot product */
    float *values;   /* owned: code_model_len floats, see below */
    float *mean;     /* owned: rotated */
    float *halves;   /* owned: |centroid|^2 / 2 of each */
    uint32_t *signs; /* owned: of the rotation, made from the seed */
} CodeModel;

static inline size_t code_padded(size_t dimensions) {
    return (dimensions + CODE_LANES - 1) / CODE_LANES * CODE_LANES;
}
static inline size_t code_record_size(size_t padded) {
    return (padded / 8 + sizeof(CodeFactors) + 63) / 64 * 64;
}
static inline size_t code_fine_size(size_t padded) {
    return padded / 2;
}
static inline const CodeFactors *code_factors(const uint8_t *record, size_t padded) {
    return (const CodeFactors *)(record + padded / 8);
}
/* Floats of a model: the mean (padded), then CODE_CENTROIDS rotated centroids (padded each). */
static inline size_t code_model_len(size_t padded) {
    return padded * (1 + CODE_CENTROIDS);
}

typedef struct Vectors Vectors;
/* Learns mean and centroids from a sample of the rows; the same for the same rows. */
void code_model_learn(CodeModel *out, const Vectors *vectors);
/* A model whose code_model_len values were learned before; copies them. */
void code_model_load(CodeModel *out, const void *values, const Vectors *like, uint64_t seed);
void code_model_close(CodeModel *model);
/* The nearest centroid of a rotated row. */
size_t code_centroid(const CodeModel *model, const float *rotated);

/* `out` gets padded floats (64-byte aligned): the row less the mean, rotated. */
void code_rotate(const CodeModel *model, const float *row, float *out);
/* Fills a record and a fine code. `rotated` is the row's, and is overwritten. */
void code_encode(const CodeModel *model, float *rotated, uint8_t *record, uint8_t *fine);

/* A query made ready; memory is kept from query to query. */
struct CodeQuery {
    size_t padded;
    float *rotated;          /* padded */
    int8_t *bytes;           /* padded: rotated / byte_scale */
    uint64_t *planes;        /* QUERY_PLANES of plane_words(padded / 64): (rotated - low) / step */
    float base, low2, step2; /* twice the sum over ones less that over all: see code_estimate */
    float sum, byte_scale;
    float dots[CODE_CENTROIDS], far[CODE_CENTROIDS]; /* to each centroid: product, distance */
    float shift;                                     /* similarity less estimate */
};

void code_query_open(CodeQuery *query, size_t padded);
void code_query_close(CodeQuery *query);
/* `vector` has model->stride floats. */
void code_query_set(const CodeModel *model, const float *vector, CodeQuery *query);

static inline float code_float(uint32_t bits) {
    union {
        uint32_t bits;
        float value;
    } of = {.bits = bits};
    return of.value;
}
static inline size_t code_factors_centroid(const CodeFactors *f) {
    return f->fine_step % CODE_CENTROIDS;
}

/* From the query's sum over the record's ones. Kernels.sign_estimates does it for many. */
static inline float code_estimate(const CodeQuery *q, const CodeFactors *f, uint32_t ones_sum) {
    float signs = q->base + q->low2 * (float)f->balance + q->step2 * (float)ones_sum;
    return q->dots[code_factors_centroid(f)] + f->add +
           code_float((uint32_t)f->scale << 16) * signs;
}
/* One standard error of that. */
static inline float code_error(const CodeQuery *q, const CodeFactors *f) {
    return code_float((uint32_t)f->error << 16) * q->far[code_factors_centroid(f)];
}
/* From the product with the fine code. Kernels.fine_estimates does it for many. */
static inline float code_fine_estimate(const CodeQuery *q, const CodeFactors *f, int32_t product) {
    float steps = q->byte_scale * (float)product - CODE_FINE_MIDDLE * q->sum;
    return q->dots[code_factors_centroid(f)] + f->add + code_float((uint32_t)f->fine_add << 16) +
           code_float(f->fine_step & ~0xffu) * steps;
}
/* Some 64ths of the error by signs, rounded up; 0 stands for all of it. */
static inline float code_fine_error(const CodeQuery *q, const CodeFactors *f) {
    uint32_t part = f->fine_step >> 4 & 15;
    return code_error(q, f) * (part ? (float)part / 64 : 1);
}
