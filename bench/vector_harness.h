/* What engines have in common in bench/vector.mjs: reading the data, timing builds, and searches of
 * one effort each time a line comes on standard input, so that the driver can alternate between
 * engines that stay built. C and C++ include it.
 *
 * Prints lines: build THREADS SECONDS, memory MIB, end. Then "recall EF" is answered by the recall,
 * "rate EF" by the queries a second of one thread and of two. Memory is what the process has beside
 * the mapped data, plus the vectors where the engine keeps no copy. Recall counts ties as found
 * when they are among the exact ten. */
#pragma once

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BENCH_K 10
#define BENCH_THREADS_MAX 2
#define BENCH_SECONDS 0.2 /* that passes over the queries take at least */

typedef struct Bench {
    const float *rows, *queries;
    const int32_t *exact;
    size_t row_count, query_count, dimensions;
    void (*search)(void *engine, int thread, const float *query, size_t ef, uint32_t *out);
    void *engine;
} Bench;

static double bench_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static const void *bench_map(const char *dir, const char *name, size_t *size) {
    char path[4096];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &info)) {
        perror(path);
        exit(1);
    }
    *size = (size_t)info.st_size;
    const void *map = mmap(NULL, *size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    close(fd);
    return map;
}

static void bench_load(Bench *bench, const char *dir, size_t dimensions) {
    size_t rows, queries, exact;
    mallopt(M_ARENA_MAX, 1); /* what is freed in a heap of another thread stays the process's */
    bench->dimensions = dimensions;
    bench->rows = (const float *)bench_map(dir, "base.f32", &rows);
    bench->queries = (const float *)bench_map(dir, "query.f32", &queries);
    bench->exact = (const int32_t *)bench_map(dir, "exact.i32", &exact);
    bench->row_count = rows / 4 / dimensions;
    bench->query_count = queries / 4 / dimensions;
}

static void bench_memory(size_t vectors_bytes) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kib = 0;
    malloc_trim(0); /* what the build freed is not the index's */
    while (file && fgets(line, sizeof line, file)) sscanf(line, "RssAnon: %ld", &kib);
    if (file) fclose(file);
    printf("memory %.0f\n", (double)kib / 1024 + (double)vectors_bytes / 1048576);
}

typedef struct BenchPass {
    const Bench *bench;
    size_t ef, first, step;
    int thread;
    uint32_t *out; /* NULL: only the time counts */
} BenchPass;

static void *bench_pass(void *context) {
    const BenchPass *pass = (const BenchPass *)context;
    const Bench *b = pass->bench;
    uint32_t found[BENCH_K];
    for (size_t q = pass->first; q < b->query_count; q += pass->step)
        b->search(b->engine, pass->thread, b->queries + q * b->dimensions, pass->ef,
                  pass->out ? pass->out + q * BENCH_K : found);
    return NULL;
}

static double bench_qps(const Bench *b, size_t ef, int threads) {
    double all = 0;
    size_t queries = 0;
    for (; all < BENCH_SECONDS; queries += b->query_count) {
        pthread_t helpers[BENCH_THREADS_MAX];
        BenchPass passes[BENCH_THREADS_MAX];
        double started = bench_now();
        for (int t = 0; t < threads; t++) {
            BenchPass pass = {b, ef, (size_t)t, (size_t)threads, t, NULL};
            passes[t] = pass;
            if (t > 0) pthread_create(&helpers[t], NULL, bench_pass, &passes[t]);
        }
        bench_pass(&passes[0]);
        for (int t = 1; t < threads; t++) pthread_join(helpers[t], NULL);
        all += bench_now() - started;
    }
    return (double)queries / all;
}

static double bench_recall(const Bench *b, size_t ef) {
    uint32_t *out = (uint32_t *)calloc(b->query_count * BENCH_K, sizeof *out);
    BenchPass pass = {b, ef, 0, 1, 0, out};
    size_t hits = 0;
    bench_pass(&pass);
    for (size_t q = 0; q < b->query_count; q++)
        for (int i = 0; i < BENCH_K; i++)
            for (int j = 0; j < BENCH_K; j++)
                hits += out[q * BENCH_K + (size_t)i] == (uint32_t)b->exact[q * BENCH_K + (size_t)j];
    free(out);
    return (double)hits / (double)(b->query_count * BENCH_K);
}

/* Until standard input ends. */
static void bench_serve(const Bench *b) {
    char line[64];
    size_t ef;
    printf("end\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "recall %zu", &ef) == 1) printf("%.5f\n", bench_recall(b, ef));
        if (sscanf(line, "rate %zu", &ef) == 1)
            printf("%.1f %.1f\n", bench_qps(b, ef, 1), bench_qps(b, ef, 2));
        fflush(stdout);
    }
}
