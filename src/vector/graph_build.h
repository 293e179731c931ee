/* Internal to the graph's build: what its steps share. Steps in order: encode (graph_encode.c),
 * near rows (graph_near.c), links (graph_links.c), order and entries (graph_build.c). */
#pragma once

#include "vector/graph.h"

#include <stdatomic.h>

/* A row near another; half the squared distance between their int8 codes. */
typedef struct Near {
    float distance;
    uint32_t row;
} Near;

typedef struct Builder {
    const GraphBuild *options;
    GraphParts *parts; /* records and fine are by row until the rows are put in order */
    size_t count, padded, degree;
    size_t fan_out;         /* leaves that each row is in */
    size_t leaf_rows;       /* wanted in a leaf */
    size_t near_len;        /* kept of a row's neighbours in each leaf */
    size_t list_len;        /* room for each row in near: fan_out * near_len and degree at least */
    int8_t *codes;          /* by row: padded numbers within +-I8_MAX */
    float *scales, *halves; /* by row: what 1 stands for; half the squared length */
    uint32_t *leaders;
    size_t leader_count;
    Near *assigned; /* by row: its fan_out nearest leaders, numbers into leaders */
    Near *near;     /* by row: fan_out lists of near_len, later its links */
    uint16_t *link_count;
    atomic_size_t done; /* rows that steps have finished, for progress */
    atomic_bool cancelled;
} Builder;

/* Once yes, yes for all: what one thread left undone must not be believed by another. */
bool builder_cancelled(Builder *b);
/* `share` of the build is done by one step; rows of it are. */
void builder_progress(Builder *b, double before, double share, size_t rows);

void builder_encode(Builder *b);
void builder_find_near(Builder *b);
void builder_link(Builder *b, uint32_t *links); /* fills links by row, GRAPH_NONE behind the last */

static inline float near_distance(const Builder *b, uint32_t x, uint32_t y) {
    int32_t dot = kernels()->dot_i8(b->codes + (size_t)x * b->padded,
                                    b->codes + (size_t)y * b->padded, b->padded);
    return b->halves[x] + b->halves[y] - (float)dot * b->scales[y] * b->scales[x];
}
/* The most memory of a loop's thread. */
size_t near_scratch_size(size_t padded, size_t leaf_rows, size_t near_len);
