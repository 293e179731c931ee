/* bucket ...: the server's federated buckets, and what went wrong with them. */
#include "cli/commands.h"

#define BUCKET_COLUMNS                                                                             \
    "name,role,backend,location,reachable,latency_ms,objects,conditional_writes,breaker,error"

bool cmd_buckets(Cli *cli, const void *values, Err *err) {
    const Json *list;
    Str raw;
    (void)values;
    if (!session_get(cli, STR("/storage/buckets"), &list, &raw, err)) return false;
    if (!session_prints(cli, raw)) print_list(&cli->arena, list, BUCKET_COLUMNS, stdout);
    return true;
}

static void write_local(const BucketValues *v, JsonWriter *w) {
    jw_member_text(w, "backend", STR("local"));
    jw_member_text(w, "root", v->root);
}

static void member_given(JsonWriter *w, const char *name, Str value) {
    if (value.len) jw_member_text(w, name, value);
}

static void write_s3(const BucketValues *v, JsonWriter *w) {
    jw_member_text(w, "backend", STR("s3"));
    jw_member_text(w, "bucket", v->bucket.len ? v->bucket : v->name);
    jw_member_text(w, "endpoint", v->endpoint);
    member_given(w, "region", v->region);
    member_given(w, "prefix", v->prefix);
    member_given(w, "secret_ref", v->secret_ref);
    jw_member_flag(w, "path_style", !v->virtual_host);
}

bool cmd_bucket_add(Cli *cli, const void *values, Err *err) {
    const BucketValues *v = values;
    OWNED(text_close) Text body = {0};
    JsonWriter w = {.out = &body};
    const Json *bucket;
    Str raw;
    if ((v->root.len == 0) == (v->endpoint.len == 0))
        return err_set(
            err, LH_INVALID,
            "a bucket needs --root DIR, or --endpoint and --secret-ref of an S3 service");
    jw_object(&w);
    jw_member_text(&w, "name", v->name);
    if (v->root.len)
        write_local(v, &w);
    else
        write_s3(v, &w);
    jw_end(&w);
    if (!session_send(cli, "POST", STR("/storage/buckets"), text_str(&body), &bucket, &raw, err))
        return false;
    if (!session_prints(cli, raw)) print_object(&cli->arena, bucket, NULL, stdout);
    return true;
}

bool cmd_bucket_remove(Cli *cli, const void *values, Err *err) {
    const BucketValues *v = values;
    const Json *answer;
    Str path = path_of(cli, "/storage/buckets/", v->name, v->force ? "?force=true" : "");
    return session_send(cli, "DELETE", path, (Str){0}, &answer, NULL, err);
}

bool cmd_bucket_errors(Cli *cli, const void *values, Err *err) {
    const BucketValues *v = values;
    const Json *list;
    Str raw, path = arena_print(&cli->arena, "/storage/errors?limit=%lld", (long long)v->limit);
    query_add(cli, &path, "bucket", v->name);
    query_add(cli, &path, "since", v->since);
    if (!session_get(cli, path, &list, &raw, err)) return false;
    if (!session_prints(cli, raw))
        print_list(&cli->arena, list, "ts,bucket,op,key,rescued,error", stdout);
    return true;
}

bool cmd_bucket_health(Cli *cli, const void *values, Err *err) {
    const BucketValues *v = values;
    const Json *answer;
    Str raw, path = arena_print(&cli->arena, "/storage/bucket-health?minutes=%lld",
                                (long long)v->minutes);
    if (!session_get(cli, path, &answer, &raw, err)) return false;
    if (!session_prints(cli, raw))
        print_list(&cli->arena, json_get(answer, "buckets"),
                   "bucket,status,errors,rescues,last_ts,last_error", stdout);
    return true;
}
