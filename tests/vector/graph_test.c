#include "kit/kit.h"
#include "vector/graph.h"

#include <math.h>
#include <stdlib.h>

#define DIMENSIONS 32

typedef struct Data {
    float *rows;
    Vectors vectors;
    GraphParts parts;
    Graph graph;
} Data;

static uint64_t state;
static float uniform(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(state >> 40) / (float)(1 << 24) - 0.5f;
}

/* Points around `clusters` centres, at length 1 unless the metric is L2. */
static void make(Data *data, size_t count, size_t clusters, bool l2) {
    float *centres = malloc(clusters * DIMENSIONS * sizeof *centres);
    *data = (Data){.rows = aligned_alloc(64, count * DIMENSIONS * sizeof(float))};
    state = 42;
    for (size_t i = 0; i < clusters * DIMENSIONS; i++) centres[i] = uniform() * 2;
    for (size_t row = 0; row < count; row++) {
        float *x = data->rows + row * DIMENSIONS, norm = 0;
        for (size_t d = 0; d < DIMENSIONS; d++) {
            x[d] = centres[row % clusters * DIMENSIONS + d] + uniform();
            norm += x[d] * x[d];
        }
        for (size_t d = 0; !l2 && d < DIMENSIONS; d++) x[d] /= sqrtf(norm);
    }
    free(centres);
    data->vectors = (Vectors){data->rows, count, DIMENSIONS, DIMENSIONS, l2};
}

static void build_with(Data *data, int threads, int m, int ef_construction) {
    Err err = {0};
    GraphBuild options = {
        .vectors = data->vectors, .m = m, .ef_construction = ef_construction, .threads = threads};
    graph_parts_close(&data->parts);
    CHECK_OK(graph_build(&options, &data->parts, &err));
    data->graph = graph_of(&data->parts, &data->vectors);
}

static void build(Data *data, int threads) {
    build_with(data, threads, 12, 120);
}

static void unmake(Data *data) {
    free(data->rows);
    graph_parts_close(&data->parts);
}

static size_t search(const Data *data, const float *query, size_t k, size_t ef,
                     const RowSet *allowed, Hit *hits) {
    GraphScratch *scratch = graph_scratch_open();
    GraphQuery options = {query, k, ef, allowed};
    size_t count = graph_search(&data->graph, &options, scratch, hits);
    graph_scratch_close(&scratch);
    return count;
}

/* Share of the exact 10 nearest that the walk finds, for queries beside the data. */
static double recall(const Data *data, size_t ef, const RowSet *allowed) {
    Hit exact[10], found[10];
    size_t hits = 0, total = 0;
    for (int q = 0; q < 100; q++) {
        _Alignas(64) float query[DIMENSIONS];
        const float *near = vectors_row(&data->vectors, (size_t)q * 37 % data->vectors.count);
        for (size_t d = 0; d < DIMENSIONS; d++) query[d] = near[d] + uniform() / 4;
        size_t want = exact_search(&data->vectors, query, 10, allowed, exact);
        size_t got = search(data, query, 10, ef, allowed, found);
        for (size_t i = 0; i < MIN(got, want); i++)
            hits += found[i].score >= exact[want - 1].score - 1e-6f;
        total += want;
    }
    return (double)hits / (double)total;
}

TEST("recall@10 is at least 0.99 at ef 100 for the cosine and for L2") {
    for (int l2 = 0; l2 < 2; l2++) {
        OWNED(unmake) Data data;
        make(&data, 5000, 20, l2);
        build(&data, 2);
        double found = recall(&data, 100, NULL);
        if (found < 0.99) kit_fail(__FILE__, __LINE__, "recall is %.3f %d", found, l2);
    }
}

TEST("entry points in another order than the centroids' are all begun from") {
    OWNED(unmake) Data data;
    make(&data, 5000, 20, false);
    build(&data, 2);
    size_t count = data.parts.entry_count;
    size_t grouped = data.graph.groups[CODE_CENTROIDS];
    CHECK(grouped >= 300 && grouped <= count); /* in order as they are built */
    for (size_t i = 0; i < count / 2; i++) {
        uint32_t entry = data.parts.entries[i];
        data.parts.entries[i] = data.parts.entries[count - 1 - i];
        data.parts.entries[count - 1 - i] = entry;
    }
    data.graph = graph_of(&data.parts, &data.vectors);
    CHECK(data.graph.groups[CODE_CENTROIDS] < grouped);
    double found = recall(&data, 100, NULL);
    if (found < 0.99) kit_fail(__FILE__, __LINE__, "recall is %.3f", found);
}

TEST("a wider beam finds more") {
    OWNED(unmake) Data data;
    make(&data, 5000, 1, false);
    build(&data, 2);
    CHECK(recall(&data, 10, NULL) < recall(&data, 200, NULL));
}

TEST("a walk under a filter answers only what is allowed, and finds it") {
    OWNED(unmake) Data data;
    make(&data, 5000, 20, false);
    build(&data, 2);
    RowSet set = {.bits = calloc(5000 / 64 + 1, sizeof(uint64_t))};
    for (size_t row = 0; row < 5000; row++)
        if (row % 4) set.bits[row / 64] |= 1ull << row % 64, set.count++;
    double found = recall(&data, 80, &set);
    if (found < 0.97) kit_fail(__FILE__, __LINE__, "recall is %.3f", found);
    Hit hits[50];
    size_t count = search(&data, data.rows, 50, 80, &set, hits);
    CHECK_INT(count, 50);
    for (size_t i = 0; i < count; i++) CHECK(hits[i].row % 4 != 0);
    free(set.bits);
}

TEST("gaps grow from rank to rank, and are those of an exact search, nearly") {
    for (int l2 = 0; l2 < 2; l2++) {
        OWNED(unmake) Data data;
        Hit hits[65];
        double sum = 0;
        make(&data, 5000, 50, l2);
        build(&data, 2);
        CHECK(graph_gaps_check(data.graph.gaps) && data.graph.gaps[0] == 0);
        CHECK(graph_gap(data.graph.gaps, 10, 1024) < INFINITY);
        CHECK(graph_gap(data.graph.gaps, 10, 1025) == INFINITY);
        CHECK(graph_gap(data.graph.gaps, 10, 10) == 0);
        for (size_t row = 0; row < 4900; row += 49) { /* of every cluster */
            exact_search(&data.vectors, vectors_row(&data.vectors, row), 65, NULL, hits);
            sum += vectors_distance(&data.vectors, hits[64].score) -
                   vectors_distance(&data.vectors, hits[12].score);
        }
        double expected = sum / 100, found = graph_gap(data.graph.gaps, 12, 64);
        CHECK(found > 0.9 * expected && found < 1.1 * expected);
    }
}

TEST("fewer rows than ranks, and products of vectors of unlike length, have no gaps") {
    OWNED(unmake) Data data;
    make(&data, 200, 5, false);
    build(&data, 1);
    CHECK(graph_gap(data.graph.gaps, 1, 128) < INFINITY);
    CHECK(graph_gap(data.graph.gaps, 1, 200) == INFINITY);
    for (size_t i = 0; i < DIMENSIONS; i++) data.rows[3 * DIMENSIONS + i] *= 2;
    build(&data, 1);
    CHECK(graph_gap(data.graph.gaps, 1, 2) == INFINITY);
}

TEST("numbers that fall, and NaN, are no gaps") {
    float gaps[GRAPH_GAPS] = {0};
    CHECK(graph_gaps_check(gaps));
    gaps[GRAPH_GAPS - 1] = INFINITY;
    CHECK(graph_gaps_check(gaps));
    gaps[3] = 1;
    CHECK(!graph_gaps_check(gaps));
    gaps[3] = NAN;
    CHECK(!graph_gaps_check(gaps));
    gaps[3] = 0;
    gaps[0] = -1;
    CHECK(!graph_gaps_check(gaps));
}

TEST("a beam that widens where rows crowd finds more than one that does not") {
    static float unknown[GRAPH_GAPS];
    OWNED(unmake) Data data;
    for (size_t i = 0; i < GRAPH_GAPS; i++) unknown[i] = INFINITY;
    make(&data, 20000, 4, false);
    build(&data, 2);
    double wide = recall(&data, 16, NULL);
    data.graph.gaps = unknown;
    CHECK(wide > recall(&data, 16, NULL) + 0.02);
}

static void scale(Data *data, size_t from, size_t count, float by) {
    for (size_t i = from * DIMENSIONS; i < (from + count) * DIMENSIONS; i++) data->rows[i] *= by;
}

TEST("vectors of nearly the greatest length, and short ones, are found as others are") {
    for (int tiny = 0; tiny < 2; tiny++) {
        OWNED(unmake) Data data;
        Hit exact[10], found[10];
        make(&data, 3000, 20, true);
        scale(&data, 0, 3000, tiny ? 1e-15F : 9e14F / 6.5F);
        build(&data, 2);
        CHECK(graph_gaps_check(data.graph.gaps));
        CHECK(graph_gap(data.graph.gaps, 1, 128) < INFINITY);
        size_t same = 0;
        for (size_t q = 0; q < 50; q++) {
            const float *query = vectors_row(&data.vectors, q * 53);
            exact_search(&data.vectors, query, 10, NULL, exact);
            CHECK_INT(search(&data, query, 10, 100, NULL, found), 10);
            for (size_t i = 0; i < 10; i++) same += found[i].row == exact[i].row;
        }
        if (same < 490) kit_fail(__FILE__, __LINE__, "found %zu of 500", same);
    }
}

TEST("a vector whose distances are beyond a float's range is refused, not built with") {
    const float longer[] = {1e16F, 1e25F, 1e38F, INFINITY, NAN};
    for (size_t i = 0; i < sizeof longer / sizeof *longer; i++) {
        OWNED(unmake) Data data;
        Err err = {0};
        make(&data, 3000, 20, true);
        scale(&data, i * 600, i < 2 ? 1 : 500, longer[i]);
        GraphBuild options = {.vectors = data.vectors, .m = 12, .ef_construction = 120};
        options.threads = 2;
        CHECK(!graph_build(&options, &data.parts, &err));
        CHECK(err.kind == LH_IMPOSSIBLE && !strcmp(err_word(&err), "vector_too_long"));
        CHECK(!data.parts.rows);
    }
}

TEST("the graph does not depend on the number of threads") {
    OWNED(unmake) Data one, three;
    make(&one, 3000, 5, false);
    make(&three, 3000, 5, false);
    build(&one, 1);
    build(&three, 3);
    CHECK(!memcmp(one.parts.rows, three.parts.rows, 3000 * sizeof(uint32_t)));
    CHECK(!memcmp(one.parts.links, three.parts.links, 3000 * one.parts.degree * sizeof(uint32_t)));
    CHECK_INT(one.parts.entry_count, three.parts.entry_count);
}

TEST("more links and more effort find more with the same beam") {
    OWNED(unmake) Data data;
    make(&data, 8000, 1, false);
    build_with(&data, 2, 4, 10);
    double least = recall(&data, 20, NULL);
    build_with(&data, 2, 16, 10);
    double linked = recall(&data, 20, NULL);
    build_with(&data, 2, 16, 400);
    double most = recall(&data, 20, NULL);
    if (least >= linked || linked >= most)
        kit_fail(__FILE__, __LINE__, "recalls are %.3f, %.3f, %.3f", least, linked, most);
}

TEST("every row is reached, duplicates and zero vectors too") {
    OWNED(unmake) Data data;
    make(&data, 2000, 3, false);
    for (size_t row = 500; row < 1200; row++)
        memcpy(data.rows + row * DIMENSIONS, data.rows, DIMENSIONS * sizeof(float));
    memset(data.rows + 1200 * DIMENSIONS, 0, 100 * DIMENSIONS * sizeof(float));
    build(&data, 2);
    Hit *hits = malloc(2000 * sizeof *hits);
    CHECK_INT(search(&data, data.rows, 2000, 2000, NULL, hits), 2000);
    CHECK(data.graph.entry_count < 200);
    free(hits);
}

TEST("rows that are all the same are found, as many as are asked for") {
    OWNED(unmake) Data data;
    make(&data, 3000, 1, false);
    for (size_t row = 1; row < 3000; row++)
        memcpy(data.rows + row * DIMENSIONS, data.rows, DIMENSIONS * sizeof(float));
    build(&data, 2);
    Hit *hits = malloc(3000 * sizeof *hits);
    CHECK_INT(search(&data, data.rows, 100, 100, NULL, hits), 100);
    CHECK_INT(search(&data, data.rows, 3000, 3000, NULL, hits), 3000);
    CHECK(data.graph.entry_count < 200);
    free(hits);
}

/* Its query is half like it and not at all like the others, which are all like one another. */
TEST("a row that is like no other is found by what is a little like it") {
    enum { ROWS = 7000, EACH = 350 };
    OWNED(unmake) Data data;
    size_t found = 0, wanted = 0;
    make(&data, ROWS, ROWS, false);
    for (size_t row = 0; row < ROWS; row++) data.rows[row * DIMENSIONS] += row % EACH ? 4 : -1;
    build_with(&data, 2, 8, 200);
    for (size_t row = 0; row < ROWS; row += EACH) {
        _Alignas(64) float query[DIMENSIONS];
        const float *x = vectors_row(&data.vectors, row), *other = x + DIMENSIONS;
        Hit exact, hit;
        for (size_t d = 0; d < DIMENSIONS; d++) query[d] = x[d] + (d ? other[d] : -2);
        exact_search(&data.vectors, query, 1, NULL, &exact);
        search(&data, query, 1, 50, NULL, &hit);
        wanted += exact.row == row;
        found += exact.row == row && hit.row == row;
    }
    CHECK(wanted > 5);
    CHECK_INT(found, wanted);
}

TEST("no rows, one row, and fewer rows than links are graphs as well") {
    for (size_t count = 0; count < 8; count++) {
        OWNED(unmake) Data data;
        make(&data, MAX(count, 1), 1, false);
        data.vectors.count = count;
        build(&data, 2);
        Hit hits[8];
        CHECK_INT(search(&data, data.rows, 8, 8, NULL, hits), count);
    }
}

TEST("links, rows and entries that lead nowhere are not followed") {
    OWNED(unmake) Data data;
    make(&data, 100, 1, false);
    build(&data, 1);
    for (size_t i = 0; i < 100 * data.parts.degree; i += 3)
        data.parts.links[i] = 1000000 + (uint32_t)i;
    for (size_t i = 0; i < 100; i += 5) data.parts.rows[i] = 100 + (uint32_t)i;
    data.parts.entries[0] = UINT32_MAX - 1;
    Hit hits[10];
    size_t count = search(&data, data.rows, 10, 10, NULL, hits);
    for (size_t i = 0; i < count; i++) CHECK(hits[i].row < 100);
}

typedef struct Watched {
    double last;
    int calls;
} Watched;

static void watch(void *context, double share) {
    Watched *watched = context; /* one thread builds: no call comes beside another */
    watched->calls += share >= watched->last && share <= 1;
    watched->last = share;
}

static bool always(void *context) {
    return context != NULL;
}

TEST("progress grows from 0 to 1") {
    OWNED(unmake) Data data;
    Watched watched = {0};
    Err err = {0};
    make(&data, 3000, 5, false);
    GraphBuild options = {.vectors = data.vectors,
                          .m = 12,
                          .ef_construction = 120,
                          .threads = 1,
                          .progress = watch,
                          .context = &watched};
    CHECK_OK(graph_build(&options, &data.parts, &err));
    CHECK(watched.calls > 20 && watched.last == 1);
}

TEST("a build that is cancelled says so") {
    OWNED(unmake) Data data;
    Err err = {0};
    make(&data, 3000, 5, false);
    GraphBuild options = {.vectors = data.vectors,
                          .m = 12,
                          .ef_construction = 120,
                          .threads = 2,
                          .cancelled = always,
                          .context = &data};
    CHECK(!graph_build(&options, &data.parts, &err));
    CHECK_INT(err.kind, LH_CANCELLED);
}
