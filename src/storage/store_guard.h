/* A store that stands before a bucket's own and watches how it fares.
 *
 * So many failures in a row (LH_OFFLINE, LH_TIMEOUT), or a store that cannot be opened, and the
 * breaker opens: every operation is answered at once with LH_OFFLINE "bucket_unreachable", saying
 * why and since when, and the bucket is not asked. guard_look asks it all the same, and closes the
 * breaker when it answers. Each failed operation (LH_OFFLINE, LH_TIMEOUT, LH_FULL, LH_CORRUPT) is
 * reported once, those in the middle of a body too. Thread safe. */
#pragma once

#include "storage/store.h"

typedef enum GuardOp {
    GUARD_GET,
    GUARD_PUT,
    GUARD_LIST,
    GUARD_DELETE,
    GUARD_HEAD,
    GUARD_PROBE,
    GUARD_OP_COUNT
} GuardOp;
extern const char *const guard_op_names[GUARD_OP_COUNT];

/* The opened store, the context's own, or NULL: tried again until it is there. */
typedef Store *GuardReady(void *context, Err *err);
typedef void GuardReport(void *context, Str name, GuardOp op, Str key, const Err *err,
                         bool rescued);

typedef struct GuardOptions {
    Str name, location; /* copied */
    bool local;         /* reads never wait for a network: known before it is open */
    int64_t failures;   /* in a row until the breaker opens */
    GuardReady *ready;
    void *ready_context; /* outlives the guard */
    GuardReport *report;
    void *report_context; /* outlives the guard, its readers, writers and files */
} GuardOptions;

Store *store_guard_new(const GuardOptions *options); /* store_close ends it, not what it guards */
/* The same guard without reports: for what writes the reports down, and for callers that report
 * what became of it in the end. Lives as long as the guard, not to be closed. */
Store *guard_quiet(Store *guard);
/* store_open whose failure is not reported; the reader's are. */
bool guard_open_object(Store *guard, Str key, const ReadHint *hint, ObjectReader **out, Err *err);
/* Counts and reports a failure that a quiet call answered. */
void guard_report(Store *guard, GuardOp op, Str key, const Err *why, bool rescued);
/* Probes the store whether the breaker is open or not. Waits as long as the store does. */
bool guard_look(Store *guard, Err *err);

typedef struct GuardState {
    bool open, failing; /* failing: the last operation found it out of reach */
    int64_t since_ms;   /* of an open one */
    char reason[sizeof((Err *)0)->message];
    int64_t errors[GUARD_OP_COUNT]; /* reported since the start, rescued ones left out */
    int64_t rescues;
} GuardState;
void guard_state(Store *guard, GuardState *out);
bool guard_is_open(Store *guard); /* the breaker */
