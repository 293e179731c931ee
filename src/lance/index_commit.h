/* How an index becomes part of the table: CreateIndex, whatever kind it is of. Internal to lance.
 */
#pragma once

#include "lance/table.h"

/* An index of one column, over fragments as they were in a snapshot. Fragments that are gone or
 * rewritten when it commits are not covered. */
typedef struct IndexChange {
    const Snapshot *then;
    LanceIndex index;          /* without files: nothing is added */
    const uint64_t *fragments; /* ids that it covers */
    size_t fragment_count;
    bool replace; /* all segments of its name; else only */
    const uint8_t (*removed)[LANCE_UUID_BYTES];
    size_t removed_count;
} IndexChange;
/* When it fails, and it is known to have failed, the index's files are removed. */
bool index_commit(LanceTable *table, IndexChange *change, Err *err);
/* The files of an index that was not committed. */
void index_files_remove(LanceTable *table, const LanceIndex *index);
