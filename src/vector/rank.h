/* What a search ranks rows by: how near their vectors are, how well their texts match, or both,
 * joined by reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009, with k = 60). */
#pragma once

#include "vector/indexes.h"

typedef enum RankMode { RANK_VECTOR, RANK_TEXT, RANK_HYBRID } RankMode;

typedef struct Ranking {
    RankMode mode;
    const float *vector; /* prepared; not for RANK_TEXT */
    Str words;           /* not for RANK_VECTOR */
    SearchParams params; /* allowed: of the base's rows that are alive; NULL: all are */
    const RowsView *view;
    RowSet beside; /* the overlay's rows that may be answered; none where its count is 0 */
} Ranking;

RankMode rank_mode(Str name); /* of a name that an option's choices checked */
/* Up to params.k rows of the view, best first; scores are similarities, BM25's, or the fusion's. */
bool rank_rows(IndexEntry *entry, const Ranking *ranking, Hit *hits, size_t *count, Err *err);
