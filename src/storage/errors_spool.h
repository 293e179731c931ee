/* Events that the primary could not take, in a file of this machine: framed records (see
 * base/journal.h), durable when error_spool_add returns. A tail that a crash tore is cut at open.
 * Internal to the error journal; one thread at a time. */
#pragma once

#include "base/journal.h"

#define ERROR_SPOOL_SIZE_MAX (8u << 20) /* about 40000 events */

typedef struct ErrorSpool ErrorSpool;

bool error_spool_open(const char *path, JournalVisit *visit, void *context, ErrorSpool **out,
                      Err *err);
void error_spool_close(ErrorSpool **spool);
size_t error_spool_size(const ErrorSpool *spool);                /* bytes of whole records */
bool error_spool_add(ErrorSpool *spool, Bytes frames, Err *err); /* all of them or none; LH_FULL */
bool error_spool_read(const ErrorSpool *spool, Text *frames, Err *err); /* all of it */
bool error_spool_clear(ErrorSpool *spool, Err *err);
