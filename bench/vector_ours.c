/* Our engine in bench/vector.mjs. usage: vector_ours DIR DIMENSIONS */
#include "vector/graph.h"

#include "vector_harness.h"

typedef struct Ours {
    Graph graph;
    GraphScratch *scratch[BENCH_THREADS_MAX];
} Ours;

static void search(void *engine, int thread, const float *query, size_t ef, uint32_t *out) {
    Ours *ours = engine;
    Hit hits[BENCH_K];
    GraphQuery options = {query, BENCH_K, ef, NULL};
    size_t count = graph_search(&ours->graph, &options, ours->scratch[thread], hits);
    for (size_t i = 0; i < BENCH_K; i++) out[i] = i < count ? hits[i].row : UINT32_MAX;
}

int main(int argc, char **argv) {
    Bench bench = {.search = search};
    Ours ours;
    GraphParts parts = {0};
    Err err = {0};
    if (argc != 3) return fprintf(stderr, "usage: %s DIR DIMENSIONS\n", argv[0]), 2;
    bench_load(&bench, argv[1], (size_t)atoi(argv[2]));
    Vectors vectors = {bench.rows, bench.row_count, bench.dimensions, bench.dimensions, false};
    for (int threads = 1; threads <= 2; threads++) {
        GraphBuild build = {
            .vectors = vectors, .m = 16, .ef_construction = 200, .threads = threads};
        double started = bench_now();
        graph_parts_close(&parts);
        if (!graph_build(&build, &parts, &err)) return fprintf(stderr, "%s\n", err.message), 1;
        printf("build %d %.3f\n", threads, bench_now() - started);
    }
    bench_memory(bench.row_count * bench.dimensions * sizeof(float));
    ours.graph = graph_of(&parts, &vectors);
    for (int i = 0; i < BENCH_THREADS_MAX; i++) ours.scratch[i] = graph_scratch_open();
    bench.engine = &ours;
    bench_serve(&bench);
    for (int i = 0; i < BENCH_THREADS_MAX; i++) graph_scratch_close(&ours.scratch[i]);
    graph_parts_close(&parts);
    return 0;
}
