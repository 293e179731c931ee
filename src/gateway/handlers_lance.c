/* /vectors/lance/...: indexes that are Lance tables. */
#include "gateway/bodies.h"
#include "gateway/route.h"

bool lance_post_search(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    Search search = *(const Search *)call->body;
    search.index = call->params[0];
    search.cancelled = client_is_gone;
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

static bool run_index(const JobCall *call, Text *result, Err *err) {
    return index_lance_index(call->app->indexes, call->name, call->body, call->job, result, err);
}

bool lance_post_index(App *app, Call *call, Err *err) {
    return index_lance_check(app->indexes, call->params[0], err) &&
           answer_job(app, call, "lance_index", run_index, 200, err);
}

const Option migrate_query[] = {
    {"to",             LH_TEXT, AT(MigrateQuery, to), "lance", "the backend it shall have",
     .choices = "lance|parquet"},
    {0},
};

static bool run_migrate(const JobCall *call, Text *result, Err *err) {
    const MigrateQuery *query = call->query;
    return index_migrate(call->app->indexes, call->name, query->to, call->job, result, err);
}

bool lance_post_migrate(App *app, Call *call, Err *err) {
    return index_is_there(app, call, err) &&
           answer_job(app, call, "migrate", run_migrate, 200, err);
}
