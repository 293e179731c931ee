/* A log kept as one object of framed records (base/journal.h): trials and promotions of an index.
 * An append reads the object and writes it anew under the condition that nobody wrote it meanwhile,
 * so that it is atomic on every store and many servers may append. For logs of some thousand
 * records of a few hundred bytes. Thread safe. */
#pragma once

#include "storage/storage.h"

#define LOG_SIZE_MAX (16 << 20)

typedef struct LogRecords {
    Bytes *items; /* in order; in the arena */
    size_t count;
} LogRecords;

/* A missing log is empty; what follows a torn record is left out and said in the log. */
bool log_read(Store *store, Str key, Arena *arena, LogRecords *out, Err *err);

/* Makes the record that follows `before`, into `payload`. May be called again. */
typedef bool LogMake(void *context, const LogRecords *before, Text *payload, Err *err);
bool log_append(Store *store, Str key, LogMake *make, void *context, Err *err);
