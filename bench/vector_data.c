/* Data of bench/vector.mjs: base.f32, query.f32 (rows of float32, length 1) and exact.i32 (the ten
 * nearest of each query by the cosine, best first).
 *
 *   vector_data made DIR ROWS DIMENSIONS QUERIES CLUSTERS
 *     Clusters in a latent space of 64 dimensions, of unlike weight and width, projected up by a
 *     random matrix, a little noise. Near it lies what text embedders give: few intrinsic
 *     dimensions, uneven density.
 *   vector_data text DIR FILE QUERIES
 *     Each line of FILE as the built-in embedder sees it; the last QUERIES lines ask. */
#include "ai/ai.h"
#include "vector/kernels.h"

#include "base/base.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATENT 64
#define K 10

typedef struct Data {
    float *rows;
    size_t row_count, query_count, dimensions, stride; /* queries lie behind the rows */
    int32_t *exact;
} Data;

static uint64_t state = 42;
static double uniform(void) { /* splitmix64 */
    uint64_t x = state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (double)((x ^ x >> 31) >> 11) / 9007199254740992.0;
}

static float normal(void) { /* Box and Muller */
    double radius = sqrt(-2 * log(1 - uniform()));
    return (float)(radius * cos(2 * M_PI * uniform()));
}

static void *room(size_t size) {
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!memory) abort();
    memset(memory, 0, size);
    return memory;
}

static void data_open(Data *data, size_t rows, size_t dimensions, size_t queries) {
    *data = (Data){.row_count = rows,
                   .query_count = queries,
                   .dimensions = dimensions,
                   .stride = (dimensions + 15) / 16 * 16};
    data->rows = room((rows + queries) * data->stride * sizeof(float));
    data->exact = room(queries * K * sizeof(int32_t));
}

static void normalise(float *x, size_t n) {
    double norm2 = 0;
    for (size_t i = 0; i < n; i++) norm2 += (double)x[i] * x[i];
    for (size_t i = 0; i < n && norm2 > 0; i++) x[i] = (float)(x[i] / sqrt(norm2));
}

static void make(Data *data, size_t clusters) {
    float *up = room(data->dimensions * LATENT * sizeof *up);
    float *centres = room(clusters * LATENT * sizeof *centres);
    double *width = room(clusters * sizeof *width), *until = room(clusters * sizeof *until);
    double total = 0, sum = 0;
    for (size_t i = 0; i < data->dimensions * LATENT; i++) up[i] = normal() / 8;
    for (size_t i = 0; i < clusters * LATENT; i++) centres[i] = normal();
    for (size_t c = 0; c < clusters; c++) {
        width[c] = 0.35 + 0.35 * uniform();
        total += until[c] = exp(1.5 * uniform());
    }
    for (size_t c = 0; c < clusters; c++) until[c] = sum += until[c] / total;
    for (size_t row = 0; row < data->row_count + data->query_count; row++) {
        float latent[LATENT], *x = data->rows + row * data->stride;
        double at = uniform();
        size_t c = 0;
        while (c + 1 < clusters && at > until[c]) c++;
        for (size_t i = 0; i < LATENT; i++)
            latent[i] = centres[c * LATENT + i] + (float)width[c] * normal();
        for (size_t d = 0; d < data->dimensions; d++)
            x[d] = kernels()->dot(up + d * LATENT, latent, LATENT) + 0.1f * normal();
        normalise(x, data->dimensions);
    }
    free(up);
    free(centres);
    free(width);
    free(until);
}

static bool embed(const char *path, size_t queries, Data *data, Err *err) {
    OWNED(embedder_close) Embedder *embedder = NULL;
    OWNED(arena_close) Arena arena = {0};
    Bytes text;
    size_t lines = 0, at = 0;
    if (!file_read(path, 1 << 30, &arena, &text, err)) return false;
    if (!embedder_open(STR("builtin"), &embedder, err)) return false;
    for (Str rest = str_of(text); rest.len > 0; lines++)
        if (!embedder_observe(embedder, str_until(&rest, '\n'), err)) return false;
    if (lines <= queries) return err_set(err, LH_INVALID, "'%s' has only %zu lines", path, lines);
    data_open(data, lines - queries, embedder_dimensions(embedder), queries);
    for (Str rest = str_of(text); rest.len > 0; at++) {
        Str line = str_until(&rest, '\n');
        float *x = data->rows + at * data->stride;
        if (!embedder_embed(embedder, &line, 1, x, err)) return false;
        normalise(x, data->dimensions);
    }
    return true;
}

static void exact_range(void *context, size_t from, size_t to) {
    const Data *data = context;
    for (size_t q = from; q < to; q++) {
        const float *query = data->rows + (data->row_count + q) * data->stride;
        float best[K + 1];
        int32_t *rows = data->exact + q * K;
        size_t count = 0;
        for (size_t row = 0; row < data->row_count; row++) {
            float score = kernels()->dot(data->rows + row * data->stride, query, data->stride);
            if (count == K && score <= best[K - 1]) continue;
            size_t at = count < K ? count++ : K - 1;
            for (; at > 0 && best[at - 1] < score; at--)
                best[at] = best[at - 1], rows[at] = rows[at - 1];
            best[at] = score, rows[at] = (int32_t)row;
        }
    }
}

static bool write_rows(const Data *data, size_t from, size_t count, const char *dir,
                       const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    bool ok = file != NULL;
    for (size_t row = from; ok && row < from + count; row++)
        ok = fwrite(data->rows + row * data->stride, sizeof(float), data->dimensions, file) ==
             data->dimensions;
    return file && !fclose(file) && ok;
}

static bool write_all(const Data *data, const char *dir) {
    char path[4096];
    size_t count = data->query_count * K;
    snprintf(path, sizeof path, "%s/exact.i32", dir);
    FILE *file = fopen(path, "wb");
    bool ok = file && fwrite(data->exact, sizeof(int32_t), count, file) == count;
    return file && !fclose(file) && ok && write_rows(data, 0, data->row_count, dir, "base.f32") &&
           write_rows(data, data->row_count, data->query_count, dir, "query.f32");
}

int main(int argc, char **argv) {
    Data data;
    Err err = {0};
    if (argc == 7 && !strcmp(argv[1], "made")) {
        data_open(&data, (size_t)atoll(argv[3]), (size_t)atoi(argv[4]), (size_t)atoi(argv[5]));
        make(&data, (size_t)atoi(argv[6]));
    } else if (argc == 5 && !strcmp(argv[1], "text")) {
        if (!embed(argv[3], (size_t)atoi(argv[4]), &data, &err))
            return fprintf(stderr, "%s\n", err.message), 1;
    } else {
        fprintf(stderr,
                "usage: %s made DIR ROWS DIMENSIONS QUERIES CLUSTERS | text DIR FILE "
                "QUERIES\n",
                argv[0]);
        return 2;
    }
    parallel_for(parallel_threads(), data.query_count, 10, exact_range, &data);
    if (!write_all(&data, argv[2])) return perror(argv[2]), 1;
    printf("%zu %zu %zu\n", data.row_count, data.dimensions, data.query_count);
    free(data.rows);
    free(data.exact);
    return 0;
}
