#include "vector/rank.h"

#include <stdlib.h>

#define FUSION_K 60
#define FUSION_DEPTH 100 /* rows of each list that are joined, at least */
#define DEAD_FEW 64      /* one row in so many is few, see search_few_dead */
#define DEAD_SLACK 16

RankMode rank_mode(Str name) {
    return str_is(name, "text") ? RANK_TEXT : str_is(name, "hybrid") ? RANK_HYBRID : RANK_VECTOR;
}

/* The first of the overlay's rows at or after `from` that may be answered; SIZE_MAX: none. */
static size_t next_beside(const Ranking *ranking, size_t from) {
    size_t words = ranking->view->count / 64 + 1;
    for (size_t word = from / 64; ranking->beside.count && word < words; word++) {
        uint64_t bits = ranking->beside.bits[word];
        if (word == from / 64) bits &= ~(uint64_t)0 << (from % 64);
        if (bits) return word * 64 + (size_t)__builtin_ctzll(bits);
    }
    return SIZE_MAX;
}

static Hit beside_hit(const Ranking *ranking, size_t at, float score) {
    return (Hit){(uint32_t)(ranking->view->base_count + at), score};
}

/* Rows that the text index does not have: of the base, and of the overlay. */
static void rank_text_beside(const Ranking *ranking, const TextQuery *query, const TextTail *tail,
                             Hit *hits, size_t *count) {
    size_t k = ranking->params.k;
    for (size_t i = 0; tail && i < tail->count; i++) {
        const TailRow *row = &tail->rows[i];
        if (!rowset_has(ranking->params.allowed, tail->first + i)) continue;
        float score = text_query_score(query, row->stems, row->stem_count, row->words);
        if (score > 0) hits_add(hits, count, k, (Hit){(uint32_t)(tail->first + i), score});
    }
    for (size_t at = next_beside(ranking, 0); at != SIZE_MAX; at = next_beside(ranking, at + 1)) {
        const OverlayRow *row = rows_view_row(ranking->view, at);
        float score = text_query_score(query, row->stems, row->stem_count, row->words);
        if (score > 0) hits_add(hits, count, k, beside_hit(ranking, at, score));
    }
}

static bool rank_text(IndexEntry *entry, const Ranking *ranking, Hit *hits, size_t *count,
                      Err *err) {
    OWNED(text_query_close) TextQuery query = {0};
    const TextTail *tail;
    if (!entry->text)
        return err_code(err, LH_IMPOSSIBLE, "no_text_index",
                        "index '%.*s' has no text to search: only mode \"vector\" is possible",
                        SHOW(entry->meta.index));
    if (!text_index_search(entry->text, ranking->words, ranking->params.k, ranking->params.allowed,
                           hits, count, err) ||
        !index_entry_tail(entry, &tail, err))
        return false;
    if (ranking->beside.count == 0 && !tail) return true;
    if (!text_query_open(entry->text, ranking->words, &query, err)) return false;
    rank_text_beside(ranking, &query, tail, hits, count);
    return true;
}

/* Where few rows are dead, a walk that does not ask which loses less time than one that does: it
 * looks for some more, and the dead ones are dropped. *enough is false when too many were dead. */
static bool search_few_dead(Index *index, const Ranking *ranking, Hit *hits, size_t *count,
                            bool *enough, Err *err) {
    SearchParams params = ranking->params;
    size_t found, kept = 0;
    params.allowed = NULL;
    params.k += DEAD_SLACK;
    Hit *all = malloc(params.k * sizeof *all);
    if (!all) abort();
    bool ok = index->ops->search(index, ranking->vector, &params, all, &found, err);
    for (size_t i = 0; ok && i < found && kept < ranking->params.k; i++)
        if (rows_view_base_alive(ranking->view, all[i].row)) hits[kept++] = all[i];
    *enough = ok && (kept == ranking->params.k || found < params.k);
    free(all);
    *count = kept;
    return ok;
}

static bool search_base(Index *index, const Ranking *ranking, Hit *hits, size_t *count, Err *err) {
    const RowsView *view = ranking->view;
    bool enough = false, few = view->dead > 0 && view->dead <= view->base_count / DEAD_FEW &&
                               ranking->params.allowed == &view->alive && !ranking->params.exact;
    if (few && !search_few_dead(index, ranking, hits, count, &enough, err)) return false;
    return enough || index->ops->search(index, ranking->vector, &ranking->params, hits, count, err);
}

/* The overlay's rows are compared one by one: a fold (fold.c) keeps them few. */
static bool rank_near(const IndexEntry *entry, const Ranking *ranking, Hit *hits, size_t *count,
                      Err *err) {
    Index *index = entry->index;
    bool l2 = metric_of(entry->meta.metric) == METRIC_L2;
    const Kernels *k = kernels();
    if (!search_base(index, ranking, hits, count, err)) return false;
    for (size_t at = next_beside(ranking, 0); at != SIZE_MAX; at = next_beside(ranking, at + 1)) {
        const float *vector = rows_view_row(ranking->view, at)->vector;
        float score = l2 ? k->distance2(ranking->vector, vector, index->stride) / -2
                         : k->dot(ranking->vector, vector, index->stride);
        hits_add(hits, count, ranking->params.k, beside_hit(ranking, at, score));
    }
    return true;
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

static bool rank_both(IndexEntry *entry, const Ranking *ranking, Hit *hits, size_t *count,
                      Err *err) {
    Ranking deep = *ranking;
    size_t near, matching;
    deep.params.k = MAX(ranking->params.k, FUSION_DEPTH);
    Hit *all = malloc(2 * deep.params.k * sizeof *all);
    if (!all) abort();
    bool ok = rank_near(entry, &deep, all, &near, err) &&
              rank_text(entry, &deep, all + near, &matching, err);
    if (ok) {
        to_ranks(all, near);
        to_ranks(all + near, matching);
        *count = fuse(all, near + matching, ranking->params.k, hits);
    }
    free(all);
    return ok;
}

bool rank_rows(IndexEntry *entry, const Ranking *ranking, Hit *hits, size_t *count, Err *err) {
    switch (ranking->mode) {
    case RANK_TEXT:
        return rank_text(entry, ranking, hits, count, err);
    case RANK_HYBRID:
        return rank_both(entry, ranking, hits, count, err);
    case RANK_VECTOR:
        break;
    }
    return rank_near(entry, ranking, hits, count, err);
}
