#include "gateway/bodies.h"
#include "gateway/route.h"

const Option bucket_body[] = {
    {"name",            LH_TEXT, AT(BucketOptions, name), REQUIRED, "name of the bucket"},
    {"backend", LH_TEXT, AT(BucketOptions, backend), REQUIRED, "kind of bucket",
     .choices = "local|s3"},
    {"root",         LH_TEXT, AT(BucketOptions, root), NULL, "folder of a local bucket"},
    {"bucket",                 LH_TEXT, AT(BucketOptions, bucket), NULL, "S3: its name there"},
    {"endpoint",          LH_TEXT, AT(BucketOptions, endpoint), NULL, "S3: https://host[:port]"},
    {"region",         LH_TEXT, AT(BucketOptions, region), "us-east-1", "S3: its region"},
    {"prefix", LH_TEXT, AT(BucketOptions, prefix), NULL, "S3: keys begin with it and a '/'"},
    {"path_style",                 LH_FLAG, AT(BucketOptions, path_style), "true",
     "S3: the bucket stands in the path; else it is the first part of the host"},
    {"secret_ref",  LH_TEXT, AT(BucketOptions, secret_ref), NULL,
     "S3: NAME of [secrets.NAME] in the configuration, or env:PREFIX"},
    {0           },
};
const Option force_query[] = {
    {"force",        LH_FLAG, AT(ForceQuery, force), "false", "also when something lives in it"},
    {0},
};
const Option error_query[] = {
    {"bucket",       LH_TEXT, AT(ErrorQuery, bucket), NULL, "only this bucket's"},
    {"since", LH_TEXT, AT(ErrorQuery, since), NULL, "only events after this RFC 3339 time"},
    {"limit",          LH_INT, AT(ErrorQuery, limit), "50", "events to answer", .min = 1,
     .max = ERRORS_KEPT_MAX},
    {0             },
};
const Option health_query[] = {
    {"minutes",       LH_INT, AT(HealthQuery, minutes), "5", "how far to look back", .min = 1,
     .max = 10080},
    {0},
};

bool storage_health(App *app, Call *call, Err *err) {
    (void)app, (void)err;
    response_body(call->response, "application/json", STR("{\"status\":\"ok\"}"));
    return true;
}

bool bucket_list(App *app, Call *call, Err *err) {
    Text text = {0};
    (void)err;
    buckets_write(app->buckets, &(JsonWriter){.out = &text});
    answer_json(call, 200, &text);
    return true;
}

bool bucket_create(App *app, Call *call, Err *err) {
    const BucketOptions *options = call->body;
    OWNED(text_close) Text text = {0};
    if (str_is(options->backend, "local") && str_trim(options->root).len == 0)
        return err_code(err, LH_INVALID, "missing_field",
                        "'root' is missing: a local bucket needs a folder");
    if (!bucket_add(app->buckets, options, err)) return false;
    if (!bucket_write(app->buckets, options->name, &(JsonWriter){.out = &text}, err)) return false;
    answer_json(call, 201, &text);
    return true;
}

bool bucket_delete(App *app, Call *call, Err *err) {
    const ForceQuery *query = call->query;
    Str name = call->params[0];
    Text text = {0};
    JsonWriter w = {.out = &text};
    if (!query->force && (!catalog_bucket_in_use(app->catalog, name, err) ||
                          !indexes_bucket_in_use(app->indexes, name, err)))
        return false;
    if (!bucket_remove(app->buckets, name, err)) return false;
    jw_object(&w);
    jw_member_text(&w, "name", name);
    jw_member_flag(&w, "removed", true);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

bool error_list(App *app, Call *call, Err *err) {
    const ErrorQuery *query = call->query;
    OWNED(text_close) Text text = {0};
    int64_t since_ms = 0;
    if (query->since.len && !clock_read(query->since, &since_ms))
        return err_code(err, LH_INVALID, "wrong_type", "'since' must be a time in RFC 3339");
    if (!errors_write(buckets_errors(app->buckets), query->bucket, since_ms, (size_t)query->limit,
                      &(JsonWriter){.out = &text}, err))
        return false;
    answer_json(call, 200, &text);
    return true;
}

bool error_flush(App *app, Call *call, Err *err) {
    if (!errors_flush(buckets_errors(app->buckets), err)) return false;
    response_body(call->response, "application/json", STR("{\"flushed\":true}"));
    return true;
}

bool error_compact(App *app, Call *call, Err *err) {
    OWNED(text_close) Text text = {0};
    if (!errors_compact(buckets_errors(app->buckets), &(JsonWriter){.out = &text}, err))
        return false;
    answer_json(call, 200, &text);
    return true;
}

bool bucket_health(App *app, Call *call, Err *err) {
    const HealthQuery *query = call->query;
    OWNED(text_close) Text text = {0};
    if (!buckets_health(app->buckets, query->minutes, &(JsonWriter){.out = &text}, err))
        return false;
    answer_json(call, 200, &text);
    return true;
}
