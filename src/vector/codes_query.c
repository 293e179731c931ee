/* A query beside codes: rotated like a row, as int8 for fine codes, and as four planes of bits for
 * signs (the sum over a code's ones is then four times AND and count). */
#include "vector/codes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *aligned(size_t size) {
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!memory) abort();
    return memory;
}

void code_query_open(CodeQuery *query, size_t padded) {
    size_t words = QUERY_PLANES * plane_words(padded / 64);
    *query = (CodeQuery){.rotated = aligned(padded * sizeof(float)),
                         .bytes = aligned(padded),
                         .planes = aligned(words * sizeof(uint64_t))};
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
    query->low = range[0];
    query->step = range[1];
    query->sum = range[2];
    query->byte_scale = kernels()->narrow(query->rotated, n, 127, query->bytes);
    set_centroids(model, query);
}
