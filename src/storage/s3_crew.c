#include "storage/s3_crew.h"

void crew_open(S3Crew *crew) {
    *crew = (S3Crew){0};
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->work, NULL);
    pthread_cond_init(&crew->done, NULL);
}

void crew_stop(S3Crew *crew) {
    pthread_mutex_lock(&crew->lock);
    crew->stopping = true;
    pthread_cond_broadcast(&crew->work);
    pthread_mutex_unlock(&crew->lock);
    for (size_t i = 0; i < crew->thread_count; i++) pthread_join(crew->threads[i], NULL);
    crew->thread_count = 0;
}

void crew_close(S3Crew *crew) {
    pthread_mutex_destroy(&crew->lock);
    pthread_cond_destroy(&crew->work);
    pthread_cond_destroy(&crew->done);
}

/* Under the lock, and so are the next two; the task itself runs without it. */
static void run_task(S3Crew *crew, S3Task *task) {
    task->state = TASK_RUNNING;
    pthread_mutex_unlock(&crew->lock);
    task->run(task);
    pthread_mutex_lock(&crew->lock);
    task->state = TASK_IDLE;
    pthread_cond_broadcast(&crew->done);
}

static S3Task *take_first(S3Crew *crew) {
    S3Task *task = crew->first;
    crew->first = task->next;
    if (!crew->first) crew->last = NULL;
    return task;
}

static void unqueue(S3Crew *crew, S3Task *task) {
    S3Task *before = NULL;
    for (S3Task *at = crew->first; at != task; at = at->next) before = at;
    if (before)
        before->next = task->next;
    else
        crew->first = task->next;
    if (crew->last == task) crew->last = before;
    task->state = TASK_IDLE;
}

static void *crew_run(void *context) {
    S3Crew *crew = context;
    pthread_mutex_lock(&crew->lock);
    while (!crew->stopping) {
        if (crew->first) {
            run_task(crew, take_first(crew));
            continue;
        }
        crew->idle++;
        pthread_cond_wait(&crew->work, &crew->lock);
        crew->idle--;
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

void crew_start(S3Crew *crew, S3Task *task) {
    pthread_mutex_lock(&crew->lock);
    task->next = NULL;
    task->state = TASK_QUEUED;
    if (crew->last)
        crew->last->next = task;
    else
        crew->first = task;
    crew->last = task;
    bool more = crew->idle == 0 && crew->thread_count < S3_CREW_MAX && !crew->stopping;
    if (more && pthread_create(&crew->threads[crew->thread_count], NULL, crew_run, crew) == 0)
        crew->thread_count++;
    pthread_cond_signal(&crew->work);
    pthread_mutex_unlock(&crew->lock);
}

bool crew_help(S3Crew *crew, S3Task *task) {
    pthread_mutex_lock(&crew->lock);
    bool mine = task->state == TASK_QUEUED;
    if (mine) {
        unqueue(crew, task);
        run_task(crew, task);
    }
    pthread_mutex_unlock(&crew->lock);
    return mine;
}

void crew_wait(S3Crew *crew, S3Task *task) {
    if (crew_help(crew, task)) return;
    pthread_mutex_lock(&crew->lock);
    while (task->state != TASK_IDLE) pthread_cond_wait(&crew->done, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}

void crew_cancel(S3Crew *crew, S3Task *task) {
    pthread_mutex_lock(&crew->lock);
    if (task->state == TASK_QUEUED) unqueue(crew, task);
    while (task->state != TASK_IDLE) pthread_cond_wait(&crew->done, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}
