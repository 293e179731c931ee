#include "kit/kit.h"
#include "vector/graph.h"

#include <math.h>
#include <stdlib.h>

#define ROWS 300

static uint64_t state = 7;
/* Near normal: the sum of four uniform numbers, deviation 1. */
static float normal(void) {
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(state >> 40) / (float)(1 << 24) - 0.5f;
    }
    return sum * 1.7320508f;
}

typedef struct Data {
    float *rows, *query;
    Vectors vectors;
} Data;

static void make(Data *data, size_t dimensions, bool l2, float offset) {
    size_t stride = (dimensions + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
    *data = (Data){.rows = aligned_alloc(64, ROWS * stride * sizeof(float)),
                   .query = aligned_alloc(64, stride * sizeof(float))};
    memset(data->rows, 0, ROWS * stride * sizeof(float));
    memset(data->query, 0, stride * sizeof(float));
    for (size_t row = 0; row < ROWS; row++)
        for (size_t d = 0; d < dimensions; d++) data->rows[row * stride + d] = offset + normal();
    for (size_t d = 0; d < dimensions; d++) data->query[d] = offset + normal();
    data->vectors = (Vectors){data->rows, ROWS, dimensions, stride, l2};
}

static void unmake(Data *data) {
    free(data->rows);
    free(data->query);
}

/* Errors of the estimates of all rows, in standard errors as the codes tell them. */
typedef struct Errors {
    double signs, fine;                   /* root of the mean square */
    double relative_signs, relative_fine; /* to the spread of the similarities */
} Errors;

static Errors measure(const Data *data) {
    CodeModel model;
    CodeQuery query;
    code_model_learn(&model, &data->vectors);
    code_query_open(&query, model.padded);
    code_query_set(&model, data->query, &query);
    size_t n = model.padded, size = code_record_size(n);
    uint8_t *record = aligned_alloc(64, size), *fine = aligned_alloc(64, MAX(n / 128 + 1, 1) * 64);
    float *rotated = aligned_alloc(64, n * sizeof(float));
    double s[5] = {0}, exact[ROWS], mean = 0;
    for (size_t row = 0; row < ROWS; row++) {
        uint32_t zero = 0;
        float signs, fines;
        code_rotate(&model, vectors_row(&data->vectors, row), rotated);
        code_encode(&model, rotated, record, fine);
        const CodeFactors *f = code_factors(record, n);
        kernels()->sign_estimates(&query, record, &zero, 1, 0, &signs);
        kernels()->fine_estimates(&query, record, fine, &zero, 1, &fines);
        exact[row] = vectors_similarity(&data->vectors, data->query, row);
        double by_signs = signs + query.shift - exact[row],
               by_fine = fines + query.shift - exact[row];
        if (code_error(&query, f) >
            1e-3f) { /* else the row is a centroid, and the estimate exact */
            s[0] += pow(by_signs / code_error(&query, f), 2) / ROWS;
            s[1] += pow(by_fine / code_fine_error(&query, f), 2) / ROWS;
        }
        s[2] += by_signs * by_signs / ROWS;
        s[3] += by_fine * by_fine / ROWS;
        mean += exact[row] / ROWS;
    }
    for (size_t row = 0; row < ROWS; row++) s[4] += pow(exact[row] - mean, 2) / ROWS;
    free(record);
    free(fine);
    free(rotated);
    code_query_close(&query);
    code_model_close(&model);
    return (Errors){sqrt(s[0]), sqrt(s[1]), sqrt(s[2] / s[4]), sqrt(s[3] / s[4])};
}

TEST("estimates err as much as they say, in any dimension and metric, wherever the data lies") {
    static const size_t dimensions[] = {40, 64, 100, 128, 200, 384, 768, 1000, 1536};
    for (size_t i = 0; i < COUNT(dimensions); i++)
        for (int variant = 0; variant < 4; variant++) {
            OWNED(unmake) Data data;
            make(&data, dimensions[i], variant % 2, variant < 2 ? 0 : 30);
            Errors errors = measure(&data);
            if (errors.signs < 0.5 || errors.signs > 1.5 || errors.fine < 0.5 || errors.fine > 1.6)
                kit_fail(__FILE__, __LINE__, "%zu dimensions, variant %d: %.2f and %.2f",
                         dimensions[i], variant, errors.signs, errors.fine);
        }
}

TEST("4 bits tell rows apart where signs only sort them roughly") {
    OWNED(unmake) Data data;
    make(&data, 768, true, 0);
    Errors errors = measure(&data);
    CHECK(errors.relative_fine < errors.relative_signs / 4);
    CHECK(errors.relative_fine < 0.15);
}

TEST("few dimensions, many dimensions and one coordinate that outweighs all are encoded") {
    static const size_t dimensions[] = {1, 2, 3, 16, 65, 20000, 65536};
    for (size_t i = 0; i < COUNT(dimensions); i++) {
        OWNED(unmake) Data data;
        make(&data, dimensions[i], true, 0);
        for (size_t row = 0; row < ROWS; row++) data.rows[row * data.vectors.stride] *= 1000;
        Errors errors = measure(&data);
        if (!(errors.relative_fine < 0.2))
            kit_fail(__FILE__, __LINE__, "%zu dimensions: %.3f", dimensions[i],
                     errors.relative_fine);
    }
}

TEST("zero vectors and duplicates have finite estimates that are exact") {
    OWNED(unmake) Data data;
    make(&data, 96, false, 0);
    for (size_t i = 0; i < ROWS * data.vectors.stride; i++) data.rows[i] = 0;
    CodeModel model;
    CodeQuery query;
    uint8_t _Alignas(64) record[64], fine[64];
    float _Alignas(64) rotated[128];
    uint32_t zero = 0;
    float signs;
    code_model_learn(&model, &data.vectors);
    code_query_open(&query, model.padded);
    code_query_set(&model, data.query, &query);
    code_rotate(&model, data.rows, rotated);
    code_encode(&model, rotated, record, fine);
    const CodeFactors *f = code_factors(record, 128);
    kernels()->sign_estimates(&query, record, &zero, 1, 1, &signs);
    CHECK(fabsf(signs) < 1e-5f && code_error(&query, f) == 0);
    CHECK(fabsf(code_fine_estimate(&query, f, 1000)) < 1e-5f);
    code_query_close(&query);
    code_model_close(&model);
}

TEST("a model that is loaded makes the codes that the learned one made") {
    OWNED(unmake) Data data;
    make(&data, 100, true, 3);
    CodeModel learned, loaded;
    uint8_t _Alignas(64) records[2][64], fine[2][64];
    float _Alignas(64) rotated[128];
    code_model_learn(&learned, &data.vectors);
    code_model_load(&loaded, learned.values, &data.vectors, learned.seed);
    for (int i = 0; i < 2; i++) {
        const CodeModel *model = i ? &loaded : &learned;
        code_rotate(model, data.rows, rotated);
        code_encode(model, rotated, records[i], fine[i]);
    }
    CHECK(!memcmp(records[0], records[1], 64) && !memcmp(fine[0], fine[1], 64));
    code_model_close(&learned);
    code_model_close(&loaded);
}
