/* /vectors/lance/...: indexes that are Lance tables. */
#include "gateway/bodies.h"
#include "gateway/route.h"

#include "lance/lance.h"

#include <stdlib.h>

const Option lance_search_body[] = {
    {"query",                                  LH_TEXT, AT(Search, query), NULL, "words to look for"},
    {"vector",                               LH_JSON, AT(Search, vector), NULL, "a vector of your own instead of words"},
    {"k",                                    LH_INT, AT(Search, k), "10", "hits to return", .min = 1, .max = VECTOR_K_MAX},
    {"nprobes",                                        LH_INT, AT(Search, nprobes), NULL, "groups to look at", .min = 1,
     .max = LANCE_PARTITIONS_MAX},
    {"refine",   LH_INT, AT(Search, refine), NULL, "times k, ranked again exactly", .min = 1,
     .max = 1000},
    {"filter",                                 LH_TEXT, AT(Search, filter), NULL, "SQL predicate over the dataset's columns"},
    {"mode", LH_TEXT, AT(Search, mode), "vector", "rank by meaning, by words (BM25), or by both",
     .choices = "vector|text|hybrid"},
    {"exact",                                      LH_FLAG, AT(Search, exact), "false", "compare with every vector"},
    {"per_document",                               LH_INT, AT(Search, per_document), "1", "chunks of one document to return",
     .min = 1, .max = 1000},
    {"rows",                                    LH_FLAG, AT(Search, rows), "true", "add the dataset's row to each hit"},
    {0                               },
};

static bool gone(void *context) {
    return request_gone(context);
}

bool lance_post_search(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    Search search = *(const Search *)call->body;
    search.index = call->params[0];
    search.cancelled = gone;
    search.context = call->request;
    if (!index_lance_check(app->indexes, search.index, err) ||
        !index_search(app->indexes, &search, &text, err))
        return false;
    answer_json(call, 200, &text);
    return true;
}

bool lance_get_doc(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!index_lance_doc(app->indexes, call->params[0], call->params[1], &text, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

bool lance_get_stats(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!index_lance_stats(app->indexes, call->params[0], &text, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

bool lance_post_append(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    bool upkeep = false;
    if (!index_lance_append(app->indexes, call->params[0], call->body, &text, &upkeep, err))
        return false;
    return answer_rows(app, call, &text, upkeep);
}

/* Jobs, which outlive the request. */

typedef struct LanceJob {
    Indexes *indexes;
    Arena arena;
    Str index;
    LanceIndexSpec spec;
    MigrateSpec migrate;
} LanceJob;

static void job_free(void *context) {
    LanceJob *job = context;
    arena_close(&job->arena);
    free(job);
}

static bool run_index(Job *job, void *context, Text *result, Err *err) {
    LanceJob *lance = context;
    return index_lance_index(lance->indexes, lance->index, &lance->spec, job, result, err);
}

static bool run_migrate(Job *job, void *context, Text *result, Err *err) {
    LanceJob *lance = context;
    return index_migrate(lance->indexes, lance->index, &lance->migrate, job, result, err);
}

static LanceJob *job_make(App *app, const Call *call) {
    LanceJob *job = calloc(1, sizeof *job);
    if (!job) abort();
    job->indexes = app->indexes;
    job->index = arena_copy(&job->arena, call->params[0]);
    return job;
}

bool lance_post_index(App *app, Call *call, Err *err) {
    if (!index_lance_check(app->indexes, call->params[0], err)) return false;
    LanceJob *job = job_make(app, call);
    if (call->body) job->spec = *(const LanceIndexSpec *)call->body;
    return answer_job(app, call, "lance_index", run_index, job, job_free, 200, err);
}

bool lance_post_migrate(App *app, Call *call, Err *err) {
    OWNED(text_close) Text found = {0};
    if (!index_write(app->indexes, call->params[0], &(JsonWriter){.out = &found}, err))
        return false;
    LanceJob *job = job_make(app, call);
    const MigrateSpec *asked = call->query;
    job->migrate = (MigrateSpec){arena_copy(&job->arena, asked->to),
                                 arena_copy(&job->arena, asked->lance_version)};
    return answer_job(app, call, "migrate", run_migrate, job, job_free, 200, err);
}
