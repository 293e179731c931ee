/* The segments of one index, which share a name and a column, and the fragments that each speaks
 * for. Internal to lance. */
#pragma once

#include "lance/table.h"

typedef enum IndexKind { INDEX_OTHER, INDEX_IVF, INDEX_BTREE } IndexKind;

typedef struct IndexGroup {
    Str name;
    IndexKind kind;
    const LanceField *field;
    const LanceIndex **segments;
    size_t segment_count;
    int32_t *owner; /* of each fragment of the manifest: a segment, or -1 */
} IndexGroup;

IndexKind index_kind(const LanceIndex *index);
/* In order of name; those of no column of the schema's top level are left out. */
bool index_groups(const Manifest *manifest, Arena *arena, IndexGroup **out, size_t *count,
                  Err *err);
uint64_t fragment_rows_left(const Fragment *fragment);
