#include "vector/measure.h"

#include <math.h>
#include <stdlib.h>

#define LATENCY_US 250000
#define THROUGHPUT_US 250000
#define SAMPLES_MAX 200000
#define TIE 1e-6 /* relative: sums of floats in another order */

static bool ask(Index *index, const EvalQuery *query, const IndexConfig *config, size_t k,
                Hit *hits, size_t *count, Err *err) {
    SearchParams params = {.k = k,
                           .ef = (size_t)config->ef_search,
                           .nprobes = (uint32_t)config->nprobes,
                           .refine = (uint32_t)config->refine};
    return index->ops->search(index, query->vector, &params, hits, count, err);
}

static double recall_of(const Index *index, Metric metric, const EvalQuery *query, size_t k,
                        const Hit *hits, size_t count) {
    size_t want = MIN(k, query->answer_count), found = 0;
    if (want == 0) return 1;
    double last = query->answers[want - 1].score;
    last -= TIE * MAX(fabs(last), 1e-3);
    for (size_t i = 0; i < count; i++)
        found += eval_score(metric, query->vector, index->ops->vector(index, hits[i].row),
                            index->dimensions) >= last;
    return (double)MIN(found, want) / (double)want;
}

static int real_order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool cancelled(const MeasureWatch *watch, Err *err) {
    if (!watch->cancelled || !watch->cancelled(watch->context)) return false;
    err_set(err, LH_CANCELLED, "cancelled");
    return true;
}

/* The first round warms and gives the recall; the next ones are timed. */
static bool first_round(Index *index, Metric metric, const EvalSet *set, const IndexConfig *config,
                        size_t k, Hit *hits, const MeasureWatch *watch, Measured *out, Err *err) {
    double sum = 0;
    size_t count;
    for (size_t i = 0; i < set->query_count; i++) {
        if (cancelled(watch, err) || !ask(index, &set->queries[i], config, k, hits, &count, err))
            return false;
        sum += recall_of(index, metric, &set->queries[i], k, hits, count);
    }
    out->recall = sum / (double)MAX(set->query_count, 1);
    return true;
}

static bool latencies(Index *index, const EvalSet *set, const IndexConfig *config, size_t k,
                      Hit *hits, const MeasureWatch *watch, Measured *out, Err *err) {
    double *samples = malloc(SAMPLES_MAX * sizeof *samples);
    size_t n = 0, count;
    bool ok = true;
    if (!samples) abort();
    int64_t began = clock_ns();
    while (ok && n < SAMPLES_MAX &&
           (n < set->query_count || clock_ns() - began < LATENCY_US * 1000)) {
        int64_t started = clock_ns();
        ok = !cancelled(watch, err) &&
             ask(index, &set->queries[n % set->query_count], config, k, hits, &count, err);
        samples[n++] = (double)(clock_ns() - started) / 1000;
    }
    qsort(samples, n, sizeof *samples, real_order);
    out->p50_us = samples[n / 2];
    out->p99_us = samples[MIN(n * 99 / 100, n - 1)];
    free(samples);
    return ok;
}

typedef struct Throughput {
    Index *index;
    const EvalSet *set;
    const IndexConfig *config;
    size_t k;
    int64_t until_us;
    atomic_llong asked;
} Throughput;

static void ask_many(void *context, size_t from, size_t to) {
    Throughput *all = context;
    Hit *hits = malloc((all->k + 1) * sizeof *hits);
    size_t count;
    Err ignored;
    if (!hits) abort();
    for (size_t i = from; i < to; i++)
        for (size_t q = i; clock_us() < all->until_us; q++, atomic_fetch_add(&all->asked, 1))
            ask(all->index, &all->set->queries[q % all->set->query_count], all->config, all->k,
                hits, &count, &ignored);
    free(hits);
}

static double throughput(Index *index, const EvalSet *set, const IndexConfig *config, size_t k) {
    int threads = parallel_threads();
    int64_t began = clock_us();
    Throughput all = {
        .index = index, .set = set, .config = config, .k = k, .until_us = began + THROUGHPUT_US};
    parallel_for(threads, (size_t)threads, 1, ask_many, &all);
    return (double)all.asked * 1e6 / (double)MAX(clock_us() - began, 1);
}

bool measure(Index *index, Metric metric, const EvalSet *set, const IndexConfig *config, size_t k,
             const MeasureWatch *watch, Measured *out, Err *err) {
    Hit *hits = malloc((k + 1) * sizeof *hits);
    if (!hits) abort();
    bool ok = set->query_count > 0 ||
              err_code(err, LH_IMPOSSIBLE, "empty_eval", "the eval set has no queries");
    ok = ok && first_round(index, metric, set, config, k, hits, watch, out, err) &&
         latencies(index, set, config, k, hits, watch, out, err);
    free(hits);
    if (ok) out->qps = throughput(index, set, config, k);
    return ok;
}
