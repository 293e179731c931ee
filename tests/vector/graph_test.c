#include "kit/kit.h"
#include "vector/graph.h"

#include <math.h>
#include <stdlib.h>

#define DIMENSIONS 32

typedef struct Data {
    float *rows, *bias;
    uint32_t *links;
    Text entries;
    Graph graph;
} Data;

static uint64_t state;
static float uniform(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(state >> 40) / (float)(1 << 24) - 0.5f;
}

/* Points around `clusters` centres; l2 sets the bias of that metric, else length 1. */
static void make(Data *data, size_t count, size_t clusters, bool l2) {
    float *centres = malloc(clusters * DIMENSIONS * sizeof *centres);
    *data = (Data){.rows = aligned_alloc(64, count * DIMENSIONS * sizeof(float)),
                   .bias = calloc(count, sizeof(float))};
    state = 42;
    for (size_t i = 0; i < clusters * DIMENSIONS; i++) centres[i] = uniform() * 2;
    for (size_t row = 0; row < count; row++) {
        float *x = data->rows + row * DIMENSIONS, norm = 0;
        for (size_t d = 0; d < DIMENSIONS; d++) {
            x[d] = centres[row % clusters * DIMENSIONS + d] + uniform();
            norm += x[d] * x[d];
        }
        if (l2) data->bias[row] = norm / 2;
        for (size_t d = 0; !l2 && d < DIMENSIONS; d++) x[d] /= sqrtf(norm);
    }
    free(centres);
    data->graph.vectors = (Vectors){data->rows, data->bias, count, DIMENSIONS};
}

static void build(Data *data, int threads) {
    Err err = {0};
    GraphBuild options = {
        .vectors = data->graph.vectors, .m = 12, .ef_construction = 120, .threads = threads};
    free(data->links);
    text_clear(&data->entries);
    data->links = malloc((data->graph.vectors.count + 1) * graph_degree(12) * sizeof(uint32_t));
    CHECK_OK(graph_build(&options, data->links, &data->entries, &err));
    data->graph.links = data->links;
    data->graph.degree = graph_degree(12);
    data->graph.entries = (const uint32_t *)data->entries.data;
    data->graph.entry_count = data->entries.len / sizeof(uint32_t);
}

static void unmake(Data *data) {
    free(data->rows);
    free(data->bias);
    free(data->links);
    text_close(&data->entries);
}

/* Share of the exact 10 nearest that the walk finds, for queries beside the data. */
static double recall(const Data *data, size_t ef, const RowSet *allowed) {
    GraphScratch *scratch = graph_scratch_open(data->graph.vectors.count);
    Hit *found = malloc(ef * sizeof *found);
    Hit exact[10];
    size_t hits = 0, total = 0;
    for (int q = 0; q < 100; q++) {
        _Alignas(64) float query[DIMENSIONS];
        const float *near =
            vectors_row(&data->graph.vectors, (size_t)q * 37 % data->graph.vectors.count);
        for (size_t d = 0; d < DIMENSIONS; d++) query[d] = near[d] + uniform() / 4;
        size_t want = exact_search(&data->graph.vectors, query, 10, allowed, exact);
        size_t got = graph_search(&data->graph, query, ef, allowed, scratch, found);
        for (size_t i = 0; i < MIN(got, want); i++)
            hits += found[i].score >= exact[want - 1].score - 1e-6f;
        total += want;
    }
    free(found);
    graph_scratch_close(&scratch);
    return (double)hits / (double)total;
}

TEST("recall@10 is at least 0.99 at ef 100 for the cosine and for L2") {
    for (int l2 = 0; l2 < 2; l2++) {
        OWNED(unmake) Data data;
        make(&data, 5000, 20, l2);
        build(&data, 2);
        double found = recall(&data, 100, NULL);
        if (found < 0.99) kit_fail(__FILE__, __LINE__, "recall is %.3f", found);
    }
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
    for (size_t row = 0; row < 5000; row += 7) set.bits[row / 64] |= 1ull << row % 64, set.count++;
    CHECK(recall(&data, 400, &set) > 0.97);
    GraphScratch *scratch = graph_scratch_open(5000);
    Hit hits[50];
    size_t count = graph_search(&data.graph, data.rows, 50, &set, scratch, hits);
    for (size_t i = 0; i < count; i++) CHECK(hits[i].row % 7 == 0);
    graph_scratch_close(&scratch);
    free(set.bits);
}

TEST("the graph does not depend on the number of threads") {
    OWNED(unmake) Data data;
    make(&data, 3000, 5, false);
    build(&data, 1);
    size_t size = 3000 * graph_degree(12) * sizeof(uint32_t);
    uint32_t *once = malloc(size);
    memcpy(once, data.links, size);
    build(&data, 3);
    CHECK(!memcmp(once, data.links, size));
    free(once);
}

TEST("every row is reached, duplicates and zero vectors too") {
    OWNED(unmake) Data data;
    make(&data, 2000, 3, false);
    for (size_t row = 500; row < 1200; row++)
        memcpy(data.rows + row * DIMENSIONS, data.rows, DIMENSIONS * sizeof(float));
    memset(data.rows + 1200 * DIMENSIONS, 0, 100 * DIMENSIONS * sizeof(float));
    build(&data, 2);
    GraphScratch *scratch = graph_scratch_open(2000);
    Hit *hits = malloc(2000 * sizeof *hits);
    CHECK_INT(graph_search(&data.graph, data.rows, 2000, NULL, scratch, hits), 2000);
    free(hits);
    graph_scratch_close(&scratch);
}

TEST("no rows, one row, and fewer rows than links are graphs as well") {
    for (size_t count = 0; count < 8; count++) {
        OWNED(unmake) Data data;
        make(&data, MAX(count, 1), 1, false);
        data.graph.vectors.count = count;
        build(&data, 2);
        GraphScratch *scratch = graph_scratch_open(count);
        Hit hits[8];
        CHECK_INT(graph_search(&data.graph, data.rows, 8, NULL, scratch, hits), count);
        graph_scratch_close(&scratch);
    }
}

TEST("links that lead nowhere are not followed") {
    OWNED(unmake) Data data;
    make(&data, 100, 1, false);
    build(&data, 1);
    for (size_t i = 0; i < 100 * graph_degree(12); i += 3) data.links[i] = 1000000 + (uint32_t)i;
    GraphScratch *scratch = graph_scratch_open(100);
    Hit hits[10];
    size_t count = graph_search(&data.graph, data.rows, 10, NULL, scratch, hits);
    for (size_t i = 0; i < count; i++) CHECK(hits[i].row < 100);
    graph_scratch_close(&scratch);
}

static bool always(void *context) {
    return context != NULL;
}

TEST("a build that is cancelled says so") {
    OWNED(unmake) Data data;
    Err err = {0};
    make(&data, 3000, 5, false);
    GraphBuild options = {.vectors = data.graph.vectors,
                          .m = 12,
                          .ef_construction = 120,
                          .threads = 2,
                          .cancelled = always,
                          .context = &data};
    data.links = malloc(3000 * graph_degree(12) * sizeof(uint32_t));
    CHECK(!graph_build(&options, data.links, &data.entries, &err));
    CHECK_INT(err.kind, LH_CANCELLED);
}
