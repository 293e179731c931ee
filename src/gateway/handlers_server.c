#include "gateway/route.h"

bool health(App *app, Call *call, Err *err) {
    Text text = {0};
    (void)err;
    text_print(&text, "{\"status\":\"ok\",\"version\":\"%s\",\"uptime_ms\":%lld}",
               LAKEHOUSE_VERSION, (long long)(clock_now_ms() - app->started_ms));
    answer_json(call, 200, &text);
    return true;
}

static bool storage_ready(App *app, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    return bucket_find(app->buckets, STR("primary"), &bucket, err) &&
           store_probe(bucket_store(bucket), err);
}

static bool query_ready(App *app, Err *err) {
    OWNED(rows_close) Rows *rows = NULL;
    size_t count;
    Query query = {.sql = STR("SELECT 1"), .timeout_ms = 2000, .trusted = true};
    return query_open(app->engine, &query, &rows, err) && rows_next(rows, &count, err);
}

static bool embedder_answers(App *app, Err *err) {
    return ai_probe(app->ai, err);
}

/* Probes send no key; what is wrong names buckets, paths and hosts. */
static bool knows_why(const App *app, const Call *call) {
    return app->keys.len == 0 || call->caller.key;
}

static Str why_not(const App *app, const Call *call, const Err *why) {
    return knows_why(app, call) ? str_from(why->message) : STR("not ready");
}

bool ready(App *app, Call *call, Err *err) {
    static const struct {
        const char *name;
        bool (*is_ready)(App *app, Err *err);
        bool needed; /* a model server that is away stops nothing but what needs it */
    } parts[] = {
        {"storage",  storage_ready,    true },
        {"query",    query_ready,      true },
        {"embedder", embedder_answers, false}
    };
    Text text = {0};
    JsonWriter w = {.out = &text};
    bool all = true;
    (void)err;
    jw_object(&w);
    jw_name(&w, "parts");
    jw_object(&w);
    for (size_t i = 0; i < COUNT(parts); i++) {
        Err why = {0};
        bool ok = parts[i].is_ready(app, &why);
        all = all && (ok || !parts[i].needed);
        jw_member_text(&w, parts[i].name, ok ? STR("ready") : why_not(app, call, &why));
    }
    jw_end(&w);
    if (knows_why(app, call)) {
        jw_name(&w, "buckets_unreachable");
        buckets_write_unreachable(app->buckets, &w);
    }
    jw_member_flag(&w, "ready", all);
    jw_end(&w);
    answer_json(call, all ? 200 : 503, &text);
    return true;
}

bool metrics(App *app, Call *call, Err *err) {
    Text text = {0};
    (void)err;
    metrics_write(call->gateway, app, &text);
    response_take(call->response, "text/plain; version=0.0.4; charset=utf-8", &text);
    return true;
}
