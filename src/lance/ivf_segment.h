/* A segment of an IVF_PQ index, opened to be searched: its points packed, its codes where they lie
 * in the file (copied only where they do not lie in one piece). Immutable and counted; the last
 * holder closes it. Internal to lance.
 *
 * The distance of a query q to the code of a vector with centroid c and code words w is
 *
 *     |q - c - w|^2 = |q - c|^2 + (|w|^2 + 2 c.w) - 2 q.w
 *
 * of which the first is one number a partition, the second one number a vector, known when the
 * segment is opened, and the third a sum over tables of the query alone: a search makes its tables
 * once, whatever the number of partitions (Jegou et al.'s are anew for each). */
#pragma once

#include "lance/ivf.h"

typedef struct IvfPartition {
    const uint64_t *addresses;
    const uint8_t *codes; /* byte by byte: codes[b * rows + i] */
    size_t first, rows;   /* first: of the segment's constants */
} IvfPartition;

typedef struct IvfSegment {
    int holders;
    uint8_t uuid[LANCE_UUID_BYTES];
    IvfModel model;
    Panel centroids, *words;
    IvfPartition *partitions;
    float *constants; /* |w|^2 + 2 c.w of each row; dot product: 0 */
    size_t rows;
    LanceFile *file; /* auxiliary.idx */
    Arena arena;
} IvfSegment;

/* LH_IMPOSSIBLE for an index of another kind; LH_CORRUPT. */
bool segment_open(Store *store, Str path, const LanceIndex *index, size_t dimension,
                  IvfSegment **out, Err *err);
/* In memory alone. Copies. */
void segment_of_codes(const IvfModel *model, const IvfCodes *codes, IvfSegment **out);
IvfSegment *segment_hold(IvfSegment *segment);
void segment_release(IvfSegment **segment);
size_t segment_bytes(const IvfSegment *segment); /* of memory that is its own */
/* The parts that tests and the fuzzer give bytes: both files opened. */
bool segment_read(const LanceFile *index, const LanceFile *auxiliary, size_t dimension,
                  IvfSegment *out, Err *err);
