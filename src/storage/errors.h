/* The error journal: every failed or rescued storage operation is an event. Kept in memory up to a
 * bound and appended in batches to <primary>/_lakehouse/errors/; while the primary is out of reach
 * to a spool file of this machine, which goes to the primary once it is back. Thread safe. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "storage/store.h"

#define ERRORS_KEPT_MAX 10000 /* newest events in memory: what errors_write can answer */

typedef struct ErrorJournal ErrorJournal;

typedef struct ErrorEvent {
    int64_t at_ms;
    Str bucket, key, error;
    const char *op; /* get put list delete head probe */
    bool rescued;
} ErrorEvent;

typedef struct ErrorsOptions {
    Store *store; /* of the primary, one that reports nothing here; outlives the journal */
    const char *spool_path; /* a file of this machine and of this journal alone; NULL: no spool */
} ErrorsOptions;

/* Loads what is there; what a primary that is out of reach has is loaded once it is back. */
void errors_open(const ErrorsOptions *options, ErrorJournal **out);
void errors_close(ErrorJournal **journal); /* flushes what it can */

void errors_add(ErrorJournal *journal, const ErrorEvent *event); /* copies; never fails */
/* Durable when it returns: in the primary, or in the spool while that cannot be written. LH_FULL
 * when the spool has ERROR_SPOOL_SIZE_MAX bytes: what it acknowledged stays, what comes then waits
 * in memory up to a bound and is dropped beyond it, which the log says. */
bool errors_flush(ErrorJournal *journal, Err *err);
bool errors_compact(ErrorJournal *journal, JsonWriter *w, Err *err); /* the route's answer */
/* Newest first, an array. bucket empty: all; since_ms 0: all. */
bool errors_write(ErrorJournal *journal, Str bucket, int64_t since_ms, size_t limit, JsonWriter *w,
                  Err *err);
typedef struct HealthOf {
    Str bucket;
    bool out_of_reach; /* now: down, whatever the events say */
} HealthOf;
bool errors_health(ErrorJournal *journal, const HealthOf *buckets, size_t count, int64_t minutes,
                   JsonWriter *w, Err *err); /* GET /storage/bucket-health */
