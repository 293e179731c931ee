/* One thread that looks at every running query each 20 ms. DuckDB forgets an interrupt that comes
 * while a connection is between two calls, so it is repeated until the query is over.
 *
 * The thread goes on looking for two seconds after the last query before it sleeps: waking it costs
 * a short query as much as its own work. */
#include "query/engine.h"

#include <errno.h>

#define IDLE_PERIODS 100

static void look(Watched *watched) {
    if (watched->why == LH_OK && watched->deadline_us && clock_us() >= watched->deadline_us)
        watched->why = LH_TIMEOUT;
    if (watched->why == LH_OK && watched->cancelled && watched->cancelled(watched->context))
        watched->why = LH_CANCELLED;
    if (watched->why != LH_OK || watched->draining) duckdb_interrupt(watched->connection);
}

static void wait_period(Engine *engine) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WATCH_PERIOD_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (!engine->closing &&
           pthread_cond_timedwait(&engine->watch_wake, &engine->watch_lock, &until) != ETIMEDOUT)
        continue;
}

static void *watch_run(void *context) {
    Engine *engine = context;
    int idle = 0;
    pthread_mutex_lock(&engine->watch_lock);
    while (!engine->closing) {
        idle = engine->watched ? 0 : idle + 1;
        engine->watcher_sleeps = idle > IDLE_PERIODS;
        if (engine->watcher_sleeps)
            pthread_cond_wait(&engine->watch_wake, &engine->watch_lock);
        else
            wait_period(engine);
        for (Watched *w = engine->watched; w; w = w->next) look(w);
    }
    pthread_mutex_unlock(&engine->watch_lock);
    return NULL;
}

bool watch_open(Engine *engine, Err *err) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&engine->watch_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&engine->watch_lock, NULL);
    errno = pthread_create(&engine->watcher, NULL, watch_run, engine);
    if (errno) return err_errno(err, "cannot start a thread");
    engine->watcher_started = true;
    return true;
}

void watch_close(Engine *engine) {
    if (!engine->watcher_started) return;
    pthread_mutex_lock(&engine->watch_lock);
    engine->closing = true;
    pthread_cond_signal(&engine->watch_wake);
    pthread_mutex_unlock(&engine->watch_lock);
    pthread_join(engine->watcher, NULL);
    pthread_cond_destroy(&engine->watch_wake);
    pthread_mutex_destroy(&engine->watch_lock);
}

void watch_add(Engine *engine, Watched *watched) {
    pthread_mutex_lock(&engine->watch_lock);
    watched->next = engine->watched;
    watched->link = &engine->watched;
    if (watched->next) watched->next->link = &watched->next;
    engine->watched = watched;
    if (engine->watcher_sleeps) pthread_cond_signal(&engine->watch_wake);
    pthread_mutex_unlock(&engine->watch_lock);
}

void watch_remove(Engine *engine, Watched *watched) {
    pthread_mutex_lock(&engine->watch_lock);
    if (watched->link) {
        *watched->link = watched->next;
        if (watched->next) watched->next->link = watched->link;
        watched->link = NULL;
    }
    pthread_mutex_unlock(&engine->watch_lock);
}

void watch_drain(Engine *engine, Watched *watched) {
    pthread_mutex_lock(&engine->watch_lock);
    watched->draining = true;
    duckdb_interrupt(watched->connection);
    pthread_mutex_unlock(&engine->watch_lock);
}

ErrKind watch_why(Watched *watched) {
    return (ErrKind)atomic_load(&watched->why);
}

bool watched_is_over(void *watched) {
    return watch_why(watched) != LH_OK;
}
