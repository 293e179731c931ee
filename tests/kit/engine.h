/* An SQL engine for tests, whose spill folder is a fresh directory. Close it before the program
 * ends: DuckDB does not survive being closed by exit(). */
#pragma once

#include "kit/kit.h"
#include "query/query.h"

#include <stdlib.h>

#define KIT_ENGINE_SLOTS 4 /* queries at once */

static inline Engine *kit_engine(Catalog *catalog, int64_t memory_bytes, int64_t spill_bytes_max) {
    char spill[128];
    Err err = {0};
    Engine *engine;
    snprintf(spill, sizeof spill, "%s/spill", kit_dir());
    EngineOptions options = {.threads = 2,
                             .memory_bytes = memory_bytes,
                             .spill_dir = spill,
                             .spill_bytes_max = spill_bytes_max,
                             .queries_max = KIT_ENGINE_SLOTS};
    CHECK_OK(engine_open(&options, catalog, &engine, &err));
    return engine;
}
