#include "gateway/bodies.h"
#include "gateway/route.h"

#include <stdlib.h>

const Option promote_body[] = {
    {"trial",         LH_INT, AT(PromoteBody, trial), REQUIRED, "number of the trial", .min = 1,
     .max = 1e15},
    {0},
};

bool eval_list(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!index_evals_write(app->indexes, call->params[0], &text, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

bool eval_get(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!index_eval_write(app->indexes, call->params[0], call->params[1], &text, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

bool eval_put(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!index_eval_put(app->indexes, call->params[0], call->params[1], call->body, &text, err))
        return false;
    answer_json(call, 201, &text);
    return true;
}

bool eval_delete(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    if (!index_eval_drop(app->indexes, call->params[0], call->params[1], err)) return false;
    jw_object(&w);
    jw_member_text(&w, "name", call->params[1]);
    jw_member_flag(&w, "deleted", true);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

bool trial_list(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!index_trials_write(app->indexes, call->params[0], &text, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

bool trial_post(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!index_trial(app->indexes, call->params[0], call->body, NULL, &text, err)) return false;
    answer_json(call, 201, &text);
    return true;
}

/* The body outlives the request: the job keeps a copy of it and reads the spec from there. */
typedef struct AutotuneJob {
    Indexes *indexes;
    Arena arena;
    Str index;
    AutotuneSpec spec;
} AutotuneJob;

static void autotune_free(void *context) {
    AutotuneJob *job = context;
    arena_close(&job->arena);
    free(job);
}

static bool autotune_run(Job *job, void *context, Text *result, Err *err) {
    AutotuneJob *autotune = context;
    return index_autotune(autotune->indexes, autotune->index, &autotune->spec, job, result, err);
}

bool autotune_post(App *app, Call *call, Err *err) {
    AutotuneJob *job = calloc(1, sizeof *job);
    const Json *json;
    if (!job) abort();
    job->indexes = app->indexes;
    job->index = arena_copy(&job->arena, call->params[0]);
    Str body = arena_copy(&job->arena, str_of(call->request->body));
    if (!json_read(body, &job->arena, &json, err) ||
        !options_read(autotune_options, json, &job->spec, err)) {
        autotune_free(job);
        return false;
    }
    return answer_job(app, call, "autotune", autotune_run, job, autotune_free, 200, err);
}

bool promotion_list(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!promotions_write(app->indexes, &text, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

bool promotion_get(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!index_promotions_write(app->indexes, call->params[0], &text, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

bool promotion_post(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    const PromoteBody *body = call->body;
    if (!index_promote(app->indexes, call->params[0], body->trial, STR("user"), NULL, &text, err))
        return false;
    answer_json(call, 200, &text);
    return true;
}

bool promotion_rollback(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!index_rollback(app->indexes, call->params[0], NULL, &text, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

static bool answer_status(App *app, Call *call, int status) {
    Text text = {0};
    agent_write(app->agent, &(JsonWriter){.out = &text});
    answer_json(call, status, &text);
    return true;
}

bool agent_status(App *app, Call *call, Err *err) {
    (void)err;
    return answer_status(app, call, 200);
}

bool agent_post_enqueue(App *app, Call *call, Err *err) {
    return agent_enqueue(app->agent, call->params[0], err) && answer_status(app, call, 202);
}

bool agent_post_pause(App *app, Call *call, Err *err) {
    (void)err;
    agent_pause(app->agent, true);
    return answer_status(app, call, 200);
}

bool agent_post_resume(App *app, Call *call, Err *err) {
    (void)err;
    agent_pause(app->agent, false);
    return answer_status(app, call, 200);
}
