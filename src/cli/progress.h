/* A progress bar on standard error when that is a terminal, and nothing when it is not. */
#pragma once

#include "base/base.h"

typedef struct Progress {
    bool shown, terminal;
    int64_t started_us, drawn_us;
} Progress;

Progress progress_start(void);
void progress_show(Progress *progress, int64_t done, int64_t total,
                   Str unit);          /* total -1: unknown */
void progress_end(Progress *progress); /* wipes it */
