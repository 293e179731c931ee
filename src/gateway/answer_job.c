/* Routes whose work is a job: it starts with what it needs of the call, and the answer is where to
 * look for it, or with ?wait=true its result. */
#include "gateway/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool job_is_cancelled(void *job) {
    return job_cancelled(job);
}

static void call_free(void *context) {
    JobCall *call = context;
    arena_close(&call->arena);
    free(call);
}

/* The body is read once more, into memory that lasts. */
static bool keep_body(JobCall *kept, const Call *call, Err *err) {
    const Json *json;
    if (!call->body) return true;
    Str body = arena_copy(&kept->arena, str_of(call->request->body));
    void *into = arena_alloc(&kept->arena, call->route->body_size);
    kept->body = into;
    return json_read(body, &kept->arena, &json, err) &&
           options_read(call->route->body, json, into, err);
}

/* Of a query string the texts alone lie in the request. */
static void keep_query(JobCall *kept, const Call *call) {
    if (!call->query) return;
    char *into = arena_alloc(&kept->arena, call->route->query_size + 1);
    memcpy(into, call->query, call->route->query_size);
    for (const Option *option = call->route->query; option && option->name; option++) {
        Str *text = (Str *)(void *)(into + option->offset);
        if (option->type == LH_TEXT) *text = arena_copy(&kept->arena, *text);
    }
    kept->query = into;
}

/* A job of a key that is bound to a profile works within that, as it is when the job begins. */
static bool call_run(Job *job, void *context, Text *result, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    JobCall *call = context;
    Str profile = call->profile;
    call->job = job;
    if (profile.len && !profile_enter(call->app->profiles, profile, &arena, err)) return false;
    bool ok = call->run(call, result, err);
    if (profile.len) profile_leave();
    return ok;
}

bool job_start(App *app, const Call *call, const char *kind, JobCallRun *run, Job **out, Err *err) {
    JobCall *kept = calloc(1, sizeof *kept);
    if (!kept) abort();
    kept->app = app;
    kept->run = run;
    kept->profile = caller_profile(&call->caller);
    kept->name = arena_copy(&kept->arena, call->params[0]);
    keep_query(kept, call);
    if (!keep_body(kept, call, err)) {
        call_free(kept);
        return false;
    }
    return jobs_start(app->jobs, kind, call_run, kept, call_free, out, err);
}

/* A client that hangs up while it waits cancels the job, as it would a request. */
static void wait_for(Call *call, Job *job) {
    uint64_t seen = 0;
    while (job_state(job) < JOB_SUCCEEDED) {
        seen = job_wait(job, seen, 500);
        if (request_gone(call->request)) job_cancel(job);
    }
}

static void answer_accepted(Call *call, Job *job) {
    Text text = {0};
    JsonWriter w = {.out = &text};
    char location[64];
    snprintf(location, sizeof location, "/jobs/%s", job_id(job));
    jw_object(&w);
    jw_member_text(&w, "job", str_from(job_id(job)));
    jw_end(&w);
    response_header(call->response, "Location", str_from(location));
    answer_json(call, 202, &text);
}

bool answer_job(App *app, Call *call, const char *kind, JobCallRun *run, int status, Err *err) {
    OWNED(job_release) Job *job = NULL;
    OWNED(text_close) Text result = {0};
    if (!job_start(app, call, kind, run, &job, err)) return false;
    if (!call->wait) {
        answer_accepted(call, job);
        return true;
    }
    wait_for(call, job);
    if (!job_result(job, &result, err)) return false;
    answer_json(call, status, &result);
    return true;
}
