/* What people and the agent tune of an index. Which of it a backend has, its bounds and defaults
 * are one table per backend; the first options of a table shape the build, the rest a search. */
#pragma once

#include "base/base.h"

typedef struct IndexConfig {
    int64_t m, ef_construction, ef_search;            /* backend "parquet" */
    int64_t partitions, sub_vectors, nprobes, refine; /* backend "lance" */
} IndexConfig;

/* The backend's table, ended by an empty row; *build of its first rows shape what is built. */
const Option *config_options(Str backend, size_t *build);
/* Members of `json` over what *config has already. LH_INVALID names what is wrong. */
bool config_read(Str backend, const Json *json, IndexConfig *config, Err *err);
void config_write(Str backend, const IndexConfig *config, JsonWriter *w); /* an object */
bool config_same_build(Str backend, const IndexConfig *a, const IndexConfig *b);
bool config_equal(Str backend, const IndexConfig *a, const IndexConfig *b);
/* Of an index that names nothing; zeros are chosen by its rows. */
IndexConfig config_default(Str backend);
int64_t *config_value(const Option *option, IndexConfig *config);

/* A value that the agent moves, on a grid of powers of two and those halfway: low, 1.5 low, 2 low,
 * 3 low, ... up to high. */
typedef struct ConfigAxis {
    const Option *option;
    int64_t low, high;
} ConfigAxis;
const ConfigAxis *config_axes(Str backend, size_t *count);
