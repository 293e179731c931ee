/* A query beside codes: rotated like a row, as int8 for fine codes, and as four planes of bits for
 * signs (the sum over a code's ones is then four times AND and count). */
#include "vector/codes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void code_query_open(CodeQuery *query, size_t padded) {
    size_t words = QUERY_PLANES * plane_words(padded / 64);
    *query = (CodeQuery){.padded = padded,
                         .rotated = memory_aligned(padded * sizeof(float)),
                         .bytes = memory_aligned(padded),
                         .planes = memory_aligned(words * sizeof(uint64_t))};
    memset(query->planes, 0, words * sizeof(uint64_t));
}

void code_query_close(CodeQuery *query) {
    free(query->rotated);
    free(query->bytes);
    free(query->planes);
    *query = (CodeQuery){0};
}

static void set_centroids(const CodeModel *m, CodeQuery *q) {
    float norm2 = kernels()->dot(q->rotated, q->rotated, m->padded);
    /* What code_encode left out: -|z|^2/2, or <m, q>, which is <m, z> + <m, m>. */
    q->shift = m->l2 ? -norm2 / 2
                     : kernels()->dot(q->rotated, m->mean, m->padded) +
                           kernels()->dot(m->mean, m->mean, m->padded);
    for (size_t c = 0; c < CODE_CENTROIDS; c++) {
        const float *centroid = m->values + (1 + c) * m->padded;
        q->dots[c] = kernels()->dot(q->rotated, centroid, m->padded);
        float far2 = norm2 - 2 * q->dots[c] + 2 * m->halves[c];
        q->far[c] = sqrtf(MAX(far2, 0));
    }
}

void code_query_set(const CodeModel *model, const float *vector, CodeQuery *query) {
    size_t n = model->padded;
    float range[3];
    code_rotate(model, vector, query->rotated);
    kernels()->query_planes(query->rotated, n, query->planes, range);
    query->low2 = 2 * range[0];
    query->step2 = 2 * range[1];
    query->sum = range[2];
    query->base = range[0] * (float)n - query->sum; /* as if half of the signs were set */
    query->byte_scale = kernels()->narrow(query->rotated, n, 127, query->bytes);
    set_centroids(model, query);
}
