#include "vector/rank.h"

#include <stdlib.h>

#define FUSION_K 60
#define FUSION_DEPTH 100 /* rows of each list that are joined, at least */

RankMode rank_mode(Str name) {
    return str_is(name, "text") ? RANK_TEXT : str_is(name, "hybrid") ? RANK_HYBRID : RANK_VECTOR;
}

static bool rank_text(const IndexEntry *entry, const Ranking *ranking, Hit *hits, size_t *count,
                      Err *err) {
    if (!entry->text)
        return err_code(err, LH_IMPOSSIBLE, "no_text_index",
                        "index '%.*s' has no text to search: only mode \"vector\" is possible",
                        SHOW(entry->meta.index));
    return text_index_search(entry->text, ranking->words, ranking->params.k,
                             ranking->params.allowed, hits, count, err);
}

static int row_order(const void *a, const void *b) {
    uint32_t x = ((const Hit *)a)->row, y = ((const Hit *)b)->row;
    return (x > y) - (x < y);
}

/* Ranks instead of scores, which of two lists cannot be compared. */
static void to_ranks(Hit *hits, size_t count) {
    for (size_t i = 0; i < count; i++) hits[i].score = 1.0f / (float)(FUSION_K + 1 + i);
}

/* Both lists in `all`, one after the other, into the k best of their sums. */
static size_t fuse(Hit *all, size_t count, size_t k, Hit *hits) {
    size_t out = 0;
    qsort(all, count, sizeof *all, row_order);
    for (size_t i = 0; i < count; i++) {
        Hit hit = all[i];
        if (i + 1 < count && all[i + 1].row == hit.row) hit.score += all[++i].score;
        hits_add(hits, &out, k, hit);
    }
    return out;
}

static bool rank_both(const IndexEntry *entry, const Ranking *ranking, Hit *hits, size_t *count,
                      Err *err) {
    Ranking deep = *ranking;
    size_t near, matching;
    deep.params.k = MAX(ranking->params.k, FUSION_DEPTH);
    Hit *all = malloc(2 * deep.params.k * sizeof *all);
    if (!all) abort();
    Index *index = entry->index;
    bool ok = index->ops->search(index, ranking->vector, &deep.params, all, &near, err) &&
              rank_text(entry, &deep, all + near, &matching, err);
    if (ok) {
        to_ranks(all, near);
        to_ranks(all + near, matching);
        *count = fuse(all, near + matching, ranking->params.k, hits);
    }
    free(all);
    return ok;
}

bool rank_rows(const IndexEntry *entry, const Ranking *ranking, Hit *hits, size_t *count,
               Err *err) {
    Index *index = entry->index;
    switch (ranking->mode) {
    case RANK_TEXT:
        return rank_text(entry, ranking, hits, count, err);
    case RANK_HYBRID:
        return rank_both(entry, ranking, hits, count, err);
    case RANK_VECTOR:
        break;
    }
    return index->ops->search(index, ranking->vector, &ranking->params, hits, count, err);
}
