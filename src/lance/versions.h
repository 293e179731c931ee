/* The names of a table's versions (versions.c). Internal to lance. */
#pragma once

#include "lance/manifest.h"

typedef struct VersionList {
    uint64_t *versions; /* ascending */
    size_t count, cap;
    bool old_names;
} VersionList;
/* With newest_only the last is the latest, and others may be missing. */
bool versions_list(Store *store, Str path, bool newest_only, Arena *arena, VersionList *out,
                   Err *err);
