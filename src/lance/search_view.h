/* One version of a column as a search sees it: where its vectors are, the segments of its index,
 * and which fragments they cover. Made by the first search after the version changed, kept for the
 * next; segments that both versions have stay open. Immutable and counted. Internal to lance. */
#pragma once

#include "lance/ivf_segment.h"

struct SearchView {
    int holders;
    SearchView *next; /* in the cache */
    Vectors *vectors;
    IvfSegment **segments;
    size_t segment_count;
    int32_t *owner;        /* of each of vectors->fragments: the segment that covers it, or -1 */
    uint64_t rows_indexed; /* of the segments, gone ones too */
    uint64_t rows_covered, rows_uncovered; /* deleted ones left out */
    bool clean; /* every row of every segment is there: none deleted, none moved */
};

bool search_view_hold(LanceTable *table, Str column, SearchView **out, Err *err);
void search_view_release(SearchView **view);
void search_cache_close(SearchCache *cache);
