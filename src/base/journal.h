/* Append-only logs of framed records on a local file.
 *
 *     offset  size  meaning
 *     0       4     payload length, little-endian, 1 .. JOURNAL_RECORD_MAX
 *     4       4     CRC32C of the length and the payload
 *     8       n     payload
 *
 * A tail that ends inside a record, or whose checksum fails, is cut at open and said in the log:
 * that is what a crash leaves. Thread rule: a Journal takes its own lock. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/text.h"

#define JOURNAL_RECORD_MAX (1u << 24)
#define JOURNAL_HEADER_SIZE 8

typedef struct Journal Journal;
typedef void JournalVisit(void *context, Bytes payload);

/* Replays what is there through `visit` (may be NULL), cuts a torn tail, opens for appending. */
bool journal_open(const char *path, JournalVisit *visit, void *context, Journal **out, Err *err);
void journal_close(Journal **journal);                          /* syncs */
bool journal_append(Journal *journal, Bytes payload, Err *err); /* written, not yet durable */
bool journal_sync(Journal *journal, Err *err);                  /* durable when it returns */

/* The framing alone, for logs kept as objects. */
void frame_add(Text *out, Bytes payload);
typedef enum FrameResult { FRAME_RECORD, FRAME_END, FRAME_TORN } FrameResult;
FrameResult frame_next(Bytes *rest, Bytes *payload); /* on a record, *rest moves past it */
