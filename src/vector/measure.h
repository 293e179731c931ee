/* How good and how fast an opened index answers an eval set. */
#pragma once

#include "vector/eval.h"

typedef struct Measured {
    double recall; /* at k, of the exact answers; who is as near as the k-th counts */
    double p50_us, p99_us, qps;
} Measured;

typedef struct MeasureWatch {
    bool (*cancelled)(void *context);
    void *context;
} MeasureWatch;

/* Latencies on the caller's thread, then queries per second on all threads. Takes about half a
 * second, or one round of the queries where that is longer. LH_CANCELLED. */
bool measure(Index *index, Metric metric, const EvalSet *set, const IndexConfig *config, size_t k,
             const MeasureWatch *watch, Measured *out, Err *err);
