#include "base/parallel.h"

#include "base/owned.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

typedef struct Loop {
    size_t count, grain;
    ParallelBody *body;
    void *context;
    atomic_size_t next;
} Loop;

static void *loop_run(void *argument) {
    Loop *loop = argument;
    for (;;) {
        size_t from = atomic_fetch_add(&loop->next, loop->grain);
        if (from >= loop->count) return NULL;
        loop->body(loop->context, from, MIN(from + loop->grain, loop->count));
    }
}

void parallel_for(int threads, size_t count, size_t grain, ParallelBody *body, void *context) {
    Loop loop = {.count = count, .grain = MAX(grain, 1), .body = body, .context = context};
    pthread_t helpers[PARALLEL_THREADS_MAX];
    int started = 0;
    threads = MIN(threads, PARALLEL_THREADS_MAX);
    /* A thread that cannot be had is no failure: the others take its share. */
    while (started + 1 < threads && (size_t)(started + 1) * loop.grain < count &&
           !pthread_create(&helpers[started], NULL, loop_run, &loop))
        started++;
    loop_run(&loop);
    while (started > 0) pthread_join(helpers[--started], NULL);
}

int parallel_threads(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set)) return 1;
    return MAX(CPU_COUNT(&set), 1);
}
