/* A loop over [0, count) shared by a few threads. The body is called with ranges of at most `grain`
 * indices, each index once; ranges are handed out in order. The caller's thread takes part and the
 * call returns when all is done. The body must not write what another range reads. */
#pragma once

#include <stddef.h>

#define PARALLEL_THREADS_MAX 64

typedef void ParallelBody(void *context, size_t from, size_t to);

void parallel_for(int threads, size_t count, size_t grain, ParallelBody *body, void *context);
int parallel_threads(void); /* the processors that this process may use */
