/* Threads take the oldest queued job. Every Job is counted: the list holds one reference, the
 * running thread one, each job_find one; the last to go frees it. One lock guards all of it and one
 * condition is broadcast on each change; jobs are few and their changes slow. */
#include "base/job.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/owned.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Job {
    Jobs *jobs;
    Job *older;
    int holders;
    char id[JOB_ID_SIZE];
    const char *kind;
    JobRun *run;
    void *context;
    JobFree *free_context;
    JobState state;
    atomic_bool cancelled;
    int64_t done, total, queued_ms, started_ms, ended_ms;
    const char *unit;
    uint64_t version;
    Text result;
    Err err;
};

struct Jobs {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Job *newest;
    int queued, kept;
    int64_t counts[JOB_CANCELLED + 1];
    bool closing;
    int thread_count;
    pthread_t threads[];
};

static const char *const state_names[] = {"queued", "running", "succeeded", "failed", "cancelled"};

static void job_unref(Job *job) { /* under the lock */
    if (--job->holders > 0) return;
    text_close(&job->result);
    free(job);
}

static void job_changed(Job *job) { /* under the lock */
    job->version++;
    pthread_cond_broadcast(&job->jobs->changed);
}

static void job_end(Job *job, JobState state) { /* under the lock */
    Jobs *jobs = job->jobs;
    jobs->counts[job->state]--;
    jobs->counts[state]++;
    job->state = state;
    job->ended_ms = clock_now_ms();
    job_changed(job);
}

static Job *oldest_queued(Jobs *jobs) {
    Job *found = NULL;
    for (Job *job = jobs->newest; job; job = job->older)
        if (job->state == JOB_QUEUED) found = job;
    return found;
}

static void job_execute(Jobs *jobs, Job *job) { /* under the lock, left while it runs */
    Err err = {0};
    OWNED(text_close) Text result = {0};
    jobs->queued--;
    job->holders++;
    jobs->counts[job->state]--;
    jobs->counts[JOB_RUNNING]++;
    job->state = JOB_RUNNING;
    job->started_ms = clock_now_ms();
    job_changed(job);
    pthread_mutex_unlock(&jobs->lock);
    bool ok = job->run(job, job->context, &result, &err);
    job->free_context(job->context);
    pthread_mutex_lock(&jobs->lock);
    job->err = err;
    job->result = result;
    result = (Text){0};
    job_end(job, ok ? JOB_SUCCEEDED : err.kind == LH_CANCELLED ? JOB_CANCELLED : JOB_FAILED);
    job_unref(job);
}

static void *jobs_thread(void *context) {
    Jobs *jobs = context;
    pthread_mutex_lock(&jobs->lock);
    while (!jobs->closing) {
        Job *job = oldest_queued(jobs);
        if (job)
            job_execute(jobs, job);
        else
            pthread_cond_wait(&jobs->changed, &jobs->lock);
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

bool jobs_open(int threads, Jobs **out, Err *err) {
    OWNED(jobs_close) Jobs *jobs = calloc(1, sizeof *jobs + sizeof(pthread_t) * (size_t)threads);
    if (!jobs) abort();
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&jobs->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&jobs->lock, NULL);
    for (; jobs->thread_count < threads; jobs->thread_count++)
        if (pthread_create(&jobs->threads[jobs->thread_count], NULL, jobs_thread, jobs))
            return err_set(err, LH_OFFLINE, "cannot start a job thread");
    *out = TAKE(jobs);
    return true;
}

void jobs_close(Jobs **slot) {
    Jobs *jobs = *slot;
    if (!jobs) return;
    pthread_mutex_lock(&jobs->lock);
    jobs->closing = true;
    for (Job *job = jobs->newest; job; job = job->older) atomic_store(&job->cancelled, true);
    pthread_cond_broadcast(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
    for (int i = 0; i < jobs->thread_count; i++) pthread_join(jobs->threads[i], NULL);
    while (jobs->newest) {
        Job *job = jobs->newest;
        jobs->newest = job->older;
        if (job->state == JOB_QUEUED) job->free_context(job->context);
        job_unref(job);
    }
    pthread_cond_destroy(&jobs->changed);
    pthread_mutex_destroy(&jobs->lock);
    free(jobs);
    *slot = NULL;
}

/* Drops the oldest ended job; what is queued or running stays. */
static void jobs_forget_one(Jobs *jobs) {
    Job **found = NULL;
    for (Job **link = &jobs->newest; *link; link = &(*link)->older)
        if ((*link)->state >= JOB_SUCCEEDED) found = link;
    if (!found) return;
    Job *job = *found;
    *found = job->older;
    jobs->kept--;
    job_unref(job);
}

bool jobs_start(Jobs *jobs, const char *kind, JobRun *run, void *context, JobFree *free_context,
                Job **out, Err *err) {
    pthread_mutex_lock(&jobs->lock);
    if (jobs->queued >= JOBS_QUEUED_MAX || jobs->closing) {
        pthread_mutex_unlock(&jobs->lock);
        free_context(context);
        return err_set(err, LH_BUSY, "%d jobs are waiting already; try again when some are done",
                       JOBS_QUEUED_MAX);
    }
    Job *job = calloc(1, sizeof *job);
    if (!job) abort();
    *job = (Job){.jobs = jobs,
                 .older = jobs->newest,
                 .holders = 2, /* the list and the caller */
                 .kind = kind,
                 .run = run,
                 .context = context,
                 .free_context = free_context,
                 .total = -1,
                 .unit = "rows",
                 .queued_ms = clock_now_ms(),
                 .version = 1};
    snprintf(job->id, sizeof job->id, "j%016llx", (unsigned long long)random_u64());
    jobs->newest = job;
    jobs->queued++;
    jobs->counts[JOB_QUEUED]++;
    if (++jobs->kept > JOBS_KEPT_MAX) jobs_forget_one(jobs);
    pthread_cond_broadcast(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
    *out = job;
    return true;
}

Job *jobs_find(Jobs *jobs, Str id) {
    pthread_mutex_lock(&jobs->lock);
    Job *job = jobs->newest;
    while (job && !str_is(id, job->id)) job = job->older;
    if (job) job->holders++;
    pthread_mutex_unlock(&jobs->lock);
    return job;
}

void job_release(Job **slot) {
    Job *job = *slot;
    if (!job) return;
    Jobs *jobs = job->jobs;
    pthread_mutex_lock(&jobs->lock);
    job_unref(job);
    pthread_mutex_unlock(&jobs->lock);
    *slot = NULL;
}

static void write_error(const Job *job, JsonWriter *w) {
    jw_name(w, "error");
    if (job->state != JOB_FAILED && job->state != JOB_CANCELLED) return jw_null(w);
    jw_object(w);
    jw_member_text(w, "code", str_from(err_word(&job->err)));
    jw_member_text(w, "detail", str_from(job->err.message));
    jw_end(w);
}

static void write_rate(const Job *job, JsonWriter *w) {
    int64_t now = job->ended_ms ? job->ended_ms : clock_now_ms();
    double seconds = job->started_ms ? (double)MAX(now - job->started_ms, 1) / 1000 : 0;
    double rate = seconds > 0 ? (double)job->done / seconds : 0;
    jw_member_tenths(w, "rate", rate);
    jw_name(w, "eta_ms");
    if (job->state != JOB_RUNNING || job->total < job->done || rate <= 0)
        jw_null(w);
    else
        jw_int(w, (int64_t)((double)(job->total - job->done) / rate * 1000));
}

static void job_write_locked(const Job *job, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "job", str_from(job->id));
    jw_member_text(w, "kind", str_from(job->kind));
    jw_member_text(w, "state", str_from(state_names[job->state]));
    jw_member_int(w, "done", job->done);
    jw_name(w, "total");
    if (job->total < 0)
        jw_null(w);
    else
        jw_int(w, job->total);
    jw_member_text(w, "unit", str_from(job->unit));
    write_rate(job, w);
    jw_member_time(w, "queued_at", job->queued_ms);
    jw_member_time(w, "started_at", job->started_ms);
    jw_member_time(w, "ended_at", job->ended_ms);
    jw_name(w, "result");
    if (job->state == JOB_SUCCEEDED && job->result.len)
        jw_raw(w, text_str(&job->result));
    else
        jw_null(w);
    write_error(job, w);
    jw_end(w);
}

void job_write(Job *job, JsonWriter *w) {
    pthread_mutex_lock(&job->jobs->lock);
    job_write_locked(job, w);
    pthread_mutex_unlock(&job->jobs->lock);
}

void jobs_write(Jobs *jobs, JsonWriter *w) {
    pthread_mutex_lock(&jobs->lock);
    jw_array(w);
    for (Job *job = jobs->newest; job; job = job->older) job_write_locked(job, w);
    jw_end(w);
    pthread_mutex_unlock(&jobs->lock);
}

void jobs_counts(Jobs *jobs, int64_t counts[JOB_CANCELLED + 1]) {
    pthread_mutex_lock(&jobs->lock);
    memcpy(counts, jobs->counts, sizeof jobs->counts);
    pthread_mutex_unlock(&jobs->lock);
}

const char *job_id(const Job *job) {
    return job->id;
}

JobState job_state(Job *job) {
    pthread_mutex_lock(&job->jobs->lock);
    JobState state = job->state;
    pthread_mutex_unlock(&job->jobs->lock);
    return state;
}

void job_cancel(Job *job) {
    Jobs *jobs = job->jobs;
    pthread_mutex_lock(&jobs->lock);
    atomic_store(&job->cancelled, true);
    bool waiting = job->state == JOB_QUEUED;
    if (waiting) {
        jobs->queued--;
        err_set(&job->err, LH_CANCELLED, "cancelled before it started");
        job_end(job, JOB_CANCELLED);
    }
    pthread_mutex_unlock(&jobs->lock);
    if (waiting) job->free_context(job->context);
}

uint64_t job_wait(Job *job, uint64_t seen, int64_t timeout_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_mutex_lock(&job->jobs->lock);
    while (job->version <= seen && job->state < JOB_SUCCEEDED)
        if (pthread_cond_timedwait(&job->jobs->changed, &job->jobs->lock, &until)) break;
    uint64_t version = job->version;
    pthread_mutex_unlock(&job->jobs->lock);
    return version;
}

bool job_result(Job *job, Text *result, Err *err) {
    pthread_mutex_lock(&job->jobs->lock);
    bool ok = job->state == JOB_SUCCEEDED;
    if (ok)
        text_add(result, text_str(&job->result));
    else
        *err = job->err;
    pthread_mutex_unlock(&job->jobs->lock);
    return ok;
}

bool job_cancelled(const Job *job) {
    return atomic_load(&job->cancelled);
}

void job_progress(Job *job, int64_t done, int64_t total, const char *unit) {
    pthread_mutex_lock(&job->jobs->lock);
    job->done = done;
    job->total = total;
    job->unit = unit;
    job_changed(job);
    pthread_mutex_unlock(&job->jobs->lock);
}
