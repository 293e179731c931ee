/* Points for rows: k-means (Lloyd, 1982) over matrix products, and the packing of points that makes
 * those fast. Internal to lance.
 *
 * Rows are compared by half the squared distance less half the row's own length, which ranks the
 * same: half |c|^2 - x.c. Where the largest dot product is nearest (PANEL_DOT) it is -x.c.
 * Thread rule: a panel is immutable once packed; kmeans_train runs its own threads. */
#pragma once

#include "lance/lance.h"
#include "lance/pq_kernels.h"

typedef enum PanelKind { PANEL_DISTANCE, PANEL_DOT } PanelKind;

/* Packed into the arena; `points` are `stride` floats apart. */
void panel_pack(const float *points, size_t stride, size_t count, size_t dimensions, PanelKind kind,
                Arena *arena, Panel *out);

typedef struct KmeansOptions {
    size_t rows, stride, dimensions, points;
    int iterations_max, threads;
    uint64_t seed;
    const LanceWatch *watch; /* NULL: none */
} KmeansOptions;
/* `out`: points * dimensions floats. At least one row; with fewer rows than points, points repeat.
 * LH_CANCELLED. */
bool kmeans_train(const float *rows, const KmeansOptions *options, float *out, Err *err);

bool watch_cancelled(const LanceWatch *watch, Err *err); /* LH_CANCELLED then */
void watch_progress(const LanceWatch *watch, double share);
