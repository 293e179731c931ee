/* Counters of requests, and GET /metrics in Prometheus' text format. Counters are atomics that
 * event threads add to; nothing is locked. */
#include "gateway/route.h"

#include <assert.h>
#include <stdio.h>

/* Upper bounds of the latency histogram; what is longer falls into +Inf. */
static const int64_t bounds_us[] = {100,    500,    1000,    5000,    10000,   50000,
                                    100000, 500000, 1000000, 5000000, 30000000};
static_assert(sizeof bounds_us / sizeof *bounds_us + 1 ==
                  sizeof((RouteCounts *)NULL)->buckets / sizeof(atomic_llong),
              "one counter for each bound and one beyond");

void metrics_request(Gateway *gateway, const Route *route, int status, int64_t elapsed_us) {
    RouteCounts *counts = gateway_counts(gateway, route);
    size_t bucket = 0;
    while (bucket < COUNT(bounds_us) && elapsed_us > bounds_us[bucket]) bucket++;
    atomic_fetch_add_explicit(&counts->by_status[MIN(status / 100, 5)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->elapsed_us, elapsed_us, memory_order_relaxed);
}

static const char *method_name(HttpMethod method) {
    static const char *const names[HTTP_METHOD_COUNT] = {"GET",   "HEAD",   "POST",   "PUT",
                                                         "PATCH", "DELETE", "OPTIONS"};
    return names[method];
}

static void metric(Text *out, const char *name, const char *type, const char *help, double value) {
    text_print(out, "# HELP lakehouse_%s %s\n# TYPE lakehouse_%s %s\nlakehouse_%s %.17g\n", name,
               help, name, type, name, value);
}

static void label_route(Text *out, size_t i) {
    if (i < route_count)
        text_print(out, "method=\"%s\",route=\"%s\"", method_name(routes[i].method),
                   routes[i].pattern);
    else
        text_print(out, "method=\"\",route=\"none\"");
}

static const RouteCounts *counts_at(Gateway *gateway, size_t i) {
    return gateway_counts(gateway, i < route_count ? &routes[i] : NULL);
}

static void write_requests(Gateway *gateway, Text *out) {
    text_print(out, "# HELP lakehouse_requests_total answered requests\n"
                    "# TYPE lakehouse_requests_total counter\n");
    for (size_t i = 0; i <= route_count; i++)
        for (int status = 1; status <= 5; status++) {
            long long count = atomic_load(&counts_at(gateway, i)->by_status[status]);
            if (count == 0) continue;
            text_print(out, "lakehouse_requests_total{");
            label_route(out, i);
            text_print(out, ",status=\"%dxx\"} %lld\n", status, count);
        }
}

static void write_latency(Text *out, size_t i, const RouteCounts *counts) {
    long long total = 0;
    for (size_t b = 0; b <= COUNT(bounds_us); b++) {
        total += atomic_load(&counts->buckets[b]);
        text_print(out, "lakehouse_request_seconds_bucket{");
        label_route(out, i);
        if (b < COUNT(bounds_us))
            text_print(out, ",le=\"%g\"} %lld\n", (double)bounds_us[b] / 1e6, total);
        else
            text_print(out, ",le=\"+Inf\"} %lld\n", total);
    }
    text_print(out, "lakehouse_request_seconds_sum{");
    label_route(out, i);
    text_print(out, "} %g\nlakehouse_request_seconds_count{",
               (double)atomic_load(&counts->elapsed_us) / 1e6);
    label_route(out, i);
    text_print(out, "} %lld\n", total);
}

static void write_latencies(Gateway *gateway, Text *out) {
    text_print(out, "# HELP lakehouse_request_seconds time from a request's first byte to its "
                    "answer's last\n# TYPE lakehouse_request_seconds histogram\n");
    for (size_t i = 0; i <= route_count; i++) {
        const RouteCounts *counts = counts_at(gateway, i);
        long long any = 0;
        for (size_t b = 0; b <= COUNT(bounds_us); b++) any += atomic_load(&counts->buckets[b]);
        if (any) write_latency(out, i, counts);
    }
}

static void write_jobs(App *app, Text *out) {
    static const char *const names[] = {"queued", "running", "succeeded", "failed", "cancelled"};
    int64_t counts[JOB_CANCELLED + 1];
    jobs_counts(app->jobs, counts);
    text_print(out, "# HELP lakehouse_jobs jobs that are kept, by state\n"
                    "# TYPE lakehouse_jobs gauge\n");
    for (int state = 0; state <= JOB_CANCELLED; state++)
        text_print(out, "lakehouse_jobs{state=\"%s\"} %lld\n", names[state],
                   (long long)counts[state]);
}

static double resident_bytes(void) {
    long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (fscanf(file, "%*d %lld", &pages) != 1) pages = 0;
    fclose(file);
    return (double)pages * 4096;
}

static void write_models(App *app, Text *out) {
    AiCounts counts;
    ai_counts(app->ai, &counts);
    metric(out, "texts_embedded_total", "counter", "texts embedded by a model server",
           (double)counts.embedded);
    metric(out, "texts_cached_total", "counter", "texts whose vectors were in memory",
           (double)counts.cached);
    metric(out, "generated_total", "counter", "answers of generators", (double)counts.generated);
    metric(out, "model_calls_total", "counter", "calls of the model server", (double)counts.calls);
    metric(out, "model_failures_total", "counter", "of these, that failed",
           (double)counts.failures);
}

static void write_gpus(Text *out) {
    Vram vram;
    vram_read(&vram);
    text_print(out, "# HELP lakehouse_gpu_bytes the GPUs' memory\n"
                    "# TYPE lakehouse_gpu_bytes gauge\n");
    for (size_t i = 0; i < vram.count; i++)
        text_print(out,
                   "lakehouse_gpu_bytes{gpu=\"%lld\",kind=\"used\"} %lld\n"
                   "lakehouse_gpu_bytes{gpu=\"%lld\",kind=\"total\"} %lld\n",
                   (long long)vram.gpus[i].index, (long long)vram.gpus[i].used_bytes,
                   (long long)vram.gpus[i].index, (long long)vram.gpus[i].total_bytes);
}

void metrics_write(Gateway *gateway, App *app, Text *out) {
    HttpCounts http;
    VectorCounts vectors;
    http_server_counts(gateway_server(gateway), &http);
    indexes_counts(app->indexes, &vectors);
    text_print(out,
               "# HELP lakehouse_build_info the program that answers\n"
               "# TYPE lakehouse_build_info gauge\n"
               "lakehouse_build_info{version=\"%s\"} 1\n",
               LAKEHOUSE_VERSION);
    metric(out, "uptime_seconds", "gauge", "time since start",
           (double)(clock_now_ms() - app->started_ms) / 1000);
    metric(out, "resident_bytes", "gauge", "memory of the process", resident_bytes());
    metric(out, "connections", "gauge", "open connections", (double)http.connections);
    metric(out, "connections_total", "counter", "accepted connections",
           (double)http.connections_total);
    metric(out, "bytes_in_total", "counter", "bytes received", (double)http.bytes_in);
    metric(out, "bytes_out_total", "counter", "bytes sent", (double)http.bytes_out);
    metric(out, "pool_busy", "gauge", "threads running a request", (double)http.pool_busy);
    buckets_metrics(app->buckets, out);
    metric(out, "indexes", "gauge", "vector indexes", (double)vectors.indexes);
    metric(out, "index_searches_total", "counter", "searches of vector indexes",
           (double)vectors.searches);
    metric(out, "index_memory_bytes", "gauge", "mapped bytes of vector indexes",
           (double)vectors.memory_bytes);
    write_models(app, out);
    write_gpus(out);
    write_jobs(app, out);
    write_requests(gateway, out);
    write_latencies(gateway, out);
}
