/* What codes are relative to: the mean, a random rotation and a few centroids. */
#include "vector/codes.h"

#include "vector/graph.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEED 0x6c616b65686f7573u
#define MEAN_ROWS 16384    /* sampled for the mean */
#define CENTROID_ROWS 2048 /* sampled for the centroids */
#define CENTROID_STEPS 6

static void model_init(CodeModel *m, const Vectors *like, uint64_t seed) {
    size_t padded = code_padded(like->dimensions), signs = CODE_ROUNDS * padded / 32;
    *m =
        (CodeModel){.dimensions = like->dimensions, .padded = padded, .seed = seed, .l2 = like->l2};
    m->values = memory_aligned(code_model_len(padded) * sizeof *m->values);
    m->mean = memory_aligned(padded * sizeof *m->mean);
    m->halves = memory_aligned(CODE_CENTROIDS * sizeof *m->halves);
    m->signs = memory_aligned(signs * sizeof *m->signs);
    for (size_t i = 0; i < signs; i++) m->signs[i] = (uint32_t)hash_mix(seed + i);
}

/* What follows from the values. */
static void set_mean(CodeModel *m) {
    memcpy(m->mean, m->values, m->padded * sizeof *m->mean);
    kernels()->rotate(m->mean, m->padded, m->signs);
}

static void set_halves(CodeModel *m) {
    for (size_t c = 0; c < CODE_CENTROIDS; c++) {
        const float *x = m->values + (1 + c) * m->padded;
        m->halves[c] = kernels()->dot(x, x, m->padded) / 2;
    }
}

void code_model_load(CodeModel *out, const void *values, const Vectors *like, uint64_t seed) {
    model_init(out, like, seed);
    memcpy(out->values, values, code_model_len(out->padded) * sizeof *out->values);
    set_mean(out);
    set_halves(out);
}

void code_model_close(CodeModel *model) {
    free(model->values);
    free(model->mean);
    free(model->halves);
    free(model->signs);
    *model = (CodeModel){0};
}

/* Where the i-th of `wanted` sampled rows is, spread over all. */
static size_t sampled(size_t i, size_t wanted, size_t count) {
    return i * count / wanted;
}

static void learn_mean(CodeModel *m, const Vectors *vectors) {
    size_t wanted = MIN(vectors->count, MEAN_ROWS);
    memset(m->values, 0, m->padded * sizeof *m->values);
    for (size_t i = 0; i < wanted; i++) {
        const float *row = vectors_row(vectors, sampled(i, wanted, vectors->count));
        for (size_t d = 0; d < m->dimensions; d++) m->values[d] += row[d] / (float)wanted;
    }
    set_mean(m);
}

size_t code_centroid(const CodeModel *model, const float *rotated) {
    size_t best = 0, n = model->padded;
    float best_score = -INFINITY;
    for (size_t c = 0; c < CODE_CENTROIDS; c++) {
        float score = kernels()->dot(model->values + (1 + c) * n, rotated, n) - model->halves[c];
        if (score > best_score) best_score = score, best = c;
    }
    return best;
}

/* One step of Lloyd's algorithm; a centroid that nothing is nearest to stays. */
static void lloyd(CodeModel *m, const float *sample, size_t count, float *sums) {
    size_t sizes[CODE_CENTROIDS] = {0}, padded = m->padded;
    float *centroids = m->values + padded;
    memset(sums, 0, CODE_CENTROIDS * padded * sizeof *sums);
    set_halves(m);
    for (size_t i = 0; i < count; i++) {
        const float *x = sample + i * padded;
        size_t c = code_centroid(m, x);
        sizes[c]++;
        for (size_t d = 0; d < padded; d++) sums[c * padded + d] += x[d];
    }
    for (size_t c = 0; c < CODE_CENTROIDS; c++)
        for (size_t d = 0; sizes[c] && d < padded; d++)
            centroids[c * padded + d] = sums[c * padded + d] / (float)sizes[c];
}

static void learn_centroids(CodeModel *m, const Vectors *vectors) {
    size_t wanted = MIN(vectors->count, CENTROID_ROWS), padded = m->padded;
    float *sample = memory_aligned(wanted * padded * sizeof *sample);
    float *sums = memory_aligned(CODE_CENTROIDS * padded * sizeof *sums);
    for (size_t i = 0; i < wanted; i++)
        code_rotate(m, vectors_row(vectors, sampled(i, wanted, vectors->count)),
                    sample + i * padded);
    for (size_t c = 0; c < CODE_CENTROIDS; c++)
        memcpy(m->values + (1 + c) * padded, sample + sampled(c, CODE_CENTROIDS, wanted) * padded,
               padded * sizeof *sample);
    for (int step = 0; step < CENTROID_STEPS; step++) lloyd(m, sample, wanted, sums);
    set_halves(m);
    free(sample);
    free(sums);
}

void code_model_learn(CodeModel *out, const Vectors *vectors) {
    assert(vectors->count > 0);
    model_init(out, vectors, SEED);
    learn_mean(out, vectors);
    learn_centroids(out, vectors);
}

void code_rotate(const CodeModel *model, const float *row, float *out) {
    for (size_t d = 0; d < model->dimensions; d++) out[d] = row[d] - model->values[d];
    memset(out + model->dimensions, 0, (model->padded - model->dimensions) * sizeof *out);
    kernels()->rotate(out, model->padded, model->signs);
}
