#include "gateway/bodies.h"
#include "gateway/route.h"

#include <stdlib.h>
#include <string.h>

/* For a body of raw floats, the options stand in the query string. */
const Option search_query[] = {
    {"index",              LH_TEXT, AT(Search, index), NULL, "index to search, for a body of raw floats"},
    {"k",           LH_INT, AT(Search, k), "10", "hits to return", .min = 1, .max = VECTOR_K_MAX},
    {"ef",                LH_INT, AT(Search, ef), NULL, "width of the walk", .min = 1, .max = VECTOR_EF_MAX},
    {"filter",                    LH_TEXT, AT(Search, filter), NULL, "SQL predicate over the dataset's columns"},
    {"exact",    LH_FLAG, AT(Search, exact), "false", "compare with every vector"},
    {"per_document",                  LH_INT, AT(Search, per_document), "1", "chunks of one document to return",
     .min = 1, .max = 1000},
    {"rows",    LH_FLAG, AT(Search, rows), "false", "add the dataset's row to each hit"},
    {0},
};

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

/* The body outlives the request: the job keeps a copy of it and reads the spec from there. */
typedef struct IndexJob {
    Indexes *indexes;
    Arena arena;
    IndexSpec spec;
} IndexJob;

static void index_job_free(void *context) {
    IndexJob *job = context;
    arena_close(&job->arena);
    free(job);
}

static bool index_job_run(Job *job, void *context, Text *result, Err *err) {
    IndexJob *index = context;
    return index_create(index->indexes, &index->spec, job, result, err);
}

bool index_post(App *app, Call *call, Err *err) {
    if (!index_check(app->indexes, call->body, err)) return false;
    IndexJob *job = calloc(1, sizeof *job);
    const Json *json;
    if (!job) abort();
    job->indexes = app->indexes;
    Str body = arena_copy(&job->arena, str_of(call->request->body));
    if (!json_read(body, &job->arena, &json, err) ||
        !options_read(index_options, json, &job->spec, err)) {
        index_job_free(job);
        return false;
    }
    return answer_job(app, call, "index", index_job_run, job, index_job_free, 201, err);
}

typedef struct RefreshJob {
    Indexes *indexes;
    Arena arena;
    Str index;
} RefreshJob;

static void refresh_free(void *context) {
    RefreshJob *refresh = context;
    arena_close(&refresh->arena);
    free(refresh);
}

static bool refresh_run(Job *job, void *context, Text *result, Err *err) {
    RefreshJob *refresh = context;
    return index_refresh(refresh->indexes, refresh->index, job, result, err);
}

bool index_post_refresh(App *app, Call *call, Err *err) {
    OWNED(text_close) Text found = {0};
    if (!index_write(app->indexes, call->params[0], &(JsonWriter){.out = &found}, err))
        return false;
    RefreshJob *refresh = calloc(1, sizeof *refresh);
    if (!refresh) abort();
    refresh->indexes = app->indexes;
    refresh->index = arena_copy(&refresh->arena, call->params[0]);
    return answer_job(app, call, "refresh", refresh_run, refresh, refresh_free, 200, err);
}

const Option move_body[] = {
    {"bucket",     LH_TEXT, AT(MoveBody, bucket), REQUIRED, "the bucket to move it to"},
    {0},
};

typedef struct MoveJob {
    Indexes *indexes;
    Arena arena;
    Str index, bucket;
} MoveJob;

static void move_free(void *context) {
    MoveJob *move = context;
    arena_close(&move->arena);
    free(move);
}

static bool move_run(Job *job, void *context, Text *result, Err *err) {
    MoveJob *move = context;
    return index_move(move->indexes, move->index, move->bucket, job, result, err);
}

/* What is not there is said at once. */
bool index_patch(App *app, Call *call, Err *err) {
    OWNED(text_close) Text found = {0};
    OWNED(bucket_release) Bucket *bucket = NULL;
    const MoveBody *body = call->body;
    if (!index_write(app->indexes, call->params[0], &(JsonWriter){.out = &found}, err) ||
        !bucket_find(app->buckets, body->bucket, &bucket, err))
        return false;
    MoveJob *move = calloc(1, sizeof *move);
    if (!move) abort();
    move->indexes = app->indexes;
    move->index = arena_copy(&move->arena, call->params[0]);
    move->bucket = arena_copy(&move->arena, body->bucket);
    return answer_job(app, call, "move", move_run, move, move_free, 200, err);
}

static bool gone(void *context) {
    return request_gone(context);
}

static bool search_one(App *app, Call *call, Search *search, Err *err) {
    OWNED(text_close) Text text = {0};
    search->cancelled = gone;
    search->context = call->request;
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
    float *floats = arena_alloc(call->arena, body.size); /* the body may not be aligned */
    memcpy(floats, body.data, body.size);
    search.float_count = (size_t)dimensions;
    search.floats = floats;
    if (count == 1) return search_one(app, call, &search, err);
    text_add(&text, STR("{\"results\":["));
    for (size_t i = 0; i < count; i++) {
        search.floats = floats + i * (size_t)dimensions;
        if (i > 0) text_add_byte(&text, ',');
        if (!index_search(app->indexes, &search, &text, err)) return false;
    }
    text_add(&text, STR("]}"));
    answer_json(call, 200, &text);
    return true;
}

bool vector_search(App *app, Call *call, Err *err) {
    if (!call->body) return search_raw(app, call, err);
    if (call->request->query.len)
        return err_code(err, LH_INVALID, "unknown_parameter",
                        "with a JSON body, options stand in the body");
    return search_one(app, call, call->body, err);
}
