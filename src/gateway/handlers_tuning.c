#include "gateway/bodies.h"
#include "gateway/route.h"

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

static bool run_autotune(const JobCall *call, Text *result, Err *err) {
    return index_autotune(call->app->indexes, call->name, call->body, call->job, result, err);
}

bool autotune_post(App *app, Call *call, Err *err) {
    return answer_job(app, call, "autotune", run_autotune, 200, err);
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
