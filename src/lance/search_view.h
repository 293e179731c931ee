/* One version of a column as a search sees it: where its vectors are, the segments of its index,
 * and which fragments they cover. Made by the first search after the version changed, kept for the
 * next; segments that both versions have stay open. Immutable and counted. Internal to lance. */
#pragma once

#include "lance/ivf_segment.h"

struct SearchView {
    int holders;
    SearchView *next; /* in the cache */
    VectorColumn *vectors;
    IvfSegment **segments;
    size_t segment_count;
    int32_t *owner;        /* of each of vectors->fragments: the segment that covers it, or -1 */
    uint64_t rows_indexed; /* of the segments, gone ones too */
    uint64_t rows_covered, rows_uncovered; /* deleted ones left out */
    bool tried; /* an index that is tried out: it stays whatever the table's version */
    bool clean; /* every row of every segment is there: none deleted, none moved */
};

bool search_view_hold(LanceTable *table, Str column, SearchView **out, Err *err);
/* The segment, held anew, is the whole index of the column from now on for this handle. */
void search_view_try(LanceTable *table, const VectorColumn *vectors, IvfSegment *segment);
void search_view_release(SearchView **view);
void search_cache_close(SearchCache *cache);
