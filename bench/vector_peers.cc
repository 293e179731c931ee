// hnswlib and faiss in bench/vector.mjs, from Debian's packages, with the same m and ef_construction.
// usage: vector_peers hnswlib|faiss-hnsw DIR DIMENSIONS
#include <faiss/IndexHNSW.h>
#include <hnswlib/hnswlib.h>
#include <omp.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "vector_harness.h"

namespace {
constexpr size_t m = 16, ef_construction = 200;

struct Hnswlib {
    hnswlib::InnerProductSpace space;
    std::unique_ptr<hnswlib::HierarchicalNSW<float>> index;
    explicit Hnswlib(size_t dimensions) : space(dimensions) {}

    void build(const Bench &bench, int threads) {
        std::atomic<size_t> next{0};
        std::vector<std::thread> helpers;
        index = std::make_unique<hnswlib::HierarchicalNSW<float>>(&space, bench.row_count, m, ef_construction);
        for (int t = 0; t < threads; t++)
            helpers.emplace_back([&] {
                for (size_t i; (i = next++) < bench.row_count;) index->addPoint(bench.rows + i * bench.dimensions, i);
            });
        for (auto &helper : helpers) helper.join();
    }

    // The beam is the index's own: every thread of a pass sets the same.
    static void search(void *engine, int, const float *query, size_t ef, uint32_t *out) {
        auto &index = *static_cast<Hnswlib *>(engine)->index;
        index.ef_ = ef;
        auto found = index.searchKnn(query, BENCH_K);
        for (int i = BENCH_K; i-- > 0;) {
            bool some = (int)found.size() > i;
            out[i] = some ? (uint32_t)found.top().second : UINT32_MAX;
            if (some) found.pop();
        }
    }
};

struct Faiss {
    size_t dimensions;
    std::unique_ptr<faiss::IndexHNSWFlat> index;
    explicit Faiss(size_t d) : dimensions(d) {}

    void build(const Bench &bench, int threads) {
        omp_set_num_threads(threads);
        index = std::make_unique<faiss::IndexHNSWFlat>((int)dimensions, (int)m, faiss::METRIC_INNER_PRODUCT);
        index->hnsw.efConstruction = ef_construction;
        index->add((faiss::Index::idx_t)bench.row_count, bench.rows);
        omp_set_num_threads(1);
    }

    static void search(void *engine, int, const float *query, size_t ef, uint32_t *out) {
        auto &index = *static_cast<Faiss *>(engine)->index;
        float scores[BENCH_K];
        faiss::Index::idx_t rows[BENCH_K];
        index.hnsw.efSearch = (int)ef;
        index.search(1, query, BENCH_K, scores, rows);
        for (int i = 0; i < BENCH_K; i++) out[i] = (uint32_t)rows[i];
    }
};

template <class Engine> int run(const char *dir, size_t dimensions) {
    Bench bench = {};
    Engine engine(dimensions);
    bench_load(&bench, dir, dimensions);
    for (int threads = 1; threads <= 2; threads++) {
        engine.index.reset();
        double started = bench_now();
        engine.build(bench, threads);
        printf("build %d %.3f\n", threads, bench_now() - started);
        fflush(stdout);
    }
    bench_memory(0);
    bench.search = Engine::search;
    bench.engine = &engine;
    bench_serve(&bench);
    return 0;
}
} // namespace

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: %s hnswlib|faiss-hnsw DIR DIMENSIONS\n", argv[0]), 2;
    size_t dimensions = (size_t)atoi(argv[3]);
    return strcmp(argv[1], "hnswlib") == 0 ? run<Hnswlib>(argv[2], dimensions) : run<Faiss>(argv[2], dimensions);
}
