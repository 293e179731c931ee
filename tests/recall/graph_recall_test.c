/* Floors of recall that fail when the search finds less: three dimensions, three metrics, a wide k,
 * and filters from all rows down to two of 20,000. The data has as many latent dimensions as real
 * embeddings have, about: points around centres in 24 dimensions, projected, some noise. */
#include "kit/kit.h"
#include "vector/graph.h"

#include <math.h>
#include <stdlib.h>

#define ROWS 20000
#define QUERIES 100
#define LATENT 24
#define CENTRES 40
#define K 10

typedef enum Kind { COSINE, L2, DOT, KIND_COUNT } Kind;
static const char *const kinds[] = {"cosine", "l2", "dot"};

static uint64_t state;
static float normal(void) {
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(state >> 40) / (float)(1 << 24) - 0.5f;
    }
    return sum * 1.7320508f;
}

typedef struct Data {
    float *rows; /* and the queries behind them */
    Vectors vectors;
    GraphParts parts;
    Graph graph;
} Data;

static const float *query_of(const Data *data, size_t q) {
    return vectors_row(&data->vectors, data->vectors.count + q);
}

static void finish(float *x, size_t dimensions, Kind kind) {
    double norm2 = 0;
    for (size_t d = 0; d < dimensions; d++) norm2 += (double)x[d] * x[d];
    /* L2: far from the origin, as pixel values are. Dot: lengths between 1/2 and 2. */
    float scale = kind == COSINE ? (float)(1 / sqrt(norm2))
                  : kind == DOT  ? exp2f(normal() / 2) / (float)sqrt(norm2)
                                 : 1;
    for (size_t d = 0; d < dimensions; d++) x[d] = x[d] * scale + (kind == L2 ? 20 : 0);
}

/* `apart`: how far centres are from one another; `noise`: of each dimension. */
static void make_around(Data *data, size_t rows, size_t dimensions, Kind kind, float apart,
                        float noise) {
    size_t all = rows + QUERIES, stride = (dimensions + 15) / 16 * 16;
    float *projection = malloc(dimensions * LATENT * sizeof *projection);
    float centres[CENTRES][LATENT], latent[LATENT];
    Err err = {0};
    state = 42;
    *data = (Data){.rows = aligned_alloc(64, all * stride * sizeof(float))};
    memset(data->rows, 0, all * stride * sizeof(float));
    for (size_t i = 0; i < dimensions * LATENT; i++) projection[i] = normal() / 5;
    for (size_t i = 0; i < CENTRES; i++)
        for (size_t j = 0; j < LATENT; j++) centres[i][j] = normal() * apart;
    for (size_t row = 0; row < all; row++) {
        const float *centre = centres[row * 7919 % CENTRES];
        for (size_t j = 0; j < LATENT; j++) latent[j] = centre[j] + normal() * 0.5f;
        float *x = data->rows + row * stride;
        for (size_t d = 0; d < dimensions; d++) {
            for (size_t j = 0; j < LATENT; j++) x[d] += projection[d * LATENT + j] * latent[j];
            x[d] += noise * normal();
        }
        finish(x, dimensions, kind);
    }
    free(projection);
    data->vectors = (Vectors){data->rows, rows, dimensions, stride, kind == L2};
    GraphBuild build = {
        .vectors = data->vectors, .m = 16, .ef_construction = 200, .threads = parallel_threads()};
    CHECK_OK(graph_build(&build, &data->parts, &err));
    data->graph = graph_of(&data->parts, &data->vectors);
}

static void make(Data *data, size_t rows, size_t dimensions, Kind kind) {
    make_around(data, rows, dimensions, kind, 1, 0.1f);
}

static void unmake(Data *data) {
    free(data->rows);
    graph_parts_close(&data->parts);
}

/* Ties count as found: the score decides, not the row. */
static double recall_at(const Data *data, size_t k, size_t queries, size_t ef,
                        const RowSet *allowed) {
    GraphScratch *scratch = graph_scratch_open();
    Hit *exact = malloc(k * sizeof *exact), *found = malloc(k * sizeof *found);
    size_t hits = 0, total = 0;
    for (size_t q = 0; q < queries; q++) {
        GraphQuery query = {query_of(data, q), k, ef, allowed};
        size_t want = exact_search(&data->vectors, query.vector, k, allowed, exact);
        size_t got = graph_search(&data->graph, &query, scratch, found);
        for (size_t i = 0; i < got; i++)
            hits += i < want && found[i].score >= exact[want - 1].score &&
                    rowset_has(allowed, found[i].row);
        total += want;
    }
    graph_scratch_close(&scratch);
    free(exact);
    free(found);
    return (double)hits / (double)total;
}

static double recall(const Data *data, size_t ef, const RowSet *allowed) {
    return recall_at(data, K, QUERIES, ef, allowed);
}

static void check_floor(double found, double floor, const char *what, Kind kind, double ef) {
    if (found < floor)
        kit_fail(__FILE__, __LINE__, "recall of %s, %s, at %g is %.4f, less than %.3f", what,
                 kinds[kind], ef, found, floor);
}

static void check_dimensions(size_t rows, size_t dimensions, const double floors[KIND_COUNT][2]) {
    for (Kind kind = 0; kind < KIND_COUNT; kind++) {
        OWNED(unmake) Data data;
        char what[32];
        snprintf(what, sizeof what, "%zu dimensions", dimensions);
        make(&data, rows, dimensions, kind);
        check_floor(recall(&data, 32, NULL), floors[kind][0], what, kind, 32);
        check_floor(recall(&data, 128, NULL), floors[kind][1], what, kind, 128);
    }
}

TEST("16 dimensions: recall holds for every metric") {
    check_dimensions(ROWS, 16,
                     (const double[KIND_COUNT][2]){
                         {0.985, 0.995},
                         {0.985, 0.995},
                         {0.91,  0.97 }
    });
}

TEST("128 dimensions: recall holds for every metric") {
    check_dimensions(ROWS, 128,
                     (const double[KIND_COUNT][2]){
                         {0.985, 0.995},
                         {0.985, 0.995},
                         {0.95,  0.985}
    });
}

TEST("768 dimensions: recall holds for every metric") {
    check_dimensions(ROWS / 2, 768,
                     (const double[KIND_COUNT][2]){
                         {0.985, 0.995},
                         {0.985, 0.995},
                         {0.965, 0.99 }
    });
}

TEST("where rows lie in no clusters, so that neighbours share few leaves, the build tries harder") {
    OWNED(unmake) Data data;
    make_around(&data, ROWS, 128, COSINE, 0, 1);
    check_floor(recall(&data, 128, NULL), 0.85, "no clusters", COSINE, 128);
}

TEST("half of all rows, ten thousand, come back nearly as an exact search finds them") {
    OWNED(unmake) Data data;
    make(&data, ROWS, 128, COSINE);
    check_floor(recall_at(&data, ROWS / 2, 3, 0, NULL), 0.98, "ten thousand rows", COSINE, 0);
}

static uint64_t mix(uint64_t value) {
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    return (value ^ value >> 27) * 0x94d049bb133111ebu >> 16;
}

TEST("recall holds behind filters that leave all rows down to two") {
    static const double shares[] = {1, 0.9, 0.5, 0.2, 0.1, 0.05, 0.01, 0.001, 0.0001};
    for (Kind kind = 0; kind < KIND_COUNT; kind++) {
        OWNED(unmake) Data data;
        make(&data, ROWS, 128, kind);
        for (size_t i = 0; i < COUNT(shares); i++) {
            uint64_t bits[ROWS / 64 + 1] = {0};
            RowSet set = {.bits = bits};
            size_t wanted = (size_t)(shares[i] * ROWS);
            for (size_t n = 0; set.count < wanted; n++) {
                size_t row = shares[i] == 1 ? n : mix(n + 1) % ROWS;
                set.count += !(bits[row / 64] >> (row % 64) & 1);
                bits[row / 64] |= 1ull << (row % 64);
            }
            check_floor(recall(&data, 64, &set), kind == DOT ? 0.975 : 0.99, "a filter", kind,
                        shares[i]);
        }
    }
}

TEST("a filter that allows only what is far from the query is answered in full") {
    OWNED(unmake) Data data;
    uint64_t bits[ROWS / 64 + 1] = {0};
    RowSet set = {.bits = bits};
    make(&data, ROWS, 128, COSINE);
    for (size_t row = 0; row < ROWS; row++) /* all but the cluster that the first query is in */
        if (row * 7919 % CENTRES != (ROWS * 7919) % CENTRES)
            bits[row / 64] |= 1ull << (row % 64), set.count++;
    check_floor(recall(&data, 64, &set), 0.98, "a far filter", COSINE, 64);
}
