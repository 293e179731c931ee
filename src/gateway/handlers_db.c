/* POST /ingest/db and /ingest/mysql: a table or a query of a database into a dataset, as a job. */
#include "gateway/bodies.h"
#include "gateway/route.h"

#include "ingest/source.h"

#include <stdlib.h>
#include <string.h>

const Option db_body[] = {
    {"dsn",                                         LH_TEXT, AT(DbBody, dsn), REQUIRED, "postgresql://user:password@host/database"},
    {"table",                                    LH_TEXT, AT(DbBody, table), NULL, "the table to read: name or schema.name; or"},
    {"query",                                     LH_TEXT, AT(DbBody, query), NULL, "one SELECT to read instead"},
    {"dataset",                                             LH_TEXT, AT(DbBody, dataset), REQUIRED, "dataset to write"},
    {"mode",   LH_TEXT, AT(DbBody, mode), "create", "what to do with what is there",
     .choices = "create|append|replace"},
    {"bucket",                                       LH_TEXT, AT(DbBody, bucket), "primary", "home of a new dataset"},
    {"incremental", LH_JSON, AT(DbBody, incremental), NULL,
     "{\"column\", \"after\"?}: only rows from there on; without after, from where the last run "
     "ended"},
    {"batch_rows",                                       LH_INT, AT(DbBody, batch_rows), "65536", "rows in memory at once", .min = 1024,
     .max = 1 << 24},
    {"parallel",                                    LH_INT, AT(DbBody, parallel), "1", "parts read side by side", .min = 1,
     .max = SOURCE_PARTS_MAX},
    {"schema_drift",                                         LH_TEXT, AT(DbBody, schema_drift), "refuse",
     "when columns differ from the dataset's", .choices = "refuse|widen"},
    {"types",                                             LH_JSON, AT(DbBody, types), NULL, "{column: SQL type}, instead of the mapping"},
    {"type_mapping",LH_TEXT, AT(DbBody, type_mapping), "exact",
     "plain: decimals become doubles, and what is no number text", .choices = "exact|plain"},
    {"mask",                                     LH_JSON, AT(DbBody, mask), NULL, "{column: hash|redact|partial}"},
    {0                          },
};

typedef bool SourceOpen(const SourceRequest *request, Source **out, Err *err);

/* The body outlives the request: the job keeps a copy of it. */
typedef struct DbJob {
    App *app;
    Arena arena;
    DbBody body;
    SourceOpen *open;
    Job *job; /* while it runs */
} DbJob;

static void db_job_free(void *context) {
    DbJob *job = context;
    arena_close(&job->arena);
    free(job);
}

static bool cancelled(void *context) {
    const DbJob *job = context;
    return job_cancelled(job->job);
}

static void progress(void *context, int64_t rows, int64_t estimate) {
    DbJob *job = context;
    job_progress(job->job, rows, estimate, "rows");
}

/* {"column","after"}; what the dataset remembers of the last run when it names no value. */
static bool read_cursor(DbJob *job, SourceRequest *request, Err *err) {
    static const Option options[] = {
        {"column",          LH_TEXT, AT(SourceRequest, cursor), REQUIRED, "a column that only grows"},
        {"after", LH_TEXT, AT(SourceRequest, after), NULL, "the first value wanted"},
        {0        },
    };
    if (!job->body.incremental || job->body.incremental->kind == JSON_NULL) return true;
    if (!options_read(options, job->body.incremental, request, err))
        return err_while(err, "incremental");
    if (request->after.len) return true;
    OWNED(table_release) Table *table = NULL;
    const Json *kept;
    if (!catalog_load(job->app->catalog, job->body.dataset, 0, &table, err))
        return dataset_is_free(err) && (*err = (Err){0}, true);
    Str text = table_property(table, PROPERTY_CURSOR);
    if (text.len == 0) return true;
    if (!json_read(arena_copy(&job->arena, text), &job->arena, &kept, err)) return false;
    if (str_equal(json_get_text(kept, "column", (Str){0}), request->cursor))
        request->after = json_get_text(kept, "last", (Str){0});
    return true;
}

static bool db_job_run(Job *running, void *context, Text *result, Err *err) {
    DbJob *job = context;
    OWNED(source_close) Source *source = NULL;
    const DbBody *body = &job->body;
    const IngestLimits *limits = &job->app->ingest;
    SourceRequest request = {
        .dsn = body->dsn,
        .table = body->table,
        .query = body->query,
        .batch_rows = body->batch_rows,
        .parallel = body->parallel,
        .types = body->types,
        .mapping = str_is(body->type_mapping, "plain") ? MAPPING_PLAIN : MAPPING_EXACT,
        .allow_hosts = limits->allow_hosts,
        .connect_timeout_ms = limits->connect_timeout_ms,
        .idle_timeout_ms = limits->idle_timeout_ms,
    };
    TableIngest what = {
        .dataset = body->dataset,
        .bucket = body->bucket,
        .widen = str_is(body->schema_drift, "widen"),
        .mask = body->mask,
        .cancelled = cancelled,
        .progress = progress,
        .context = job,
    };
    job->job = running;
    if (!ingest_mode(body->mode, &what.mode, err) || !read_cursor(job, &request, err)) return false;
    what.cursor = request.cursor;
    what.after = request.after;
    return job->open(&request, &source, err) &&
           ingest_table(job->app->catalog, job->app->engine, job->app->buckets, source, &what,
                        result, err);
}

/* What is wrong whatever the database says is said before the job begins. */
static bool check_body(const DbBody *body, Err *err) {
    if (!dataset_name_check(body->dataset, err)) return false;
    if ((body->table.len == 0) == (body->query.len == 0))
        return err_code(err, LH_INVALID, "missing_field", "give 'table' or 'query', one of them");
    return true;
}

static bool start(App *app, Call *call, const char *kind, SourceOpen *open, Err *err) {
    if (!check_body(call->body, err)) return false;
    DbJob *job = calloc(1, sizeof *job);
    const Json *json;
    if (!job) abort();
    job->app = app;
    job->open = open;
    Str body = arena_copy(&job->arena, str_of(call->request->body));
    if (!json_read(body, &job->arena, &json, err) ||
        !options_read(db_body, json, &job->body, err)) {
        db_job_free(job);
        return false;
    }
    return answer_job(app, call, kind, db_job_run, job, db_job_free, 201, err);
}

bool ingest_db(App *app, Call *call, Err *err) {
    return start(app, call, "ingest db", source_postgres, err);
}

bool ingest_mysql(App *app, Call *call, Err *err) {
    return start(app, call, "ingest mysql", source_mysql, err);
}
