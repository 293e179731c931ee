/* lance_search: candidates by the codes of each segment, ranked again by their vectors; rows that
 * no segment covers are compared one by one; the best of both are the answer. */
#include "lance/ivf_scan.h"

#include <math.h>
#include <stdlib.h>

#define REFINE 10
#define REFINE_MAX 1000
#define CODES_EXTRA 4 /* times k, ranked by unrounded codes when vectors are not looked at */
#define READ_ROWS 1024
#define FEW_ALLOWED 4096 /* so few rows are compared faster than codes are looked at for them */
#define PROBES_LEAST 10
#define PROBES_SHARE 16 /* one partition of so many, at least */
#define PROBED_ROWS 16384
#define PREFETCH_BYTES 512

typedef struct Search {
    const LanceSearchOptions *options;
    const SearchView *view;
    float *query; /* of length 1 for the cosine */
    Arena *scratch;
    Nearest best; /* numbers: places in addresses */
    uint64_t *addresses;
    size_t address_count, address_cap;
} Search;

static bool query_prepare(Search *search, Err *err) {
    const LanceSearchOptions *options = search->options;
    size_t n = search->view->vectors->dimension;
    if (options->dimension != n)
        return err_set(err, LH_INVALID,
                       "column '%.*s' has vectors of %zu numbers, the query has %zu",
                       SHOW(options->column), n, options->dimension);
    if (!vector_is_sound(options->query, n, options->metric))
        return err_set(err, LH_INVALID, "the query is not finite%s",
                       options->metric == LANCE_COSINE ? ", or has no direction" : "");
    float length = pq_kernels()->dot(options->query, options->query, n);
    float scale = options->metric == LANCE_COSINE ? 1 / sqrtf(length) : 1;
    search->query = arena_array(search->scratch, float, n);
    for (size_t i = 0; i < n; i++) search->query[i] = options->query[i] * scale;
    return true;
}

/* Infinity where the vector cannot be compared. */
static float distance_to(const Search *search, const float *vector) {
    size_t n = search->view->vectors->dimension;
    float length, dot;
    switch (search->options->metric) {
    case LANCE_L2:
        return pq_kernels()->distance2(search->query, vector, n);
    case LANCE_DOT:
        return 1 - pq_kernels()->dot(search->query, vector, n);
    case LANCE_COSINE:
        break;
    }
    dot = pq_kernels()->dot_length(search->query, vector, n, &length);
    return length > 0 ? 1 - dot / sqrtf(length) : HUGE_VALF;
}

static void best_add(Search *search, uint64_t address, float distance) {
    if (!(distance < search->best.limit)) return;
    if (search->address_count == search->address_cap) {
        size_t cap = search->address_cap ? search->address_cap * 2 : 256;
        uint64_t *grown = arena_array(search->scratch, uint64_t, cap);
        if (search->address_count)
            memcpy(grown, search->addresses, search->address_count * sizeof *grown);
        search->addresses = grown;
        search->address_cap = cap;
    }
    search->addresses[search->address_count] = address;
    nearest_add(&search->best, distance, (uint32_t)search->address_count++);
}

/* Rows one by one. */

static bool fragment_compare(Search *search, const VectorFragment *fragment, Err *err) {
    size_t n = search->view->vectors->dimension;
    for (uint64_t at = 0; at < fragment->rows; at += READ_ROWS) {
        OWNED(arena_close) Arena arena = {0};
        LanceColumn column;
        size_t count = (size_t)MIN((uint64_t)READ_ROWS, fragment->rows - at);
        if (!vector_column_read(fragment, at, count, &arena, &column, err)) return false;
        const float *values = column.values;
        for (size_t i = 0; i < count; i++) {
            uint64_t address = fragment->id << 32 | (at + i);
            if (set_has(fragment->deleted, at + i) || vector_is_null(&column, i, n) ||
                !row_allowed(search->options, address))
                continue;
            best_add(search, address, distance_to(search, values + i * n));
        }
    }
    return true;
}

static bool row_compare(Search *search, uint64_t address, Arena *arena, Err *err) {
    const VectorColumn *vectors = search->view->vectors;
    const VectorFragment *fragment = vector_column_fragment(vectors, address >> 32);
    const float *vector;
    uint64_t offset = address & UINT32_MAX;
    if (!fragment || offset >= fragment->rows || set_has(fragment->deleted, offset)) return true;
    if (!vector_column_row(vectors, fragment, offset, arena, &vector, err)) return false;
    if (vector) best_add(search, address, distance_to(search, vector));
    return true;
}

static bool allowed_compare(Search *search, Err *err) {
    const LanceSearchOptions *options = search->options;
    for (size_t i = 0; i < options->allowed_count; i++) {
        OWNED(arena_close) Arena arena = {0};
        if (options->allows && !options->allows(options->context, options->allowed[i])) continue;
        if (!row_compare(search, options->allowed[i], &arena, err)) return false;
    }
    return true;
}

static bool uncovered_compare(Search *search, bool all, Err *err) {
    const SearchView *view = search->view;
    for (size_t i = 0; i < view->vectors->fragment_count; i++)
        if ((all || view->owner[i] < 0) &&
            !fragment_compare(search, &view->vectors->fragments[i], err))
            return false;
    return true;
}

/* Candidates. */

/* Codes of PROBED_ROWS rows are looked at in about 30 us: below that a search looks at all, which
 * costs little and finds what lies far from every centroid, as a rare word does. */
uint32_t lance_nprobes_default(uint64_t rows, uint32_t partitions) {
    double few = (double)PROBED_ROWS / (double)MAX(rows, (uint64_t)1) * partitions;
    uint32_t enough = few < partitions ? (uint32_t)ceil(few) : partitions;
    return MAX(enough, MAX((uint32_t)PROBES_LEAST, partitions / PROBES_SHARE));
}

static size_t probes_of(const Search *search, const IvfSegment *segment) {
    return search->options->nprobes
               ? search->options->nprobes
               : lance_nprobes_default(segment->rows, (uint32_t)segment->model.partitions);
}

static void segments_scan(Search *search, Nearest *candidates) {
    const SearchView *view = search->view;
    const LanceSearchOptions *options = search->options;
    uint32_t base = 0;
    for (size_t i = 0; i < view->segment_count; i++) {
        IvfScan scan = {.segment = view->segments[i],
                        .query = search->query,
                        .nprobes = probes_of(search, view->segments[i]),
                        .least = options->k,
                        .base = base,
                        .nearest = candidates};
        scan.filter = (RowFilter){view, (int32_t)i, options,
                                  view->clean && !options->allowed && !options->allows};
        ivf_scan(&scan, search->scratch);
        base += (uint32_t)view->segments[i]->rows;
    }
}

/* The segment of a candidate, and its row there. */
static const IvfSegment *candidate_place(const SearchView *view, uint64_t key, size_t *row) {
    size_t number = (uint32_t)key, i = 0;
    while (number >= view->segments[i]->rows) number -= view->segments[i++]->rows;
    *row = number;
    return view->segments[i];
}

static uint64_t candidate_address(const SearchView *view, uint64_t key) {
    size_t row;
    const IvfSegment *segment = candidate_place(view, key, &row);
    const IvfPartition *partition = ivf_partition_of(segment, row);
    return partition->addresses[row - partition->first];
}

static void candidates_by_code(Search *search, const Nearest *candidates) {
    for (size_t i = 0; i < candidates->len; i++) {
        size_t row;
        const IvfSegment *segment = candidate_place(search->view, candidates->keys[i], &row);
        best_add(search, candidate_address(search->view, candidates->keys[i]),
                 ivf_code_distance(segment, search->query, row));
    }
}

/* A vector's first lines are asked for while the one before is compared; its others come by
 * themselves. */
static void vector_prefetch(const VectorColumn *vectors, uint64_t address, Arena *arena) {
    const VectorFragment *fragment = vector_column_fragment(vectors, address >> 32);
    const float *vector;
    Err ignored = {0};
    if (!fragment || !fragment->run_count || !fragment->runs[0].data) return;
    if (!vector_column_row(vectors, fragment, address & UINT32_MAX, arena, &vector, &ignored) ||
        !vector)
        return;
    for (size_t at = 0; at < PREFETCH_BYTES; at += 64)
        __builtin_prefetch((const char *)vector + at);
}

static bool candidates_by_vector(Search *search, const Nearest *candidates, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    uint64_t *addresses = arena_array(search->scratch, uint64_t, candidates->len);
    for (size_t i = 0; i < candidates->len; i++)
        addresses[i] = candidate_address(search->view, candidates->keys[i]);
    keys_sort(addresses, candidates->len);
    for (size_t i = 0; i < candidates->len; i++) {
        if (i + 1 < candidates->len)
            vector_prefetch(search->view->vectors, addresses[i + 1], &arena);
        if (!row_compare(search, addresses[i], &arena, err)) return false;
    }
    return true;
}

static bool index_search(Search *search, Err *err) {
    const LanceSearchOptions *options = search->options;
    Nearest candidates;
    size_t refine = options->refine ? MIN(options->refine, REFINE_MAX) : REFINE;
    size_t wanted = options->k * (options->codes_only ? CODES_EXTRA : refine);
    nearest_open(&candidates, MIN(wanted, (size_t)search->view->vectors->rows), search->scratch);
    segments_scan(search, &candidates);
    nearest_cut(&candidates);
    /* Distances by codes do not compare with those of rows that have none. */
    if (options->codes_only && !search->view->rows_uncovered)
        candidates_by_code(search, &candidates);
    else if (!candidates_by_vector(search, &candidates, err))
        return false;
    return uncovered_compare(search, false, err);
}

static bool search_run(Search *search, Err *err) {
    const LanceSearchOptions *options = search->options;
    const SearchView *view = search->view;
    nearest_open(&search->best, MIN(options->k, (size_t)view->vectors->rows), search->scratch);
    if (options->allowed && options->allowed_count <= FEW_ALLOWED)
        return allowed_compare(search, err);
    if (options->exact || !view->segment_count ||
        view->segments[0]->model.metric != options->metric)
        return uncovered_compare(search, true, err);
    return index_search(search, err);
}

static bool view_search(Search *search, Arena *arena, LanceHit **out, size_t *count, Err *err) {
    if (!query_prepare(search, err) || !search_run(search, err)) return false;
    nearest_finish(&search->best);
    LanceHit *hits = arena_array(arena, LanceHit, search->best.len);
    for (size_t i = 0; i < search->best.len; i++) {
        uint64_t key = search->best.keys[i];
        hits[i] = (LanceHit){search->addresses[(uint32_t)key], near_distance(key)};
    }
    *out = hits;
    *count = search->best.len;
    return true;
}

bool lance_search(LanceTable *table, const LanceSearchOptions *options, Arena *arena,
                  LanceHit **out, size_t *count, Err *err) {
    OWNED(search_view_release) SearchView *view = NULL;
    OWNED(arena_close) Arena scratch = {0};
    if (options->k == 0 || options->k > LANCE_HITS_MAX)
        return err_set(err, LH_INVALID, "a search gives 1 to %d hits, not %zu", LANCE_HITS_MAX,
                       options->k);
    if (!search_view_hold(table, options->column, &view, err)) return false;
    Search search = {.options = options, .view = view, .scratch = &scratch};
    return view_search(&search, arena, out, count, err);
}
