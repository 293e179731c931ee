/* The search of one segment: nearest partitions, sums over tables of bytes, the best by bound.
 * Thread safe; scratch memory is the caller's. Internal to lance. */
#pragma once

#include "lance/nearest.h"
#include "lance/search_view.h"

/* The rows that count: there, covered by the segment, allowed. */
typedef struct RowFilter {
    const SearchView *view;
    int32_t segment;
    const LanceSearchOptions *options;
    bool none; /* every row counts */
} RowFilter;
bool row_allowed(const LanceSearchOptions *options, uint64_t address);

typedef struct IvfScan {
    const IvfSegment *segment;
    RowFilter filter;
    const float *query;    /* of length 1 for the cosine */
    size_t nprobes, least; /* further partitions are looked at until `least` rows were found */
    uint32_t base;         /* added to the numbers of rows */
    Nearest *nearest;
} IvfScan;
/* Numbers of rows are base + their place among the segment's constants. Distances are rounded: the
 * tables are of bytes. */
void ivf_scan(const IvfScan *scan, Arena *arena);
/* The distance that the code of a row tells. */
float ivf_code_distance(const IvfSegment *segment, const float *query, size_t row);
/* Of a place among the constants. */
const IvfPartition *ivf_partition_of(const IvfSegment *segment, size_t row);
