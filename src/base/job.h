/* Long work with progress and cancellation, run by a few threads of its own.
 *
 * A job's function runs once; it reports progress, asks job_cancelled now and then, and writes its
 * result as JSON. Finished jobs are kept for reading, the oldest dropped beyond a bound.
 * Thread rule: everything here is thread safe; a Job * is held by job_find until job_release. */
#pragma once

#include "base/err.h"
#include "base/json.h"

#define JOB_ID_SIZE 20
#define JOBS_QUEUED_MAX 256
#define JOBS_KEPT_MAX 1000

typedef struct Jobs Jobs;
typedef struct Job Job;
typedef enum JobState {
    JOB_QUEUED,
    JOB_RUNNING,
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_CANCELLED
} JobState;
/* True: `result` holds one JSON object. False: err says why; LH_CANCELLED when it was cancelled. */
typedef bool JobRun(Job *job, void *context, Text *result, Err *err);
typedef void JobFree(void *context); /* called once the job ended or never ran */

bool jobs_open(int threads, Jobs **out, Err *err);
void jobs_close(Jobs **jobs); /* cancels what runs, waits for it */
/* Takes `context` in every case. LH_BUSY when the queue is full. *out is held. */
bool jobs_start(Jobs *jobs, const char *kind, JobRun *run, void *context, JobFree *free_context,
                Job **out, Err *err);
Job *jobs_find(Jobs *jobs, Str id); /* held; NULL when unknown */
void job_release(Job **job);
void jobs_write(Jobs *jobs, JsonWriter *w); /* an array, newest first */
void jobs_counts(Jobs *jobs, int64_t counts[JOB_CANCELLED + 1]);

const char *job_id(const Job *job);
void job_write(Job *job, JsonWriter *w); /* API.md "jobs" */
JobState job_state(Job *job);
void job_cancel(Job *job);
/* Waits until the job's version passes `seen` or `timeout_ms` went by; returns the version, which
 * grows with every change. */
uint64_t job_wait(Job *job, uint64_t seen, int64_t timeout_ms);
bool job_result(Job *job, Text *result, Err *err); /* of an ended job */

/* For the running function. */
bool job_cancelled(const Job *job);
void job_progress(Job *job, int64_t done, int64_t total, const char *unit); /* total -1: unknown */
