/* The whole API on one screen. */
#include "gateway/route.h"

#include "gateway/bodies.h"

#define QUERY(table, Type) .query = table, .query_size = sizeof(Type)
#define BODY(table, Type) .body = table, .body_size = sizeof(Type)

/* clang-format off */
const Route routes[] = {
    {HTTP_GET,    "/",              home,    "this page",                             ROUTE_QUICK, NEEDS_NO_KEY},
    {HTTP_GET,    "/health",        health,  "the process lives",                     ROUTE_QUICK, NEEDS_NO_KEY},
    {HTTP_GET,    "/ready",         ready,   "whether each part can serve",           ROUTE_POOL, NEEDS_NO_KEY},
    {HTTP_GET,    "/metrics",       metrics, "counters in Prometheus' text format",   ROUTE_POOL, NEEDS_READ_ALL},
    {HTTP_GET,    "/openapi.json",  openapi, "this API as an OpenAPI 3.1 document",   ROUTE_POOL, NEEDS_NO_KEY},

    {HTTP_GET,    "/jobs",             job_list,   "jobs, newest first",              ROUTE_POOL, NEEDS_READ_ALL},
    {HTTP_GET,    "/jobs/{id}",        job_get,    "one job and its progress",        ROUTE_POOL, NEEDS_READ},
    {HTTP_GET,    "/jobs/{id}/events", job_events, "the same as server-sent events",  ROUTE_POOL, NEEDS_READ},
    {HTTP_DELETE, "/jobs/{id}",        job_delete, "cancel a job",                    ROUTE_POOL, NEEDS_WRITE},

    {HTTP_GET,    "/storage/health",         storage_health, "the storage service lives", ROUTE_QUICK, NEEDS_NO_KEY},
    {HTTP_GET,    "/storage/buckets",        bucket_list,    "buckets, and whether they answer", ROUTE_POOL, NEEDS_READ_ALL},
    {HTTP_POST,   "/storage/buckets",        bucket_create,  "add a bucket to a running server", ROUTE_POOL, NEEDS_ADMIN, BODY(bucket_body, BucketOptions)},
    {HTTP_DELETE, "/storage/buckets/{bucket}", bucket_delete, "unregister a bucket; its data stays", ROUTE_POOL, NEEDS_ADMIN, QUERY(force_query, ForceQuery)},
    {HTTP_GET,    "/storage/errors",         error_list,     "failed and rescued operations, newest first", ROUTE_POOL, NEEDS_READ_ALL, QUERY(error_query, ErrorQuery)},
    {HTTP_POST,   "/storage/errors/flush",   error_flush,    "make every event durable", ROUTE_POOL, NEEDS_ADMIN},
    {HTTP_POST,   "/storage/errors/compact", error_compact,  "merge the journal's files", ROUTE_POOL, NEEDS_ADMIN},
    {HTTP_GET,    "/storage/bucket-health",  bucket_health,  "errors of the last minutes by bucket", ROUTE_POOL, NEEDS_READ_ALL, QUERY(health_query, HealthQuery)},
    {HTTP_GET,    "/storage/buckets/{bucket}/objects",        object_list,   "objects in key order", ROUTE_POOL, NEEDS_READ_ALL, QUERY(list_query, ListQuery)},
    {HTTP_PUT,    "/storage/buckets/{bucket}/objects/{*key}", object_put,    "write an object", ROUTE_STREAM, NEEDS_WRITE_ALL},
    {HTTP_GET,    "/storage/buckets/{bucket}/objects/{*key}", object_get,    "read an object", ROUTE_READ, NEEDS_READ_ALL, QUERY(rescue_query, RescueQuery)},
    {HTTP_DELETE, "/storage/buckets/{bucket}/objects/{*key}", object_delete, "delete an object", ROUTE_POOL, NEEDS_WRITE_ALL},

    {HTTP_GET,    "/catalog/datasets",        dataset_list,   "datasets", ROUTE_POOL, NEEDS_READ},
    {HTTP_GET,    "/catalog/datasets/{name}", dataset_get,    "one dataset: schema, lineage, history", ROUTE_POOL, NEEDS_READ, QUERY(dataset_query, DatasetQuery)},
    {HTTP_PATCH,  "/catalog/datasets/{name}", dataset_patch,  "owner, description, tags, column notes, PII by hand", ROUTE_POOL, NEEDS_WRITE, BODY(patch_body, PatchBody)},
    {HTTP_DELETE, "/catalog/datasets/{name}", dataset_delete, "drop a dataset", ROUTE_POOL, NEEDS_WRITE, QUERY(drop_query, DropQuery)},
    {HTTP_POST,   "/catalog/datasets/{name}/rollback", dataset_rollback, "a new version equal to an old one", ROUTE_POOL, NEEDS_WRITE, BODY(rollback_body, RollbackBody)},
    {HTTP_POST,   "/catalog/datasets/{name}/delete",   rows_delete, "a new version without the rows that match", ROUTE_POOL, NEEDS_WRITE, BODY(delete_body, DeleteBody)},
    {HTTP_POST,   "/catalog/datasets/{name}/compact",  dataset_compact, "a new version in one file", ROUTE_POOL, NEEDS_WRITE, .job = true},
    {HTTP_GET,    "/catalog/lineage/{name}",  dataset_lineage, "sources and what is made of it", ROUTE_POOL, NEEDS_READ},

    {HTTP_POST,   "/query",       query_run,   "SQL over datasets, and over vectors with vector_search()", ROUTE_POOL, NEEDS_READ, BODY(query_body, QueryBody)},
    {HTTP_POST,   "/ingest/file", ingest_body, "a file into a dataset", ROUTE_STREAM, NEEDS_WRITE, QUERY(ingest_query, IngestQuery)},

    {HTTP_POST,   "/ingest/db",    ingest_db,    "a PostgreSQL table or query into a dataset", ROUTE_POOL, NEEDS_WRITE, BODY(db_body, DbBody), .job = true},
    {HTTP_POST,   "/ingest/mysql", ingest_mysql, "a MySQL or MariaDB table or query into a dataset", ROUTE_POOL, NEEDS_WRITE, BODY(db_body, DbBody), .job = true},

    {HTTP_POST,   "/ai/embed",      ai_embed,      "texts into vectors", ROUTE_POOL, NEEDS_READ, BODY(embed_body, EmbedBody)},
    {HTTP_POST,   "/ai/generate",   ai_generate_post, "text from a generator", ROUTE_POOL, NEEDS_READ, BODY(generate_body, GenerateBody)},
    {HTTP_POST,   "/v1/embeddings", openai_embed,  "the same in OpenAI's shape", ROUTE_POOL, NEEDS_READ, BODY(openai_embed_body, OpenaiEmbedBody)},
    {HTTP_POST,   "/v1/chat/completions", openai_chat, "a chat in OpenAI's shape", ROUTE_POOL, NEEDS_READ, BODY(chat_body, GenerateBody)},
    {HTTP_GET,    "/v1/models",     openai_models, "models in OpenAI's shape", ROUTE_POOL, NEEDS_READ},
    {HTTP_POST,   "/admin/unload",  admin_unload,  "a model out of the GPU's memory, at once", ROUTE_POOL, NEEDS_ADMIN, BODY(model_body, ModelBody)},
    {HTTP_POST,   "/admin/preload", admin_preload, "a model into it, before it is asked", ROUTE_POOL, NEEDS_ADMIN, BODY(model_body, ModelBody)},
    {HTTP_GET,    "/admin/vram",    admin_vram,    "the GPUs' memory and the models in it", ROUTE_POOL, NEEDS_READ_ALL},

    {HTTP_POST,   "/vectors/indexes",         index_post,    "build an index over a dataset", ROUTE_POOL, NEEDS_WRITE, BODY(index_options, IndexSpec), .job = true},
    {HTTP_GET,    "/vectors/indexes",         index_list,    "indexes", ROUTE_POOL, NEEDS_READ},
    {HTTP_GET,    "/vectors/indexes/{index}", index_get,     "one index", ROUTE_POOL, NEEDS_READ},
    {HTTP_DELETE, "/vectors/indexes/{index}", index_delete,  "delete an index", ROUTE_POOL, NEEDS_WRITE},
    {HTTP_PATCH,  "/vectors/indexes/{index}", index_patch,   "move an index to another bucket", ROUTE_POOL, NEEDS_ADMIN, BODY(move_body, MoveBody), .job = true},
    {HTTP_POST,   "/vectors/indexes/{index}/refresh", index_post_refresh, "bring an index to its dataset's version", ROUTE_POOL, NEEDS_WRITE, .job = true},
    {HTTP_PUT,    "/vectors/indexes/{index}/rows", index_put_rows, "put rows into an index, each in place of what its document has", ROUTE_POOL, NEEDS_WRITE, BODY(rows_put_options, RowsSpec)},
    {HTTP_DELETE, "/vectors/indexes/{index}/rows", index_delete_rows, "delete documents from an index", ROUTE_POOL, NEEDS_WRITE, BODY(rows_delete_options, RowsSpec)},
    {HTTP_POST,   "/vectors/indexes/{index}/compact", index_post_compact, "build an index anew with what was put and deleted since", ROUTE_POOL, NEEDS_WRITE, .job = true},
    {HTTP_GET,    "/vectors/evals/{index}",        eval_list,   "eval sets of an index", ROUTE_POOL, NEEDS_READ},
    {HTTP_GET,    "/vectors/evals/{index}/{name}", eval_get,    "an eval set: queries and exact answers", ROUTE_POOL, NEEDS_READ},
    {HTTP_PUT,    "/vectors/evals/{index}/{name}", eval_put,    "make an eval set of queries, or of a sample of the index's rows", ROUTE_POOL, NEEDS_WRITE, BODY(eval_options, EvalSpec)},
    {HTTP_DELETE, "/vectors/evals/{index}/{name}", eval_delete, "delete an eval set", ROUTE_POOL, NEEDS_WRITE},
    {HTTP_GET,    "/vectors/trials/{index}",       trial_list,  "trials of an index, in order", ROUTE_POOL, NEEDS_READ},
    {HTTP_POST,   "/vectors/trials/{index}",       trial_post,  "measure a configuration against an eval set", ROUTE_POOL, NEEDS_WRITE, BODY(trial_options, TrialSpec)},
    {HTTP_POST,   "/vectors/autotune/{index}",     autotune_post, "measure every combination of a grid", ROUTE_POOL, NEEDS_WRITE, BODY(autotune_options, AutotuneSpec), .job = true},
    {HTTP_GET,    "/vectors/promotions",           promotion_list, "the champion of each index", ROUTE_POOL, NEEDS_READ},
    {HTTP_GET,    "/vectors/promotions/{index}",   promotion_get,  "an index's champion, and those before it", ROUTE_POOL, NEEDS_READ},
    {HTTP_POST,   "/vectors/promotions/{index}",   promotion_post, "make a trial's configuration the champion", ROUTE_POOL, NEEDS_WRITE, BODY(promote_body, PromoteBody)},
    {HTTP_POST,   "/vectors/promotions/{index}/rollback", promotion_rollback, "go back to the champion before", ROUTE_POOL, NEEDS_WRITE},
    {HTTP_GET,    "/vectors/agent/status",          agent_status,       "what the agent does, did, and why", ROUTE_POOL, NEEDS_READ_ALL},
    {HTTP_POST,   "/vectors/agent/enqueue/{index}", agent_post_enqueue, "let the agent tune an index next", ROUTE_POOL, NEEDS_WRITE_ALL},
    {HTTP_POST,   "/vectors/agent/pause",           agent_post_pause,   "stop the agent, and the trial that it runs", ROUTE_POOL, NEEDS_ADMIN},
    {HTTP_POST,   "/vectors/agent/resume",          agent_post_resume,  "let it go on", ROUTE_POOL, NEEDS_ADMIN},
    {HTTP_GET,    "/vectors/profile",        profile_list,   "model profiles", ROUTE_POOL, NEEDS_READ_ALL},
    {HTTP_GET,    "/vectors/profile/active", profile_active, "who holds the GPU slot", ROUTE_POOL, NEEDS_READ_ALL},
    {HTTP_GET,    "/vectors/profile/{id}",   profile_get,    "one profile", ROUTE_POOL, NEEDS_READ},
    {HTTP_PUT,    "/vectors/profile/{id}",   profile_put_route, "make or change a profile", ROUTE_POOL, NEEDS_ADMIN, BODY(profile_options, ProfileSpec)},
    {HTTP_DELETE, "/vectors/profile/{id}",   profile_delete, "delete a profile; its bucket stays", ROUTE_POOL, NEEDS_ADMIN},
    {HTTP_POST,   "/vectors/profile/{id}/activate",   profile_post_activate,   "give it the GPU slot", ROUTE_POOL, NEEDS_WRITE},
    {HTTP_POST,   "/vectors/profile/{id}/deactivate", profile_post_deactivate, "empty the slot, if it holds it", ROUTE_POOL, NEEDS_WRITE},
    {HTTP_POST,   "/vectors/profile/{id}/search",     profile_post_search,     "as /vectors/search, within its scope", ROUTE_POOL, NEEDS_READ, BODY(search_options, Search)},
    {HTTP_POST,   "/vectors/lance/search/{index}",  lance_post_search,  "search an index that is a Lance table", ROUTE_POOL, NEEDS_READ, BODY(search_lance_options, Search)},
    {HTTP_GET,    "/vectors/lance/doc/{index}/{doc_id}", lance_get_doc, "a document's chunks, texts and vectors, by its id", ROUTE_POOL, NEEDS_READ},
    {HTTP_GET,    "/vectors/lance/stats/{index}",   lance_get_stats,    "rows, fragments and indexes of the table", ROUTE_POOL, NEEDS_READ},
    {HTTP_POST,   "/vectors/lance/append/{index}",  lance_post_append,  "append rows; nothing is rewritten, they are found at once", ROUTE_POOL, NEEDS_WRITE, BODY(rows_put_options, RowsSpec)},
    {HTTP_POST,   "/vectors/lance/index/{index}",   lance_post_index,   "build IVF_PQ and the btree anew", ROUTE_POOL, NEEDS_WRITE, BODY(lance_index_options, LanceIndexSpec), .job = true},
    {HTTP_POST,   "/vectors/lance/migrate/{index}", lance_post_migrate, "make an index a Lance table, or with to=parquet back again", ROUTE_POOL, NEEDS_WRITE, QUERY(migrate_options, MigrateSpec), .job = true},
    {HTTP_POST,   "/vectors/search",          vector_search, "the nearest documents to words or a vector", ROUTE_BRIEF, NEEDS_READ, BODY(search_options, Search), QUERY(search_raw_options, Search)},
    {0},
};
/* clang-format on */
const size_t route_count = sizeof routes / sizeof *routes - 1;

static bool segment_matches(Str pattern, Str segment, Str params[], size_t *count) {
    if (!str_starts(pattern, STR("{"))) return str_equal(pattern, segment);
    params[(*count)++] = segment;
    return segment.len > 0;
}

/* Most routes differ from a path in their first bytes, so that taking them apart would be waste. */
static bool begins_alike(const char *pattern, Str path) {
    size_t i = 0;
    while (i < path.len && pattern[i] && pattern[i] != '{' && pattern[i] == path.data[i]) i++;
    return pattern[i] == '{' || (pattern[i] == 0 && i == path.len);
}

static bool path_matches(const char *text, Str path, Str params[ROUTE_PARAMS_MAX]) {
    if (!begins_alike(text, path)) return false;
    Str pattern = str_slice(str_from(text), 1, SIZE_MAX);
    size_t count = 0;
    bool more = true;
    path = str_slice(path, 1, path.len);
    while (more) {
        size_t slash;
        bool pattern_more = str_find(pattern, STR("/"), &slash);
        Str part = str_until(&pattern, '/');
        if (str_starts(part, STR("{*"))) {
            params[count] = path;
            return path.len > 0;
        }
        more = str_find(path, STR("/"), &slash);
        if (more != pattern_more || !segment_matches(part, str_until(&path, '/'), params, &count))
            return false;
    }
    return true;
}

const Route *route_find(HttpMethod method, Str path, Str params[ROUTE_PARAMS_MAX],
                        unsigned *allowed) {
    HttpMethod wanted = method == HTTP_HEAD ? HTTP_GET : method;
    *allowed = 0;
    for (const Route *route = routes; route->pattern; route++) {
        if (!path_matches(route->pattern, path, params)) continue;
        if (route->method == wanted) return route;
        *allowed |= 1u << route->method;
    }
    return NULL;
}
