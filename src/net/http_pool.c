/* Threads that answer what may block. They come when a request finds none idle, up to a bound, and
 * one that was idle for a while ends; the first stays. Slots of ended threads are joined when they
 * are taken again. */
#include "net/http_conn.h"

#include <stdlib.h>
#include <time.h>

#define IDLE_SECONDS 10

typedef struct Slot {
    Pool *pool;
    pthread_t thread;
    bool started; /* and to be joined */
    bool ended;
} Slot;

struct Pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    Exchange *first, *last; /* linked by next_spare, which queued ones do not need */
    int64_t queued, idle, busy;
    bool closing;
    int slot_count;
    Slot slots[];
};

static Exchange *take_exchange(Pool *pool) { /* under the lock */
    Exchange *exchange = pool->first;
    if (!exchange) return NULL;
    pool->first = exchange->next_spare;
    if (!pool->first) pool->last = NULL;
    pool->queued--;
    return exchange;
}

/* Under the lock. NULL: the pool closes, or nothing came for long enough. */
static Exchange *wait_exchange(Pool *pool, bool stays) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    pool->idle++;
    while (!pool->first && !pool->closing) {
        int late = stays ? pthread_cond_wait(&pool->work, &pool->lock)
                         : pthread_cond_timedwait(&pool->work, &pool->lock, &until);
        if (late) break;
    }
    pool->idle--;
    return take_exchange(pool);
}

static void *pool_thread(void *argument) {
    Slot *slot = argument;
    Pool *pool = slot->pool;
    Exchange *exchange;
    pthread_mutex_lock(&pool->lock);
    while ((exchange = wait_exchange(pool, slot == pool->slots))) {
        pool->busy++;
        pthread_mutex_unlock(&pool->lock);
        Conn *conn = exchange->conn;
        exchange_answer(exchange);
        loop_return(conn);
        pthread_mutex_lock(&pool->lock);
        pool->busy--;
    }
    slot->ended = true;
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static bool start_thread(Pool *pool) { /* under the lock */
    for (int i = 0; i < pool->slot_count; i++) {
        Slot *slot = &pool->slots[i];
        if (slot->started && !slot->ended) continue;
        if (slot->started) pthread_join(slot->thread, NULL);
        *slot = (Slot){.pool = pool};
        slot->started = pthread_create(&slot->thread, NULL, pool_thread, slot) == 0;
        return slot->started;
    }
    return false;
}

bool pool_open(int threads_max, Pool **out, Err *err) {
    Pool *pool = calloc(1, sizeof *pool + (size_t)threads_max * sizeof *pool->slots);
    if (!pool) abort();
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&pool->lock, NULL);
    pool->slot_count = threads_max;
    pthread_mutex_lock(&pool->lock);
    bool started = start_thread(pool);
    pthread_mutex_unlock(&pool->lock);
    if (!started) {
        pool_close(&pool);
        return err_set(err, LH_OFFLINE, "cannot start a thread");
    }
    *out = pool;
    return true;
}

void pool_submit(Pool *pool, Exchange *exchange) {
    exchange->next_spare = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->last)
        pool->last->next_spare = exchange;
    else
        pool->first = exchange;
    pool->last = exchange;
    pool->queued++;
    /* When no thread can be added, those that run take it in turn: the first one never ends. */
    if (pool->queued > pool->idle) start_thread(pool);
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

int64_t pool_busy(Pool *pool) {
    pthread_mutex_lock(&pool->lock);
    int64_t busy = pool->busy;
    pthread_mutex_unlock(&pool->lock);
    return busy;
}

void pool_close(Pool **slot) {
    Pool *pool = *slot;
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->slot_count; i++)
        if (pool->slots[i].started) pthread_join(pool->slots[i].thread, NULL);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    *slot = NULL;
}
