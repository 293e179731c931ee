/* Internal to the gateway: what a route is and what a handler is given. */
#pragma once

#include "gateway/gateway.h"

#include <stdatomic.h>

#define ROUTE_PARAMS_MAX 3
#define ROUTE_BODY_MAX (16 << 20) /* a JSON body; object and file bodies are streamed */

typedef struct Call Call;
typedef bool Handler(App *app, Call *call, Err *err);

typedef enum RouteKind {
    ROUTE_QUICK,  /* never blocks: answered on the event thread */
    ROUTE_READ,   /* of an object: quick when its bucket is on this machine, else on the pool */
    ROUTE_BRIEF,  /* on the event thread, unless its handler defers it */
    ROUTE_POOL,   /* may block; the body, if any, is JSON */
    ROUTE_STREAM, /* reads its body piece by piece */
} RouteKind;

/* The scope that a request's key must have, where keys are configured. A key that is bound to a
 * profile works within that, and does nothing that concerns the server as a whole. */
#define WHOLE_SERVER 16
typedef enum RouteAccess {
    NEEDS_ADMIN, /* also where a row says nothing */
    NEEDS_READ = KEY_READ,
    NEEDS_WRITE = KEY_WRITE,
    NEEDS_READ_ALL = KEY_READ | WHOLE_SERVER,
    NEEDS_WRITE_ALL = KEY_WRITE | WHOLE_SERVER,
    NEEDS_NO_KEY = 32,
} RouteAccess;

typedef struct Route {
    HttpMethod method;
    const char *pattern; /* {name} is one segment, {*name} the rest */
    Handler *handler;
    const char *help;
    RouteKind kind;
    RouteAccess access;
    const Option *query, *body; /* what is taken; NULL: nothing */
    size_t query_size, body_size;
    bool job; /* takes ?wait= and may answer 202 */
} Route;

extern const Route routes[]; /* ends with an empty pattern */
extern const size_t route_count;

/* access.c */
typedef struct Caller {
    const AccessKey *key; /* NULL: none that is known */
    bool sent;            /* one was */
} Caller;
static inline Str caller_profile(const Caller *caller) { /* empty: bound to none */
    return caller->key ? caller->key->profile : (Str){0};
}

struct Call {
    Request *request;
    Response *response;
    const Route *route;
    Gateway *gateway;
    Caller caller;
    Arena *arena;
    Str params[ROUTE_PARAMS_MAX]; /* decoded, in order of the pattern */
    void *query, *body;           /* the structs that the route's options fill */
    const Json *json;             /* the body as it came */
    bool wait;
};

/* Finds the route of a path. NULL with *allowed 0: no such path; else the methods it has, a bit
 * each. Params are still encoded. */
const Route *route_find(HttpMethod method, Str path, Str params[ROUTE_PARAMS_MAX],
                        unsigned *allowed);

Caller caller_of(const App *app, const Request *request);
/* LH_UNKNOWN_USER "no_key" and "wrong_key"; LH_DENIED "missing_scope" and "out_of_scope". */
bool access_check(const App *app, const Route *route, const Caller *caller, Err *err);
bool caller_is_whole(const Caller *caller, Err *err); /* bound to no profile */
/* The same, and until access_leave this thread works within the profile of the caller's key. */
bool access_enter(App *app, const Call *call, Err *err);
void access_leave(void);
unsigned route_scope(const Route *route); /* a KeyScope, or 0 */
bool route_is_whole(const Route *route);

int status_of(ErrKind kind);
const char *status_title(int status);
void answer_problem(Response *response, int status, const char *code, const char *detail);
void answer_error(Response *response, const Err *err); /* nothing once a stream has begun */
void answer_json(Call *call, int status, Text *json);  /* takes the text */
/* Callbacks by which long work learns that it should end. */
bool client_is_gone(void *request);
bool job_is_cancelled(void *job);

/* answer_job.c: what a job keeps of the call that started it, which is over when it runs. */
typedef struct JobCall JobCall;
typedef bool JobCallRun(const JobCall *call, Text *result, Err *err);
struct JobCall {
    App *app;
    Job *job;
    Str name;                 /* the first of the path's parameters */
    const void *query, *body; /* the structs that the route's options fill; no body: NULL */
    JobCallRun *run;
    Str profile; /* that the caller's key is bound to; empty: none */
    Arena arena;
};
/* Starts a job and answers 202, or with ?wait=true its result with `status`. */
bool answer_job(App *app, Call *call, const char *kind, JobCallRun *run, int status, Err *err);
/* Starts it alone; *out is held. */
bool job_start(App *app, const Call *call, const char *kind, JobCallRun *run, Job **out, Err *err);

bool index_is_there(App *app, const Call *call, Err *err); /* the one that the path names */
/* Answers a change of an index's rows, after starting the upkeep that it asks for. */
bool answer_rows(App *app, Call *call, Text *result, bool upkeep);

/* IMF-fixdate (RFC 9110, 5.6.7). */
#define HTTP_DATE_SIZE 32
Str http_date(int64_t unix_ms, char buffer[HTTP_DATE_SIZE]);
bool http_date_read(Str text, int64_t *unix_ms);

void metrics_request(Gateway *gateway, const Route *route, int status, int64_t elapsed_us);
void metrics_write(Gateway *gateway, App *app, Text *out);
HttpServer *gateway_server(Gateway *gateway);

typedef struct RouteCounts {
    atomic_llong by_status[6]; /* 1xx .. 5xx at their first digit */
    atomic_llong buckets[12];  /* of latency, see metrics.c */
    atomic_llong elapsed_us;
} RouteCounts;
RouteCounts *gateway_counts(Gateway *gateway, const Route *route);

/* Handlers, by file. */
Handler health, ready, metrics, openapi, home;     /* _server */
Handler job_list, job_get, job_events, job_delete; /* _jobs */
Handler storage_health, bucket_list, bucket_create, bucket_delete, error_list, error_flush,
    error_compact, bucket_health;                           /* _buckets */
Handler object_get, object_put, object_delete, object_list; /* _objects */
Handler dataset_list, dataset_get, dataset_patch, dataset_delete, dataset_rollback, dataset_lineage,
    rows_delete, dataset_compact; /* _catalog */
Handler query_run;
Handler ingest_body, ingest_db, ingest_mysql;
Handler ai_embed, openai_embed; /* _ai */
Handler ai_generate_post, openai_chat, openai_models, admin_unload, admin_preload,
    admin_vram; /* _models */
Handler index_list, index_get, index_post, index_delete, index_patch, index_post_refresh,
    vector_search;
Handler index_put_rows, index_delete_rows, index_post_compact;
Handler lance_post_search, lance_get_doc, lance_get_stats, lance_post_append, lance_post_index,
    lance_post_migrate; /* _lance */
Handler eval_list, eval_get, eval_put, eval_delete, trial_list, trial_post, autotune_post;
Handler agent_status, agent_post_enqueue, agent_post_pause, agent_post_resume;
Handler profile_list, profile_get, profile_put_route, profile_delete, profile_active,
    profile_post_activate, profile_post_deactivate, profile_post_search; /* _profiles */
Handler promotion_list, promotion_get, promotion_post, promotion_rollback;

/* Option tables of the handlers' query strings and bodies, beside the handlers. */
extern const Option bucket_body[], error_query[], health_query[], list_query[], dataset_query[],
    drop_query[], patch_body[], rollback_body[], delete_body[], query_body[], ingest_query[],
    db_body[], embed_body[], openai_embed_body[], generate_body[], chat_body[], model_body[],
    force_query[], rescue_query[], move_body[], promote_body[], migrate_query[],
    lance_append_body[];
