#include "gateway/bodies.h"
#include "gateway/route.h"

const Option dataset_query[] = {
    {"version",        LH_INT, AT(DatasetQuery, version), "0", "an older version; 0 is the newest",
     .max = 1e15},
    {0},
};
const Option drop_query[] = {
    {"purge",       LH_FLAG, AT(DropQuery, purge), "false", "delete its files as well"},
    {0},
};
const Option patch_body[] = {
    {"owner",       LH_TEXT, AT(PatchBody, owner), NULL, "who answers for it"},
    {"description", LH_TEXT, AT(PatchBody, description), NULL, "what it is"},
    {"tags",         LH_JSON, AT(PatchBody, tags), NULL, "a list of texts"},
    {"columns",             LH_JSON, AT(PatchBody, columns), NULL, "{\"column\": \"what it holds\"}"},
    {"pii",      LH_JSON, AT(PatchBody, pii), NULL,
     "{\"column\": \"email\"}, or null where there is none, whatever detection says"},
    {0},
};
const Option rollback_body[] = {
    {"version",        LH_INT, AT(RollbackBody, version), REQUIRED, "version to go back to", .min = 1,
     .max = 1e15},
    {0},
};

const Option delete_body[] = {
    {"where",        LH_TEXT, AT(DeleteBody, where), REQUIRED, "SQL predicate of the rows to remove"},
    {0},
};

bool dataset_list(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!catalog_write_list(app->catalog, &(JsonWriter){.out = &text}, err)) return false;
    answer_json(call, 200, &text);
    return true;
}

static bool answer_dataset(App *app, Call *call, int64_t version, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!catalog_write_dataset(app->catalog, call->params[0], version, &(JsonWriter){.out = &text},
                               err))
        return false;
    answer_json(call, 200, &text);
    return true;
}

bool dataset_get(App *app, Call *call, Err *err) {
    const DatasetQuery *query = call->query;
    return answer_dataset(app, call, query->version, err);
}

static bool check_tags(const Json *tags, Err *err) {
    bool ok = tags->kind == JSON_ARRAY;
    for (size_t i = 0; ok && i < tags->len; i++) ok = tags->items[i].kind == JSON_TEXT;
    return ok || err_code(err, LH_INVALID, "wrong_type", "'tags' must be a list of texts");
}

/* Each member must name a column; its value is a text, or null where `nullable`. */
static bool check_columns(App *app, Str dataset, const char *what, const Json *object,
                          bool nullable, Err *err) {
    OWNED(table_release) Table *table = NULL;
    if (object->kind != JSON_OBJECT)
        return err_code(err, LH_INVALID, "wrong_type", "'%s' must be an object", what);
    if (!catalog_load(app->catalog, dataset, 0, &table, err)) return false;
    for (size_t i = 0; i < object->len; i++) {
        const Json *member = &object->items[i];
        if (!schema_find(table_schema(table), member->name))
            return err_code(err, LH_IMPOSSIBLE, "unknown_column", "'%s': no column '%.*s'", what,
                            (int)MIN(member->name.len, 80), member->name.data);
        if (member->kind != JSON_TEXT && !(nullable && member->kind == JSON_NULL))
            return err_code(err, LH_INVALID, "wrong_type", "'%s': '%.*s' must be a text", what,
                            SHOW(member->name));
    }
    return true;
}

/* {"email": "email", "id": null} as verdicts: {"email":{"kind":"email","confidence":1},"id":null}
 */
static Str pii_verdicts(const Json *pii, Arena *arena) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    jw_object(&w);
    for (size_t i = 0; i < pii->len; i++) {
        jw_name_str(&w, pii->items[i].name);
        if (pii->items[i].kind == JSON_NULL) {
            jw_null(&w);
            continue;
        }
        jw_object(&w);
        jw_member_text(&w, "kind", pii->items[i].text);
        jw_member_int(&w, "confidence", 1);
        jw_end(&w);
    }
    jw_end(&w);
    return arena_copy(arena, text_str(&text));
}

static Str json_copy(const Json *json, Arena *arena) {
    OWNED(text_close) Text text = {0};
    jw_json(&(JsonWriter){.out = &text}, json);
    return arena_copy(arena, text_str(&text));
}

bool dataset_patch(App *app, Call *call, Err *err) {
    const PatchBody *body = call->body;
    Str name = call->params[0];
    Property set[5];
    size_t count = 0;
    if (json_get(call->json, "owner")) set[count++] = (Property){STR(PROPERTY_OWNER), body->owner};
    if (json_get(call->json, "description"))
        set[count++] = (Property){STR(PROPERTY_DESCRIPTION), body->description};
    if (body->tags) {
        if (!check_tags(body->tags, err)) return false;
        set[count++] = (Property){STR(PROPERTY_TAGS), json_copy(body->tags, call->arena)};
    }
    if (body->columns) {
        if (!check_columns(app, name, "columns", body->columns, false, err)) return false;
        set[count++] = (Property){STR(PROPERTY_COLUMN_DOCS), json_copy(body->columns, call->arena)};
    }
    if (body->pii) {
        if (!check_columns(app, name, "pii", body->pii, true, err)) return false;
        set[count++] = (Property){STR(PROPERTY_PII_SET), pii_verdicts(body->pii, call->arena)};
    }
    if (count == 0)
        return err_code(err, LH_INVALID, "missing_field", "nothing to change was given");
    return catalog_patch(app->catalog, name, set, count, err) && answer_dataset(app, call, 0, err);
}

/* An index without its dataset would go stale for ever, so that indexes go first. */
bool dataset_delete(App *app, Call *call, Err *err) {
    const DropQuery *query = call->query;
    OWNED(table_release) Table *table = NULL;
    Text text = {0};
    JsonWriter w = {.out = &text};
    Str *names;
    size_t count;
    if (!catalog_load(app->catalog, call->params[0], 0, &table, err)) return false;
    indexes_of_dataset(app->indexes, call->params[0], call->arena, &names, &count);
    if (count > 0)
        return err_code(err, LH_CONFLICT, "dataset_in_use",
                        "dataset '%.*s' feeds index '%.*s': delete that first",
                        SHOW(call->params[0]), SHOW(names[0]));
    if (!catalog_drop(app->catalog, call->params[0], query->purge, err)) return false;
    jw_object(&w);
    jw_member_text(&w, "dataset", call->params[0]);
    jw_member_flag(&w, "purged", query->purge);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

bool dataset_rollback(App *app, Call *call, Err *err) {
    const RollbackBody *body = call->body;
    Text text = {0};
    JsonWriter w = {.out = &text};
    int64_t version;
    if (!catalog_rollback(app->catalog, call->params[0], body->version, &version, err))
        return false;
    jw_object(&w);
    jw_member_text(&w, "dataset", call->params[0]);
    jw_member_int(&w, "version", version);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

bool rows_delete(App *app, Call *call, Err *err) {
    const DeleteBody *body = call->body;
    Rewriting what = {.dataset = call->params[0],
                      .where = body->where,
                      .cancelled = client_is_gone,
                      .context = call->request};
    Rewritten done;
    Text text = {0};
    JsonWriter w = {.out = &text};
    if (str_trim(body->where).len == 0)
        return err_code(err, LH_INVALID, "missing_field", "'where' is empty");
    if (!ingest_rewrite(app->catalog, app->engine, app->buckets, &what, &done, err)) return false;
    jw_object(&w);
    jw_member_int(&w, "version", done.version);
    jw_member_int(&w, "rows_removed", done.rows_removed);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

static bool run_compact(const JobCall *call, Text *result, Err *err) {
    App *app = call->app;
    Rewriting what = {.dataset = call->name, .cancelled = job_is_cancelled, .context = call->job};
    Rewritten done;
    JsonWriter w = {.out = result};
    if (!ingest_rewrite(app->catalog, app->engine, app->buckets, &what, &done, err)) return false;
    job_progress(call->job, done.rows, done.rows, "rows");
    jw_object(&w);
    jw_member_text(&w, "dataset", call->name);
    jw_member_int(&w, "version", done.version);
    jw_member_int(&w, "rows", done.rows);
    jw_end(&w);
    return true;
}

bool dataset_compact(App *app, Call *call, Err *err) {
    OWNED(table_release) Table *table = NULL;
    return catalog_load(app->catalog, call->params[0], 0, &table, err) &&
           answer_job(app, call, "compact", run_compact, 200, err);
}

bool dataset_lineage(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    Str *indexes;
    size_t all, count = 0;
    indexes_of_dataset(app->indexes, call->params[0], call->arena, &indexes, &all);
    for (size_t i = 0; i < all; i++)
        if (index_is_known(app->indexes, indexes[i])) indexes[count++] = indexes[i];
    if (!catalog_write_lineage(app->catalog, call->params[0], indexes, count,
                               &(JsonWriter){.out = &text}, err))
        return false;
    answer_json(call, 200, &text);
    return true;
}
