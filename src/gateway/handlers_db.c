/* POST /ingest/db and /ingest/mysql: a table or a query of a database into a dataset, as a job. */
#include "gateway/bodies.h"
#include "gateway/route.h"

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
     .max = DATABASE_PARTS_MAX},
    {"chunk_rows",                                         LH_INT, AT(DbBody, chunk_rows), "1000000",
     "of an incremental run: rows a commit, so that the next one goes on there", .min = 1,
     .max = 1 << 30},
    {"schema_drift",                                             LH_TEXT, AT(DbBody, schema_drift), "refuse",
     "when columns differ from the dataset's", .choices = "refuse|widen"},
    {"types",LH_JSON, AT(DbBody, types), NULL, "{column: SQL type}, instead of the mapping"},
    {"type_mapping",                                     LH_TEXT, AT(DbBody, type_mapping), "exact",
     "plain: decimals become doubles, and what is no number text", .choices = "exact|plain"},
    {"mask",                           LH_JSON, AT(DbBody, mask), NULL, "{column: hash|redact|partial}"},
    {0                                       },
};

/* The body outlives the request: the job keeps a copy of it. */
typedef struct DbJob {
    App *app;
    Arena arena;
    DbBody body;
    DatabaseKind kind;
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

static bool db_job_run(Job *running, void *context, Text *result, Err *err) {
    DbJob *job = context;
    App *app = job->app;
    const DbBody *body = &job->body;
    const DatabaseIngest what = {
        .dsn = body->dsn,
        .table = body->table,
        .query = body->query,
        .dataset = body->dataset,
        .bucket = body->bucket,
        .mode = body->mode,
        .widen = str_is(body->schema_drift, "widen"),
        .plain = str_is(body->type_mapping, "plain"),
        .incremental = body->incremental,
        .types = body->types,
        .mask = body->mask,
        .batch_rows = body->batch_rows,
        .parallel = body->parallel,
        .chunk_rows = body->chunk_rows,
        .limits = app->ingest,
        .cancelled = cancelled,
        .progress = progress,
        .context = job,
    };
    job->job = running;
    return ingest_database(app->catalog, app->engine, app->buckets, job->kind, &what, result, err);
}

/* What is wrong whatever the database says is said before the job begins. */
static bool check_body(App *app, const DbBody *body, Err *err) {
    OWNED(table_release) Table *table = NULL;
    Err why = {0};
    if (!catalog_load(app->catalog, body->dataset, 0, &table, &why) && !dataset_is_free(&why))
        return *err = why, false;
    if ((body->table.len == 0) == (body->query.len == 0))
        return err_code(err, LH_INVALID, "missing_field", "give 'table' or 'query', one of them");
    return true;
}

static bool start(App *app, Call *call, const char *name, DatabaseKind kind, Err *err) {
    if (!check_body(app, call->body, err)) return false;
    DbJob *job = calloc(1, sizeof *job);
    const Json *json;
    if (!job) abort();
    job->app = app;
    job->kind = kind;
    Str body = arena_copy(&job->arena, str_of(call->request->body));
    if (!json_read(body, &job->arena, &json, err) ||
        !options_read(db_body, json, &job->body, err)) {
        db_job_free(job);
        return false;
    }
    return answer_job(app, call, name, db_job_run, job, db_job_free, 201, err);
}

bool ingest_db(App *app, Call *call, Err *err) {
    return start(app, call, "ingest db", DATABASE_POSTGRES, err);
}

bool ingest_mysql(App *app, Call *call, Err *err) {
    return start(app, call, "ingest mysql", DATABASE_MYSQL, err);
}
