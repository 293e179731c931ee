/* An event in memory, and the health of a bucket as its recent events show it. Internal. */
#pragma once

#include "base/arena.h"
#include "base/json.h"

#define HEALTH_MINUTES_MAX (31 * 24 * 60)
#define HEALTH_DOWN_ERRORS 10 /* failed and not rescued in the window: down, not just degraded */
#define HEALTH_OPS_MAX 8

typedef struct KeptEvent {
    int64_t at_ms;
    uint64_t id;
    Str bucket, op, key, error; /* in `text` */
    bool rescued;
    char text[];
} KeptEvent;

typedef struct BucketHealth {
    Str bucket, last_error;
    int64_t errors, rescues, last_ms;
    struct {
        Str op;
        int64_t count;
    } ops[HEALTH_OPS_MAX];
    size_t op_count;
    bool probe_failed_last, out_of_reach; /* the latter: its breaker is open */
} BucketHealth;

/* Events come newest first; one of a bucket that is not in the list is left out. */
void health_add(BucketHealth *health, size_t count, const KeptEvent *event, Arena *arena);
void health_write(const BucketHealth *health, size_t count, int64_t minutes, JsonWriter *w);
