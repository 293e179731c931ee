#include "gateway/route.h"

static bool find_job(App *app, Call *call, Job **out, Err *err) {
    *out = jobs_find(app->jobs, call->params[0]);
    return *out || err_code(err, LH_MISSING, "job_not_found", "no job named '%.*s'",
                            (int)MIN(call->params[0].len, 80), call->params[0].data);
}

bool job_list(App *app, Call *call, Err *err) {
    Text text = {0};
    (void)err;
    jobs_write(app->jobs, &(JsonWriter){.out = &text});
    answer_json(call, 200, &text);
    return true;
}

bool job_get(App *app, Call *call, Err *err) {
    OWNED(job_release) Job *job = NULL;
    Text text = {0};
    if (!find_job(app, call, &job, err)) return false;
    job_write(job, &(JsonWriter){.out = &text});
    answer_json(call, 200, &text);
    return true;
}

bool job_delete(App *app, Call *call, Err *err) {
    OWNED(job_release) Job *job = NULL;
    Text text = {0};
    if (!find_job(app, call, &job, err)) return false;
    job_cancel(job);
    job_write(job, &(JsonWriter){.out = &text});
    answer_json(call, 202, &text);
    return true;
}

static bool send_event(Call *call, Job *job, Err *err) {
    OWNED(text_close) Text text = {0};
    text_add(&text, STR("data: "));
    job_write(job, &(JsonWriter){.out = &text});
    text_add(&text, STR("\n\n"));
    return response_write(call->response, text_bytes(&text), err);
}

/* An event for each change, a comment every few seconds so that proxies and we notice a dead peer.
 */
bool job_events(App *app, Call *call, Err *err) {
    OWNED(job_release) Job *job = NULL;
    if (!find_job(app, call, &job, err)) return false;
    response_header(call->response, "Cache-Control", STR("no-store"));
    if (!response_stream(call->response, "text/event-stream", err)) return false;
    for (uint64_t seen = 0;;) {
        bool ended = job_state(job) >= JOB_SUCCEEDED;
        uint64_t version = job_wait(job, seen, ended ? 0 : 5000);
        Bytes idle = bytes_of(STR(": still here\n\n"));
        if (version != seen ? !send_event(call, job, err)
                            : !ended && !response_write(call->response, idle, err))
            return false;
        if (ended) return true;
        seen = version;
    }
}
