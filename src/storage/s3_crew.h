/* A few threads that transfer parts of objects side by side. Whoever waits for a task that no
 * thread has begun runs it itself, so that nobody waits for a thread to become free. Thread safe.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define S3_CREW_MAX 32 /* threads; they start when there is work, and stay */

typedef struct S3Task S3Task;
struct S3Task { /* embedded in what is to be done; zeroed before its first start */
    void (*run)(S3Task *task);
    S3Task *next;
    enum { TASK_IDLE, TASK_QUEUED, TASK_RUNNING } state;
};

typedef struct S3Crew {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    S3Task *first, *last; /* queued */
    pthread_t threads[S3_CREW_MAX];
    size_t thread_count, idle;
    bool stopping;
} S3Crew;

void crew_open(S3Crew *crew);
void crew_stop(S3Crew *crew); /* what runs is waited for, what is queued stays for its waiters */
void crew_close(S3Crew *crew);
void crew_start(S3Crew *crew, S3Task *task);
void crew_wait(S3Crew *crew, S3Task *task);   /* until it has run */
void crew_cancel(S3Crew *crew, S3Task *task); /* the same, but what has not begun never runs */
/* Runs it here when no thread has begun it; false when one has, or it has run. */
bool crew_help(S3Crew *crew, S3Task *task);
