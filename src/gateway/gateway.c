/* Between the HTTP server and the handlers: finds the route, reads parameters, query string and
 * body by the route's option tables, runs the handler, turns an Err into an answer. */
#include "gateway/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Gateway {
    App *app;
    HttpServer *server;
    RouteCounts *counts; /* one for each route, and one for paths that have none */
};

HttpServer *gateway_server(Gateway *gateway) {
    return gateway->server;
}

RouteCounts *gateway_counts(Gateway *gateway, const Route *route) {
    return &gateway->counts[route ? (size_t)(route - routes) : route_count];
}

#define BRIEF_BODY_MAX (512 << 10) /* read on an event thread; longer ones on the pool */

/* What plan() finds out and answer() uses. */
typedef struct Matched {
    const Route *route;
    Str params[ROUTE_PARAMS_MAX];
    unsigned allowed;
    Caller caller;
} Matched;

static bool read_may_block(const Gateway *gateway, const Matched *matched, Arena *arena) {
    Str bucket;
    Err ignored;
    return !url_decode(matched->params[0], arena, &bucket, &ignored) ||
           !buckets_read_is_local(gateway->app->buckets, bucket);
}

static bool may_block(const Gateway *gateway, const Matched *matched, const Request *request) {
    switch (matched->route->kind) {
    case ROUTE_QUICK:
        return false;
    case ROUTE_READ:
        return read_may_block(gateway, matched, request->arena);
    case ROUTE_BRIEF:
        return request->content_length < 0 || request->content_length > BRIEF_BODY_MAX;
    case ROUTE_POOL:
    case ROUTE_STREAM:
        break;
    }
    return true;
}

/* A profile is read before the handler runs. A body that is not wanted is not gathered. */
static HttpPlan plan(void *context, Request *request) {
    const Gateway *gateway = context;
    Matched *matched = arena_new(request->arena, Matched);
    Err ignored;
    matched->route = route_find(request->method, request->path, matched->params, &matched->allowed);
    matched->caller = caller_of(gateway->app, request);
    request->matched = matched;
    if (!matched->route) return (HttpPlan){.body_max = ROUTE_BODY_MAX};
    if (!access_check(gateway->app, matched->route, &matched->caller, &ignored))
        return (HttpPlan){.stream_body = request->has_body};
    bool bound = caller_profile(&matched->caller).len > 0;
    return (HttpPlan){.pool = bound || may_block(gateway, matched, request),
                      .stream_body = matched->route->kind == ROUTE_STREAM,
                      .body_max = matched->route->kind == ROUTE_STREAM ? 0 : ROUTE_BODY_MAX};
}

static bool unknown_parameter(const Option *options, Str name, Err *err) {
    const char *near = options ? option_nearest(options, name) : NULL;
    int len = (int)MIN(name.len, 80);
    return err_code(err, LH_INVALID, "unknown_parameter", "unknown query parameter '%.*s'%s%s%s",
                    len, name.data, near ? "; did you mean '" : "", near ? near : "",
                    near ? "'?" : "");
}

static bool read_wait(Str value, bool *out, Err *err) {
    static const Option wait = {"wait", LH_FLAG, 0, NULL, "answer when it is done"};
    return option_set(&wait, value, out, err);
}

bool query_read(const Route *route, Str query, Arena *arena, void **out, bool *wait, Err *err) {
    uint64_t given = 0;
    Str name, value;
    *out = arena_alloc(arena, route->query_size + 1);
    if (route->query) options_defaults(route->query, *out);
    err->kind = LH_OK;
    while (url_query_next(&query, arena, &name, &value, err)) {
        if (route->job && str_is(name, "wait")) {
            if (!read_wait(value, wait, err)) return false;
            continue;
        }
        const Option *option = route->query ? option_find(route->query, name) : NULL;
        if (!option) return unknown_parameter(route->query, name, err);
        if (!option_set(option, value, *out, err)) return false;
        given |= (uint64_t)1 << (option - route->query);
    }
    if (err->kind != LH_OK) return false;
    for (const Option *option = route->query; option && option->name; option++)
        if (option_is_required(option) && !(given >> (option - route->query) & 1))
            return err_code(err, LH_INVALID, "missing_parameter",
                            "query parameter '%s' is missing: %s", option->name, option->help);
    return true;
}

static bool read_query(Call *call, Err *err) {
    return query_read(call->route, call->request->query, call->arena, &call->query, &call->wait,
                      err);
}

static bool is_json(Str content_type) {
    Str type = str_trim(str_until(&content_type, ';'));
    return type.len == 0 || str_equal_nocase(type, STR("application/json")) ||
           str_equal_nocase(type, STR("application/x-www-form-urlencoded")) /* curl -d */ ||
           str_ends(type, STR("+json"));
}

static bool read_body(Call *call, Err *err) {
    const Route *route = call->route;
    Str type = request_header(call->request, "content-type");
    if (route->kind == ROUTE_STREAM) return true;
    if (!route->body) {
        if (call->request->body.size == 0) return true;
        return err_code(err, LH_INVALID, "unexpected_body", "this route takes no body");
    }
    if (route->handler == vector_search && str_is(type, "application/octet-stream")) return true;
    if (!is_json(type))
        return err_code(err, LH_MEDIA_TYPE, NULL, "the body must be application/json, not '%.*s'",
                        (int)MIN(type.len, 80), type.data);
    if (call->request->body.size == 0)
        return err_code(err, LH_INVALID, "missing_body", "this route needs a JSON body");
    call->body = arena_alloc(call->arena, route->body_size);
    return json_read_floats(str_of(call->request->body), options_floats(route->body), call->arena,
                            &call->json, err) &&
           options_read(route->body, call->json, call->body, err);
}

static bool decode_params(const Matched *matched, Call *call, Err *err) {
    for (size_t i = 0; i < ROUTE_PARAMS_MAX; i++)
        if (matched->params[i].data &&
            !url_decode(matched->params[i], call->arena, &call->params[i], err))
            return false;
    return true;
}

static void answer_no_route(const Matched *matched, Call *call) {
    static const char *const names[HTTP_METHOD_COUNT] = {"GET",   "HEAD",   "POST",   "PUT",
                                                         "PATCH", "DELETE", "OPTIONS"};
    char allow[64] = "", detail[256];
    Str path = call->request->path;
    for (int m = 0; m < HTTP_METHOD_COUNT; m++)
        if (matched->allowed >> m & 1)
            snprintf(allow + str_from(allow).len, sizeof allow - str_from(allow).len, "%s%s",
                     allow[0] ? ", " : "", m == HTTP_GET ? "GET, HEAD" : names[m]);
    if (!matched->allowed) {
        snprintf(detail, sizeof detail, "no route is called '%.*s'; GET / lists them",
                 (int)MIN(path.len, 120), path.data);
        answer_problem(call->response, 404, "route_not_found", detail);
        return;
    }
    response_header(call->response, "Allow", str_from(allow));
    snprintf(detail, sizeof detail, "this path takes %s", allow);
    if (call->request->method == HTTP_OPTIONS)
        response_status(call->response, 204);
    else
        answer_problem(call->response, 405, "method_not_allowed", detail);
}

static void answer(void *context, Request *request, Response *response) {
    Gateway *gateway = context;
    const Matched *matched = request->matched;
    Call call = {.request = request,
                 .response = response,
                 .route = matched->route,
                 .gateway = gateway,
                 .caller = matched->caller,
                 .arena = request->arena};
    Err err = {0};
    log_request_id(request->id);
    if (!matched->route)
        answer_no_route(matched, &call);
    else if (!access_enter(gateway->app, &call, &err) || !decode_params(matched, &call, &err) ||
             !read_query(&call, &err) || !read_body(&call, &err) ||
             !matched->route->handler(gateway->app, &call, &err))
        answer_error(response, &err);
    access_leave();
    log_request_id((Str){0});
}

static void refuse(void *context, Response *response, int status, const char *reason) {
    char code[64];
    const char *title = status_title(status);
    size_t len = 0;
    (void)context;
    for (; title[len] && len + 1 < sizeof code; len++)
        code[len] = title[len] == ' ' ? '_' : (char)(title[len] | 32);
    code[len] = 0;
    answer_problem(response, status, code, reason);
}

static void done(void *context, const Request *request, int status, uint64_t bytes_sent) {
    static const char *const names[HTTP_METHOD_COUNT] = {"GET",   "HEAD",   "POST",   "PUT",
                                                         "PATCH", "DELETE", "OPTIONS"};
    const Matched *matched = request->matched;
    int64_t elapsed = clock_us() - request->started_us;
    metrics_request(context, matched ? matched->route : NULL, status, elapsed);
    log_request_id(request->id);
    const AccessKey *key = matched ? matched->caller.key : NULL;
    log_debug("%s %.*s %d %llu bytes %.1f ms%s%.*s", names[request->method], SHOW(request->path),
              status, (unsigned long long)bytes_sent, (double)elapsed / 1000, key ? ", key " : "",
              SHOW(key ? key->name : (Str){0}));
    log_request_id((Str){0});
}

bool gateway_open(App *app, Gateway **out, Err *err) {
    Gateway *gateway = calloc(1, sizeof *gateway);
    if (!gateway || !(gateway->counts = calloc(route_count + 1, sizeof *gateway->counts))) abort();
    gateway->app = app;
    HttpApp http = {gateway, plan, answer, refuse, done};
    if (!http_server_open(&app->http, &http, &gateway->server, err)) {
        gateway_close(&gateway, 0);
        return false;
    }
    *out = gateway;
    return true;
}

int gateway_port(const Gateway *gateway) {
    return http_server_port(gateway->server);
}

void gateway_close(Gateway **gateway, int64_t grace_ms) {
    if (!*gateway) return;
    http_server_stop(&(*gateway)->server, grace_ms);
    free((*gateway)->counts);
    free(*gateway);
    *gateway = NULL;
}
