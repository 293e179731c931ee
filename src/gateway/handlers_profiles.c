/* Model profiles and the GPU slot: vector/profile.c says it all. */
#include "gateway/route.h"

static bool answer_text(Call *call, int status, Text *text) {
    answer_json(call, status, text);
    return true;
}

bool profile_list(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    return profiles_write(app->profiles, &text, err) && answer_text(call, 200, &text);
}

bool profile_get(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    return profile_write(app->profiles, call->params[0], &text, err) &&
           answer_text(call, 200, &text);
}

bool profile_put_route(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    bool created;
    return profile_put(app->profiles, call->params[0], call->body, &created, &text, err) &&
           answer_text(call, created ? 201 : 200, &text);
}

bool profile_delete(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    if (!profile_drop(app->profiles, call->params[0], err)) return false;
    jw_object(&w);
    jw_member_text(&w, "id", call->params[0]);
    jw_member_flag(&w, "deleted", true);
    jw_end(&w);
    return answer_text(call, 200, &text);
}

bool profile_active(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    return profile_active_write(app->profiles, &text, err) && answer_text(call, 200, &text);
}

bool profile_post_activate(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    return profile_activate(app->profiles, call->params[0], &text, err) &&
           answer_text(call, 200, &text);
}

bool profile_post_deactivate(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    return profile_deactivate(app->profiles, call->params[0], &text, err) &&
           answer_text(call, 200, &text);
}

bool profile_post_search(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    Search search = *(const Search *)call->body;
    search.cancelled = client_is_gone;
    search.context = call->request;
    return profile_search(app->profiles, call->params[0], &search, &text, err) &&
           answer_text(call, 200, &text);
}
