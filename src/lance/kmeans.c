/* k-means: see kmeans.h.
 *
 * It begins with rows drawn at random and a part of the sample, and takes twice as many rows each
 * time that the points stop moving: first steps, which move far, need no more than a rough mean.
 * A point that no row is nearest to is put beside the one that has the most, a little off, so that
 * they share its rows. The sums of a point's rows are made by one thread in order of rows: the
 * result is the same whatever the number of threads. */
#include "lance/kmeans.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROWS_PER_POINT 32
#define STILL 0.01       /* the loss fell by less of itself: more rows */
#define STILL_LAST 0.002 /* with all rows: done */
#define HUGE_HALF 1e30f
#define SPLIT 1e-3f
#define GRAIN_CHUNKS 4

bool watch_cancelled(const LanceWatch *watch, Err *err) {
    if (!watch || !watch->cancelled || !watch->cancelled(watch->context)) return false;
    err_set(err, LH_CANCELLED, "the build of the index was cancelled");
    return true;
}

void watch_progress(const LanceWatch *watch, double share) {
    if (watch && watch->progress) watch->progress(watch->context, share);
}

/* Panels. */

static void point_pack(const float *point, size_t n, PanelKind kind, size_t column, float *values,
                       float *half) {
    size_t group = column / PANEL_COLUMNS, within = column % PANEL_COLUMNS;
    float *at = values + group * n * PANEL_COLUMNS + within, length = 0;
    for (size_t k = 0; k < n; k++) {
        at[k * PANEL_COLUMNS] = point[k];
        length += point[k] * point[k];
    }
    half[column] = kind == PANEL_DOT ? 0 : length / 2;
}

static float *aligned_floats(Arena *arena, size_t count) {
    uintptr_t at = (uintptr_t)arena_alloc(arena, count * sizeof(float) + 64);
    return (float *)((at + 63) / 64 * 64);
}

static void panel_fill(const float *points, size_t stride, PanelKind kind, const Panel *panel,
                       float *values, float *half) {
    for (size_t i = 0; i < panel->points; i++)
        point_pack(points + i * stride, panel->dimensions, kind, i, values, half);
    for (size_t i = panel->points; i < panel->groups * PANEL_COLUMNS; i++) half[i] = HUGE_HALF;
}

void panel_pack(const float *points, size_t stride, size_t count, size_t dimensions, PanelKind kind,
                Arena *arena, Panel *out) {
    Panel panel = {.points = count,
                   .dimensions = dimensions,
                   .groups = (count + PANEL_COLUMNS - 1) / PANEL_COLUMNS};
    float *values = aligned_floats(arena, panel.groups * dimensions * PANEL_COLUMNS);
    float *half = aligned_floats(arena, panel.groups * PANEL_COLUMNS);
    panel_fill(points, stride, kind, &panel, values, half);
    panel.values = values;
    panel.half = half;
    *out = panel;
}

/* Training. */

typedef struct Training {
    const KmeansOptions *options;
    const float *rows;
    size_t used; /* rows of this step: the sample is in random order */
    float *points;
    Panel panel;
    float *panel_values, *panel_half;
    uint32_t *nearest;
    float *scores, *half_lengths;
    size_t *first; /* rows in order of their point: where those of each begin */
    size_t *counts;
    uint32_t *sorted;
} Training;

static void assign_chunk(void *context, size_t from, size_t to) {
    Training *t = context;
    for (size_t chunk = from; chunk < to; chunk++) {
        size_t row = chunk * CHUNK_ROWS, count = MIN((size_t)CHUNK_ROWS, t->used - row);
        pq_kernels()->nearest(t->rows + row * t->options->stride, t->options->stride, count,
                              &t->panel, t->nearest + row, t->scores + row);
    }
}

static double assign(Training *t) {
    double loss = 0;
    panel_fill(t->points, t->options->dimensions, PANEL_DISTANCE, &t->panel, t->panel_values,
               t->panel_half);
    parallel_for(t->options->threads, (t->used + CHUNK_ROWS - 1) / CHUNK_ROWS, GRAIN_CHUNKS,
                 assign_chunk, t);
    for (size_t i = 0; i < t->used; i++) loss += (double)t->scores[i] + t->half_lengths[i];
    return loss / (double)t->used;
}

/* By counting. */
static void sort_by_point(Training *t) {
    size_t points = t->options->points;
    memset(t->first, 0, (points + 2) * sizeof *t->first);
    for (size_t i = 0; i < t->used; i++) t->first[t->nearest[i] + 2]++;
    for (size_t p = 2; p < points + 2; p++) t->first[p] += t->first[p - 1];
    for (size_t i = 0; i < t->used; i++) t->sorted[t->first[t->nearest[i] + 1]++] = (uint32_t)i;
}

static void move_points(void *context, size_t from, size_t to) {
    Training *t = context;
    size_t n = t->options->dimensions;
    for (size_t p = from; p < to; p++) {
        size_t count = t->first[p + 1] - t->first[p];
        float *point = t->points + p * n, share = 1.0f / (float)MAX(count, (size_t)1);
        if (count == 0) continue;
        memset(point, 0, n * sizeof *point);
        for (size_t i = t->first[p]; i < t->first[p + 1]; i++) {
            const float *row = t->rows + t->sorted[i] * t->options->stride;
            for (size_t k = 0; k < n; k++) point[k] += row[k];
        }
        for (size_t k = 0; k < n; k++) point[k] *= share;
    }
}

/* Each split halves what the crowded point is believed to have. */
static void split_for_empty(Training *t) {
    size_t n = t->options->dimensions, points = t->options->points;
    for (size_t p = 0; p < points; p++) t->counts[p] = t->first[p + 1] - t->first[p];
    for (size_t p = 0; p < points; p++) {
        size_t most = 0;
        if (t->counts[p] > 0) continue;
        for (size_t other = 1; other < points; other++)
            if (t->counts[other] > t->counts[most]) most = other;
        if (t->counts[most] < 2) return;
        t->counts[p] = t->counts[most] /= 2;
        float *empty = t->points + p * n, *full = t->points + most * n;
        for (size_t k = 0; k < n; k++) {
            float sign = k % 2 ? -SPLIT : SPLIT;
            empty[k] = full[k] * (1 + sign);
            full[k] *= 1 - sign;
        }
    }
}

static void training_open(Training *t, Arena *arena) {
    const KmeansOptions *o = t->options;
    size_t n = o->dimensions;
    t->panel = (Panel){.points = o->points,
                       .dimensions = n,
                       .groups = (o->points + PANEL_COLUMNS - 1) / PANEL_COLUMNS};
    t->panel.values = t->panel_values = aligned_floats(arena, t->panel.groups * n * PANEL_COLUMNS);
    t->panel.half = t->panel_half = aligned_floats(arena, t->panel.groups * PANEL_COLUMNS);
    t->nearest = arena_array(arena, uint32_t, o->rows);
    t->sorted = arena_array(arena, uint32_t, o->rows);
    t->scores = arena_array(arena, float, o->rows);
    t->half_lengths = arena_array(arena, float, o->rows);
    t->first = arena_array(arena, size_t, o->points + 2);
    t->counts = arena_array(arena, size_t, o->points);
    for (size_t i = 0; i < o->rows; i++) {
        const float *row = t->rows + i * o->stride;
        t->half_lengths[i] = pq_kernels()->dot(row, row, n) / 2;
    }
    /* The sample is in random order: its first rows are a draw. */
    for (size_t p = 0; p < o->points; p++)
        memcpy(t->points + p * n, t->rows + p % o->rows * o->stride, n * sizeof(float));
}

bool kmeans_train(const float *rows, const KmeansOptions *options, float *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Training t = {.options = options, .rows = rows, .points = out};
    double last = HUGE_VAL;
    assert(options->rows > 0 && options->points > 0);
    training_open(&t, &arena);
    t.used = MIN(options->points * FIRST_ROWS_PER_POINT, options->rows);
    for (int i = 0; i < options->iterations_max; i++) {
        if (watch_cancelled(options->watch, err)) return false;
        double loss = assign(&t);
        bool all = t.used == options->rows;
        sort_by_point(&t);
        parallel_for(options->threads, options->points, 8, move_points, &t);
        split_for_empty(&t);
        if (all && fabs(last - loss) <= STILL_LAST * fabs(loss)) break;
        bool still = fabs(last - loss) <= STILL * fabs(loss);
        last = still && !all ? HUGE_VAL : loss;
        if (still) t.used = MIN(t.used * 2, options->rows);
        watch_progress(options->watch, (double)(i + 1) / options->iterations_max);
    }
    return true;
}
