/* The error journal: every failed or rescued storage operation is an event. Kept in memory up to a
 * bound and appended in batches to <primary>/_lakehouse/errors/; durable on flush. Thread safe. */
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

/* Loads what is there; a primary that is out of reach gives an empty journal that is written once
 * it is back. The store must outlive the journal. */
void errors_open(Store *primary, ErrorJournal **out);
void errors_close(ErrorJournal **journal); /* flushes what it can */

void errors_add(ErrorJournal *journal, const ErrorEvent *event);     /* copies; never fails */
int64_t errors_count(const ErrorJournal *journal);                   /* events since open */
bool errors_flush(ErrorJournal *journal, Err *err);                  /* durable when it returns */
bool errors_compact(ErrorJournal *journal, JsonWriter *w, Err *err); /* the route's answer */
/* Newest first, an array. bucket empty: all; since_ms 0: all. */
bool errors_write(ErrorJournal *journal, Str bucket, int64_t since_ms, size_t limit, JsonWriter *w,
                  Err *err);
bool errors_health(ErrorJournal *journal, Str *buckets, size_t count, int64_t minutes,
                   JsonWriter *w, Err *err); /* GET /storage/bucket-health */
