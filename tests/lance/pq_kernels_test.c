#include "kit/kit.h"
#include "lance/kmeans.h"
#include "lance/nearest.h"

#include <math.h>
#include <stdlib.h>

#define EACH_LEVEL(k)                                                                              \
    for (const PqKernels *const *at_ = pq_kernels_supported(), *k; (k = *at_) != NULL; at_++)

static uint64_t state = 7;
static float draw(void) {
    return (float)((int64_t)(random_next(&state) % 2001) - 1000) / 500;
}

static float *draw_many(Arena *arena, size_t count) {
    float *out = arena_array(arena, float, count);
    for (size_t i = 0; i < count; i++) out[i] = draw();
    return out;
}

static double distance_of(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum;
}

static void check_nearest(const PqKernels *k, size_t n, size_t points, size_t rows) {
    OWNED(arena_close) Arena arena = {0};
    uint32_t out[CHUNK_ROWS];
    float scores[CHUNK_ROWS], *x = draw_many(&arena, rows * (n + 3)),
                              *c = draw_many(&arena, points * n);
    Panel panel;
    panel_pack(c, n, points, n, PANEL_DISTANCE, &arena, &panel);
    k->nearest(x, n + 3, rows, &panel, out, scores);
    for (size_t i = 0; i < rows; i++) {
        const float *row = x + i * (n + 3);
        double least = HUGE_VAL, length = 0;
        for (size_t p = 0; p < points; p++) least = fmin(least, distance_of(row, c + p * n, n));
        for (size_t d = 0; d < n; d++) length += (double)row[d] * row[d];
        CHECK(out[i] < points);
        CHECK(fabs(distance_of(row, c + out[i] * n, n) - least) <= 1e-4 * (1 + least));
        CHECK(fabs(2 * (double)scores[i] + length - least) <= 1e-3 * (1 + least));
    }
}

TEST("the nearest point is found at every level, for any number of rows, points and dimensions") {
    EACH_LEVEL(k) {
        const size_t dimensions[] = {1, 2, 4, 7, 16, 33, 130};
        for (size_t i = 0; i < COUNT(dimensions); i++)
            for (size_t points = 1; points < 300; points += 1 + points / 2)
                check_nearest(k, dimensions[i], points, 1 + points % CHUNK_ROWS);
        check_nearest(k, 768, 64, CHUNK_ROWS);
        check_nearest(k, 96, 65, 5);
    }
}

TEST("dot products and distances are what plain arithmetic gives, at every length") {
    OWNED(arena_close) Arena arena = {0};
    const float *a = draw_many(&arena, 300), *b = draw_many(&arena, 301);
    EACH_LEVEL(k)
    for (size_t n = 0; n <= 300; n++) {
        double dot = 0, length = 0;
        float length_got;
        for (size_t i = 0; i < n; i++)
            dot += (double)a[i] * b[i + 1], length += b[i + 1] * b[i + 1];
        double slack = 1e-5 * (1 + (double)n);
        CHECK(fabs(k->dot(a, b + 1, n) - dot) <= slack);
        CHECK(fabs(k->dot_length(a, b + 1, n, &length_got) - dot) <= slack);
        CHECK(fabs(length_got - length) <= slack);
        CHECK(fabs(k->distance2(a, b + 1, n) - distance_of(a, b + 1, n)) <= slack * 4);
    }
}

TEST("the dot products with a panel are those with each of its points") {
    OWNED(arena_close) Arena arena = {0};
    for (size_t n = 1; n < 40; n += 3) {
        const float *points = draw_many(&arena, 70 * n), *x = draw_many(&arena, n);
        float out[2 * PANEL_COLUMNS];
        Panel panel;
        panel_pack(points, n, 70, n, PANEL_DOT, &arena, &panel);
        EACH_LEVEL(k) {
            k->dots(x, &panel, out);
            for (size_t p = 0; p < 70; p++)
                CHECK(fabsf(out[p] - k->dot(x, points + p * n, n)) < 1e-4f);
        }
    }
}

TEST("sums over tables and the distances below a bound are exact, for any number of rows") {
    OWNED(arena_close) Arena arena = {0};
    size_t stride = SCAN_ROWS + 5;
    for (size_t bytes = 1; bytes <= 256; bytes = bytes * 3 + 1) {
        uint8_t *codes = arena_alloc(&arena, bytes * stride);
        uint8_t *tables = arena_alloc(&arena, bytes * CODE_VALUES + 64);
        tables += -(uintptr_t)tables % 64;
        for (size_t i = 0; i < bytes * stride; i++) codes[i] = (uint8_t)random_next(&state);
        for (size_t i = 0; i < bytes * CODE_VALUES; i++) tables[i] = (uint8_t)random_next(&state);
        EACH_LEVEL(k)
        for (size_t rows = 1; rows <= SCAN_ROWS; rows += 1 + rows / 3) {
            uint16_t sums[SCAN_ROWS];
            float constants[SCAN_ROWS], distances[SCAN_ROWS + BELOW_ROOM];
            uint32_t numbers[SCAN_ROWS + BELOW_ROOM];
            k->sums(codes, stride, rows, bytes, tables, sums);
            for (size_t i = 0; i < rows; i++) {
                unsigned sum = 0;
                for (size_t b = 0; b < bytes; b++)
                    sum += tables[b * CODE_VALUES + codes[b * stride + i]];
                CHECK_INT(sums[i], sum);
                constants[i] = (float)(i % 7);
            }
            size_t middle = rows / 2;
            float limit = 2 - (float)sums[middle];
            size_t found = k->below(constants, sums, rows, 1, 1, limit, distances, numbers), at = 0;
            for (size_t i = 0; i < rows; i++) {
                float distance = constants[i] + 1 - (float)sums[i];
                if (distance >= limit) continue;
                CHECK(at < found && numbers[at] == i && distances[at] == distance);
                at++;
            }
            CHECK_INT(at, found);
        }
    }
}

TEST("of many keys the least are selected, in any order they come") {
    uint64_t keys[500], sorted[500];
    for (size_t round = 0; round < 2000; round++) {
        size_t len = 1 + random_next(&state) % 500, count = random_next(&state) % (len + 1);
        uint64_t values = 1 + random_next(&state) % 600;
        for (size_t i = 0; i < len; i++) keys[i] = sorted[i] = random_next(&state) % values;
        keys_sort(sorted, len);
        for (size_t i = 1; i < len; i++) CHECK(sorted[i - 1] <= sorted[i]);
        keys_select(keys, len, count);
        for (size_t i = 0; i < len; i++)
            CHECK(count == 0 ||
                  (i < count ? keys[i] <= sorted[count - 1] : keys[i] >= sorted[count - 1]));
    }
}

TEST("distances keep their order as keys, negative ones too, and come back") {
    const float values[] = {-1e30f, -2, -1e-20f, 0, 1e-20f, 0.5f, 3, 1e30f};
    for (size_t i = 0; i < COUNT(values); i++) {
        CHECK(near_distance(near_key(values[i], 77)) == values[i]);
        if (i) CHECK(near_key(values[i - 1], UINT32_MAX) < near_key(values[i], 0));
    }
}

TEST("k-means finds clusters that lie apart, whatever the number of threads") {
    OWNED(arena_close) Arena arena = {0};
    enum { N = 5, CLUSTERS = 12, ROWS = 3000 };
    Err err = {0};
    float *rows = arena_array(&arena, float, ROWS *N), points[2][CLUSTERS * N];
    for (size_t i = 0; i < ROWS; i++)
        for (size_t d = 0; d < N; d++)
            rows[i * N + d] =
                draw() * 0.01f + (float)((random_next(&state), i * 7 % CLUSTERS) >> d & 1) * 5;
    for (int threads = 1; threads <= 2; threads++) {
        KmeansOptions options = {.rows = ROWS,
                                 .stride = N,
                                 .dimensions = N,
                                 .points = CLUSTERS,
                                 .iterations_max = 50,
                                 .threads = threads};
        CHECK_OK(kmeans_train(rows, &options, points[threads - 1], &err));
    }
    CHECK(memcmp(points[0], points[1], sizeof points[0]) == 0);
    for (size_t i = 0; i < ROWS; i++) {
        double least = HUGE_VAL;
        for (size_t p = 0; p < CLUSTERS; p++)
            least = fmin(least, distance_of(rows + i * N, points[0] + p * N, N));
        CHECK(least < 1);
    }
}
