/* Between the first and the second step of the build: how many leaves a row is in, and how large
 * they are. Of a row's nearest rows only those are found that share a leaf with it: nearly all of
 * them (0.98) where rows lie in clusters, two thirds where neighbourhoods run into one another, as
 * those of texts do. So a sample of rows is compared with all, and where the leaves that
 * ef_construction stands for would miss many of their nearest, there are more of twice the size. */
#include "vector/graph_build.h"

#include <float.h>
#include <stdlib.h>

#define SAMPLE 64
#define AT_ONCE 16 /* sampled rows beside which a thread passes over all */
#define NEAREST KERNEL_LANES
#define ENOUGH 0.8 /* of the nearest share a leaf */
#define LEADERS_AT_ONCE 64

typedef struct Sampled {
    uint32_t row;
    float values[NEAREST]; /* minus distances, falling */
    uint32_t nearest[NEAREST];
    double share; /* of the nearest that share a leaf with it */
} Sampled;

typedef struct Sample {
    Builder *builder;
    Sampled *rows;
    size_t count;
} Sample;

static float value_of(const Builder *b, uint32_t x, uint32_t y, int32_t dot) {
    return (float)dot * b->scales[x] * b->scales[y] - b->halves[x] - b->halves[y];
}

static const int8_t *code_of(const Builder *b, size_t row) {
    return b->codes + row * b->padded;
}

static void find_nearest(void *context, size_t from, size_t to) {
    const Sample *sample = context;
    Builder *b = sample->builder;
    uint32_t rows[AT_ONCE];
    int32_t dots[AT_ONCE];
    for (size_t i = from; i < to; i++) rows[i - from] = sample->rows[i].row;
    for (size_t row = 0; row < b->count; row++) {
        if (row % 4096 == 0 && builder_cancelled(b)) return;
        kernels()->dots_i8(code_of(b, row), b->codes, b->padded, rows, to - from, dots);
        for (size_t i = from; i < to; i++) {
            Sampled *s = &sample->rows[i];
            float value = value_of(b, s->row, (uint32_t)row, dots[i - from]);
            if (value > s->values[NEAREST - 1] && row != s->row)
                kernels()->list_add(s->values, s->nearest, NEAREST, value, (uint32_t)row);
        }
    }
}

/* The numbers of a row's nearest leaders. */
static void find_leaves(const Builder *b, uint32_t row, uint32_t *leaves) {
    float values[FAN_OUT_MAX];
    int32_t dots[LEADERS_AT_ONCE];
    for (size_t i = 0; i < FAN_OUT_MAX; i++) values[i] = -FLT_MAX;
    for (size_t l = 0; l < b->leader_count; l += LEADERS_AT_ONCE) {
        size_t some = MIN(LEADERS_AT_ONCE, b->leader_count - l);
        kernels()->dots_i8(code_of(b, row), b->codes, b->padded, b->leaders + l, some, dots);
        for (size_t i = 0; i < some; i++) {
            float value = value_of(b, row, b->leaders[l + i], dots[i]);
            if (value > values[b->fan_out - 1])
                kernels()->list_add(values, leaves, FAN_OUT_MAX, value, (uint32_t)(l + i));
        }
    }
}

static bool share_leaf(const Builder *b, const uint32_t *x, const uint32_t *y) {
    for (size_t i = 0; i < b->fan_out; i++)
        for (size_t j = 0; j < b->fan_out; j++)
            if (x[i] == y[j]) return true;
    return false;
}

static void count_shared(void *context, size_t from, size_t to) {
    const Sample *sample = context;
    const Builder *b = sample->builder;
    uint32_t mine[FAN_OUT_MAX], others[FAN_OUT_MAX];
    for (size_t i = from; i < to; i++) {
        Sampled *s = &sample->rows[i];
        size_t there = 0, shared = 0;
        find_leaves(b, s->row, mine);
        for (; there < NEAREST && s->values[there] > -FLT_MAX; there++) {
            find_leaves(b, s->nearest[there], others);
            shared += share_leaf(b, mine, others);
        }
        s->share = there ? (double)shared / (double)there : 1;
    }
}

static double shared_by(const Sample *sample) {
    const Builder *b = sample->builder;
    double sum = 0;
    parallel_for(b->options->threads, sample->count, 4, count_shared, (void *)sample);
    for (size_t i = 0; i < sample->count; i++) sum += sample->rows[i].share;
    return sum / (double)sample->count;
}

static void sample_open(Sample *sample, Builder *b) {
    *sample = (Sample){.builder = b, .count = MIN(SAMPLE, b->count)};
    sample->rows = calloc(sample->count, sizeof *sample->rows);
    if (!sample->rows) abort();
    for (size_t i = 0; i < sample->count; i++) {
        Sampled *s = &sample->rows[i];
        s->row = (uint32_t)(i * b->count / sample->count);
        for (size_t j = 0; j < NEAREST; j++) s->values[j] = -FLT_MAX;
    }
    parallel_for(b->options->threads, sample->count, AT_ONCE, find_nearest, sample);
}

void builder_choose_effort(Builder *b) {
    Sample sample;
    sample_open(&sample, b);
    builder_choose_leaders(b);
    if (shared_by(&sample) < ENOUGH) {
        b->fan_out = fan_out_most(b->fan_out);
        b->leaf_rows = leaf_rows_most(b->leaf_rows);
        builder_choose_leaders(b);
    }
    free(sample.rows);
}
