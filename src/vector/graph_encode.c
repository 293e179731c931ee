/* First step of the build: codes of each row, int8 for the build and the short ones for searches,
 * all from the row rotated once. Distances of the build are those between int8 codes, whatever the
 * metric. */
#include "vector/graph_build.h"

#include <stdlib.h>

/* Whoever gives vectors has checked them; but they come from a file, which may be damaged. */
static bool is_comparable(const Vectors *vectors, const float *row) {
    return kernels()->dot(row, row, vectors->stride) <= VECTOR_LENGTH_MAX * VECTOR_LENGTH_MAX;
}

static void encode_row(Builder *b, size_t row, float *rotated) {
    const CodeModel *model = &b->parts->model;
    int8_t *code = b->codes + row * b->padded;
    const float *x = vectors_row(&b->options->vectors, row);
    int32_t dot;
    if (!is_comparable(&b->options->vectors, x)) {
        atomic_store(&b->too_long, true);
        atomic_store(&b->cancelled, true);
        return;
    }
    code_rotate(model, x, rotated);
    float scale = kernels()->narrow(rotated, b->padded, I8_MAX, code);
    b->scales[row] = scale;
    kernels()->dots_i8(code, code, b->padded, &(uint32_t){0}, 1, &dot);
    b->halves[row] = (float)dot * scale * scale / 2;
    code_encode(model, rotated, b->parts->records + row * code_record_size(b->padded),
                b->parts->fine + row * code_fine_size(b->padded));
}

static void encode_range(void *context, size_t from, size_t to) {
    Builder *b = context;
    float *rotated = memory_aligned(b->padded * sizeof *rotated);
    for (size_t row = from; row < to && !builder_cancelled(b); row++) encode_row(b, row, rotated);
    free(rotated);
    builder_progress(b, 0, 0.1, to - from);
}

void builder_encode(Builder *b) {
    code_model_learn(&b->parts->model, &b->options->vectors);
    parallel_for(b->options->threads, b->count, 512, encode_range, b);
}
