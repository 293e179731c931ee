/* One version of a column as lance_find sees it: the segments of its btree, and which fragments
 * they cover. Kept by the table for the next call, like SearchView. Immutable and counted. Internal
 * to lance. */
#pragma once

#include "lance/btree.h"
#include "lance/columns.h"

/* A segment: the bounds of its pages in memory, the pages in the file. */
typedef struct BtreeSegment {
    int holders;
    uint8_t uuid[LANCE_UUID_BYTES];
    LanceType type;
    uint64_t rows, page_rows;
    BtreeEntry *least, *most; /* of pages with values; they come after those of nulls alone */
    uint32_t *pages;          /* their numbers */
    size_t page_count;
    LanceFile *data;
    Arena arena;
} BtreeSegment;
bool btree_segment_open(Store *store, Str path, const LanceIndex *index, const LanceType *type,
                        BtreeSegment **out, Err *err);
/* For tests and the fuzzer: both files opened. */
bool btree_segment_read(const LanceFile *lookup, LanceFile *data, const LanceType *type,
                        BtreeSegment *out, Err *err);
void btree_segment_release(BtreeSegment **segment);
/* The rows that are equal to the key, given to `each` one by one. */
typedef void BtreeEach(void *context, uint64_t address);
bool btree_segment_find(const BtreeSegment *segment, const BtreeEntry *key, BtreeEach *each,
                        void *context, Err *err);

struct BtreeView {
    int holders;
    BtreeView *next; /* in the cache */
    LanceTable *table;
    Snapshot *snapshot;
    const LanceField *field;
    BtreeSegment **segments;
    size_t segment_count;
    int32_t *owner; /* of each fragment of the manifest: the segment that covers it, or -1 */
};
bool btree_view_hold(LanceTable *table, Str column, BtreeView **out, Err *err);
void btree_view_release(BtreeView **view);
void btree_views_close(SearchCache *cache);
