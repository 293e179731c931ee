/* Time. Wall time is milliseconds since 1970 UTC; intervals are microseconds of a clock that never
 * jumps. Thread safe. */
#pragma once

#include "base/str.h"

#define CLOCK_TEXT_SIZE 32

int64_t clock_now_ms(void);
int64_t clock_us(void);                                        /* monotonic */
int64_t clock_ns(void);                                        /* the same clock */
Str clock_text(int64_t unix_ms, char buffer[CLOCK_TEXT_SIZE]); /* 2026-01-02T03:04:05.678Z */
bool clock_read(Str text, int64_t *unix_ms);                   /* RFC 3339 */
