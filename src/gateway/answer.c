/* Errors and answers as HTTP: the one place where an Err becomes a status and JSON. */
#include "gateway/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int status_of(ErrKind kind) {
    static const int statuses[LH_KIND_COUNT] = {
        [LH_OK] = 200,           [LH_INVALID] = 400, [LH_UNKNOWN_USER] = 401, [LH_DENIED] = 403,
        [LH_MISSING] = 404,      [LH_METHOD] = 405,  [LH_CONFLICT] = 409,     [LH_NO_LENGTH] = 411,
        [LH_PRECONDITION] = 412, [LH_TOO_BIG] = 413, [LH_MEDIA_TYPE] = 415,   [LH_RANGE] = 416,
        [LH_IMPOSSIBLE] = 422,   [LH_BUSY] = 429,    [LH_CANCELLED] = 499,    [LH_BUG] = 500,
        [LH_CORRUPT] = 500,      [LH_OFFLINE] = 503, [LH_TIMEOUT] = 504,      [LH_FULL] = 507,
    };
    return statuses[kind];
}

const char *status_title(int status) {
    static const struct {
        int status;
        const char *title;
    } titles[] = {
        {400, "Bad Request"                    },
        {401, "Unauthorized"                   },
        {403, "Forbidden"                      },
        {404, "Not Found"                      },
        {405, "Method Not Allowed"             },
        {408, "Request Timeout"                },
        {409, "Conflict"                       },
        {411, "Length Required"                },
        {412, "Precondition Failed"            },
        {413, "Content Too Large"              },
        {414, "URI Too Long"                   },
        {415, "Unsupported Media Type"         },
        {416, "Range Not Satisfiable"          },
        {417, "Expectation Failed"             },
        {422, "Unprocessable Content"          },
        {429, "Too Many Requests"              },
        {431, "Request Header Fields Too Large"},
        {499, "Cancelled"                      },
        {500, "Internal Server Error"          },
        {501, "Not Implemented"                },
        {503, "Service Unavailable"            },
        {504, "Gateway Timeout"                },
        {505, "HTTP Version Not Supported"     },
        {507, "Insufficient Storage"           },
    };
    for (size_t i = 0; i < COUNT(titles); i++)
        if (titles[i].status == status) return titles[i].title;
    return "Error";
}

void answer_problem(Response *response, int status, const char *code, const char *detail) {
    Text text = {0};
    JsonWriter w = {.out = &text};
    jw_object(&w);
    jw_member_text(&w, "type", STR("about:blank"));
    jw_member_text(&w, "title", str_from(status_title(status)));
    jw_member_int(&w, "status", status);
    jw_member_text(&w, "code", str_from(code));
    jw_member_text(&w, "detail", str_from(detail));
    jw_end(&w);
    response_status(response, status);
    if (status == 401) response_header(response, "WWW-Authenticate", STR("Bearer"));
    if (status == 429 || status == 503) response_header(response, "Retry-After", STR("1"));
    response_take(response, "application/problem+json", &text);
}

void answer_error(Response *response, const Err *err) {
    int status = status_of(err->kind);
    if (status >= 500) log_error("%d: %s", status, err->message);
    if (response_started(response))
        response_abort(response);
    else
        answer_problem(response, status, err_word(err), err->message);
}

void answer_json(Call *call, int status, Text *json) {
    response_status(call->response, status);
    response_take(call->response, "application/json", json);
}

/* A client that hangs up while it waits cancels the job, as it would a request. */
static bool wait_for(Call *call, Job *job) {
    uint64_t seen = 0;
    while (job_state(job) < JOB_SUCCEEDED) {
        seen = job_wait(job, seen, 500);
        if (request_gone(call->request)) job_cancel(job);
    }
    return true;
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

/* A job of a key that is bound to a profile works within that, as it is when the job begins. */
typedef struct BoundJob {
    Profiles *profiles;
    Str profile; /* of the configuration */
    JobRun *run;
    void *context;
    JobFree *free_context;
} BoundJob;

static void bound_free(void *context) {
    BoundJob *bound = context;
    bound->free_context(bound->context);
    free(bound);
}

static bool bound_run(Job *job, void *context, Text *result, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    BoundJob *bound = context;
    if (!profile_enter(bound->profiles, bound->profile, &arena, err)) return false;
    bool ok = bound->run(job, bound->context, result, err);
    profile_leave();
    return ok;
}

static bool start_job(App *app, const Call *call, const char *kind, JobRun *run, void *context,
                      JobFree *free_context, Job **out, Err *err) {
    Str profile = caller_profile(&call->caller);
    if (!profile.len) return jobs_start(app->jobs, kind, run, context, free_context, out, err);
    BoundJob *bound = calloc(1, sizeof *bound);
    if (!bound) abort();
    *bound = (BoundJob){app->profiles, profile, run, context, free_context};
    return jobs_start(app->jobs, kind, bound_run, bound, bound_free, out, err);
}

bool answer_job(App *app, Call *call, const char *kind, JobRun *run, void *context,
                JobFree *free_context, int status, Err *err) {
    OWNED(job_release) Job *job = NULL;
    OWNED(text_close) Text result = {0};
    if (!start_job(app, call, kind, run, context, free_context, &job, err)) return false;
    if (!call->wait) {
        answer_accepted(call, job);
        return true;
    }
    wait_for(call, job);
    if (!job_result(job, &result, err)) return false;
    answer_json(call, status, &result);
    return true;
}

Str http_date(int64_t unix_ms, char buffer[HTTP_DATE_SIZE]) {
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm t;
    gmtime_r(&seconds, &t);
    return (Str){buffer, strftime(buffer, HTTP_DATE_SIZE, "%a, %d %b %Y %H:%M:%S GMT", &t)};
}

bool http_date_read(Str text, int64_t *unix_ms) {
    char buffer[HTTP_DATE_SIZE] = "";
    struct tm t = {0};
    if (text.len == 0 || text.len >= sizeof buffer) return false;
    memcpy(buffer, text.data, text.len);
    const char *end = strptime(buffer, "%a, %d %b %Y %H:%M:%S GMT", &t);
    if (!end || *end) return false;
    *unix_ms = (int64_t)timegm(&t) * 1000;
    return true;
}
