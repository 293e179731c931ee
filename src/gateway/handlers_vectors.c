#include "gateway/bodies.h"
#include "gateway/route.h"

#include <string.h>

bool index_list(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!indexes_write(app->indexes, &(JsonWriter){.out = &text}, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

bool index_get(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!index_write(app->indexes, call->params[0], &(JsonWriter){.out = &text}, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

bool index_delete(App *app, Call *call, Err *err) {
    Text text = {0};
    JsonWriter w = {.out = &text};
    if (!index_drop(app->indexes, call->params[0], err)) return false;
    jw_object(&w);
    jw_member_text(&w, "index", call->params[0]);
    jw_member_flag(&w, "deleted", true);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

static bool run_create(const JobCall *call, Text *result, Err *err) {
    return index_create(call->app->indexes, call->body, call->job, result, err);
}

bool index_post(App *app, Call *call, Err *err) {
    if (!index_check(app->indexes, call->body, err)) return false;
    return answer_job(app, call, "index", run_create, 201, err);
}

static bool run_refresh(const JobCall *call, Text *result, Err *err) {
    return index_refresh(call->app->indexes, call->name, call->job, result, err);
}

static bool run_fold(const JobCall *call, Text *result, Err *err) {
    return index_fold(call->app->indexes, call->name, call->job, result, err);
}

static bool run_upkeep(const JobCall *call, Text *result, Err *err) {
    return index_upkeep(call->app->indexes, call->name, call->job, result, err);
}

/* What is not there is said at once. */
bool index_is_there(App *app, const Call *call, Err *err) {
    OWNED(text_close) Text found = {0};
    return index_write(app->indexes, call->params[0], &(JsonWriter){.out = &found}, err);
}

bool index_post_refresh(App *app, Call *call, Err *err) {
    return index_is_there(app, call, err) &&
           answer_job(app, call, "refresh", run_refresh, 200, err);
}

bool index_post_compact(App *app, Call *call, Err *err) {
    return index_is_there(app, call, err) &&
           answer_job(app, call, "compact index", run_fold, 200, err);
}

/* What was put is durable already: where no job can be started now, the next put asks again. It is
 * the server's own job, whoever put the rows. */
static void start_upkeep(App *app, Str index) {
    OWNED(job_release) Job *job = NULL;
    Err err = {0};
    const Call call = {.params = {index}};
    if (!job_start(app, &call, "index upkeep", run_upkeep, &job, &err))
        log_warn("index '%.*s' has no upkeep now: %s", SHOW(index), err.message);
}

bool answer_rows(App *app, Call *call, Text *result, bool upkeep) {
    if (upkeep) start_upkeep(app, call->params[0]);
    answer_json(call, 200, result);
    return true;
}

bool index_put_rows(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    bool upkeep = false;
    return index_rows_put(app->indexes, call->params[0], call->body, &text, &upkeep, err) &&
           answer_rows(app, call, &text, upkeep);
}

bool index_delete_rows(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    bool upkeep = false;
    return index_rows_delete(app->indexes, call->params[0], call->body, &text, &upkeep, err) &&
           answer_rows(app, call, &text, upkeep);
}

const Option move_body[] = {
    {"bucket",     LH_TEXT, AT(MoveBody, bucket), REQUIRED, "the bucket to move it to"},
    {0},
};

static bool run_move(const JobCall *call, Text *result, Err *err) {
    const MoveBody *body = call->body;
    return index_move(call->app->indexes, call->name, body->bucket, call->job, result, err);
}

bool index_patch(App *app, Call *call, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    const MoveBody *body = call->body;
    return index_is_there(app, call, err) &&
           bucket_find(app->buckets, body->bucket, &bucket, err) &&
           answer_job(app, call, "move", run_move, 200, err);
}

/* A brief search is over before there is an answer to whether the client is gone. */
static void watch_client(App *app, Call *call, Search *search) {
    if (index_search_is_brief(app->indexes, search, 1)) return;
    search->cancelled = client_is_gone;
    search->context = call->request;
}

static bool search_one(App *app, Call *call, Search *search, Err *err) {
    OWNED(text_close) Text text = {0};
    if (request_may_block(call->request)) watch_client(app, call, search);
    if (!index_search(app->indexes, search, &text, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

/* Raw little-endian floats: one vector answers one object, several answer {"results":[...]}. */
static bool search_raw(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    Search search = *(const Search *)call->query;
    Bytes body = call->request->body;
    int64_t dimensions;
    if (search.index.len == 0)
        return err_code(err, LH_INVALID, "missing_parameter", "query parameter 'index' is missing");
    if (!index_dimensions(app->indexes, search.index, &dimensions, err)) return false;
    size_t size = (size_t)dimensions * sizeof(float), count = size ? body.size / size : 0;
    if (count == 0 || body.size % size)
        return err_code(err, LH_IMPOSSIBLE, "wrong_dimension",
                        "the body has %zu bytes, a vector of this index has %zu", body.size, size);
    float *floats = arena_alloc(call->arena, size); /* the body may not be aligned */
    const Json vector = {.kind = JSON_FLOATS, .floats = floats, .len = (size_t)dimensions};
    search.vector = &vector;
    watch_client(app, call, &search);
    if (count > 1) text_add(&text, STR("{\"results\":["));
    for (size_t i = 0; i < count; i++) {
        memcpy(floats, body.data + i * size, size);
        if (i > 0) text_add_byte(&text, ',');
        if (!index_search(app->indexes, &search, &text, err)) return false;
    }
    if (count > 1) text_add(&text, STR("]}"));
    answer_json(call, 200, &text);
    return true;
}

static bool is_brief(App *app, Call *call) {
    const Search *search = call->body ? call->body : call->query;
    int64_t dimensions;
    Err ignored;
    if (call->body) return index_search_is_brief(app->indexes, search, 1);
    return index_dimensions(app->indexes, search->index, &dimensions, &ignored) &&
           index_search_is_brief(app->indexes, search,
                                 call->request->body.size / sizeof(float) / (size_t)dimensions);
}

bool vector_search(App *app, Call *call, Err *err) {
    if (!request_may_block(call->request) && !is_brief(app, call)) {
        response_defer(call->response);
        return true;
    }
    if (!call->body) return search_raw(app, call, err);
    if (call->request->query.len)
        return err_code(err, LH_INVALID, "unknown_parameter",
                        "with a JSON body, options stand in the body");
    return search_one(app, call, call->body, err);
}
