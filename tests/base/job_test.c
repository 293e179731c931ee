#include "kit/kit.h"

#include <unistd.h>

static Err err;

static bool count_up(Job *job, void *context, Text *result, Err *why) {
    int64_t total = *(int64_t *)context;
    for (int64_t i = 0; i < total; i++) {
        if (job_cancelled(job)) return err_set(why, LH_CANCELLED, "cancelled");
        job_progress(job, i + 1, total, "steps");
        usleep(1000);
    }
    text_print(result, "{\"steps\":%lld}", (long long)total);
    return true;
}

static bool go_wrong(Job *job, void *context, Text *result, Err *why) {
    (void)job, (void)context, (void)result;
    return err_set(why, LH_CORRUPT, "it broke");
}

static int freed;
static void forget(void *context) {
    (void)context, __atomic_add_fetch(&freed, 1, __ATOMIC_SEQ_CST);
}

static JobState wait_end(Job *job) {
    for (uint64_t seen = 0; job_state(job) < JOB_SUCCEEDED;) seen = job_wait(job, seen, 1000);
    return job_state(job);
}

TEST("a job reports progress and hands over its result") {
    OWNED(jobs_close) Jobs *jobs = NULL;
    OWNED(job_release) Job *job = NULL;
    OWNED(text_close) Text result = {0};
    int64_t steps = 5;
    CHECK_OK(jobs_open(2, &jobs, &err));
    CHECK_OK(jobs_start(jobs, "count", count_up, &steps, forget, &job, &err));
    CHECK_INT(wait_end(job), JOB_SUCCEEDED);
    CHECK_OK(job_result(job, &result, &err));
    CHECK_STR(text_str(&result), "{\"steps\":5}");
    OWNED(job_release) Job *found = jobs_find(jobs, str_from(job_id(job)));
    CHECK(found == job);
}

TEST("a failed job says why, a cancelled one that it was") {
    OWNED(jobs_close) Jobs *jobs = NULL;
    OWNED(job_release) Job *bad = NULL, *slow = NULL;
    OWNED(text_close) Text result = {0};
    int64_t steps = 100000;
    CHECK_OK(jobs_open(2, &jobs, &err));
    CHECK_OK(jobs_start(jobs, "bad", go_wrong, NULL, forget, &bad, &err));
    CHECK_INT(wait_end(bad), JOB_FAILED);
    CHECK(!job_result(bad, &result, &err) && err.kind == LH_CORRUPT);
    CHECK_OK(jobs_start(jobs, "slow", count_up, &steps, forget, &slow, &err));
    job_wait(slow, 2, 1000);
    job_cancel(slow);
    CHECK_INT(wait_end(slow), JOB_CANCELLED);
}

TEST("a queue that is full answers busy and every context is freed once") {
    int64_t steps = 100000;
    freed = 0;
    {
        OWNED(jobs_close) Jobs *jobs = NULL;
        int started = 0;
        CHECK_OK(jobs_open(1, &jobs, &err));
        for (;; started++) {
            Job *job = NULL;
            if (!jobs_start(jobs, "count", count_up, &steps, forget, &job, &err)) break;
            job_release(&job);
        }
        CHECK(err.kind == LH_BUSY);
        CHECK(started >= JOBS_QUEUED_MAX);
        steps = started + 1;
    }
    CHECK_INT(freed, steps);
}
