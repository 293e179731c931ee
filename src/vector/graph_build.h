/* Internal to the graph's build: what its steps share. Steps in order: encode (graph_encode.c),
 * effort (graph_effort.c), near rows (graph_near.c), links (graph_links.c), order (graph_build.c),
 * entries (graph_build_entries.c), gaps (graph_gaps.c). */
#pragma once

#include "vector/graph.h"

#include <stdatomic.h>

/* A row near another; half the squared distance between their int8 codes. */
typedef struct Near {
    float distance;
    uint32_t row;
} Near;

#define FAN_OUT_MAX 32 /* a multiple of KERNEL_LANES */

typedef struct Builder {
    const GraphBuild *options;
    GraphParts *parts; /* records and fine are by row until the rows are put in order */
    size_t count, padded, degree;
    size_t fan_out;         /* leaves that each row is in */
    size_t leaf_rows;       /* wanted in a leaf */
    size_t near_len;        /* kept of a row's neighbours in each leaf */
    int8_t *codes;          /* by row: padded numbers within +-I8_MAX */
    float *scales, *halves; /* by row: what 1 stands for; half the squared length */
    uint32_t *leaders;
    size_t leader_count;
    Near *assigned; /* by row: its fan_out nearest leaders, numbers into leaders */
    Near *near;     /* by row: fan_out lists of near_len */
    Near *links;    /* by row: those of link_count that it chose, room for degree */
    uint16_t *link_count;
    atomic_size_t done; /* rows that steps have finished, for progress */
    atomic_bool cancelled;
    atomic_bool too_long; /* a vector is beyond VECTOR_LENGTH_MAX; then it is cancelled as well */
} Builder;

/* Once yes, yes for all: what one thread left undone must not be believed by another. */
bool builder_cancelled(Builder *b);
/* `share` of the build is done by one step; rows of it are. */
void builder_progress(Builder *b, double before, double share, size_t rows);

void builder_encode(Builder *b);
void builder_choose_effort(Builder *b); /* fan_out, leaf_rows, leaders */
void builder_find_near(Builder *b);
void builder_link(Builder *b, uint32_t *links); /* fills links by row, GRAPH_NONE behind the last */
void builder_choose_entries(Builder *b);        /* once all is by node */
void builder_measure_gaps(Builder *b);          /* once there is a graph to search */

/* fan_out leaves for each row, leaf_rows in each, as far as there are rows. */
void builder_choose_leaders(Builder *b);
/* What they are raised to where leaves miss much. */
static inline size_t fan_out_most(size_t fan_out) {
    return fan_out + fan_out / 2;
}
static inline size_t leaf_rows_most(size_t leaf_rows) {
    return 2 * leaf_rows;
}
/* The most memory of a loop's thread. */
size_t near_scratch_size(size_t padded, size_t leaf_rows, size_t near_len);
