/* POST /ingest/db and /ingest/mysql: a table or a query of a database into a dataset, as a job. */
#include "gateway/bodies.h"
#include "gateway/route.h"

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

static void progress(void *job, int64_t rows, int64_t estimate) {
    job_progress(job, rows, estimate, "rows");
}

static bool run_ingest(const JobCall *call, DatabaseKind kind, Text *result, Err *err) {
    App *app = call->app;
    const DbBody *body = call->body;
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
        .cancelled = job_is_cancelled,
        .progress = progress,
        .context = call->job,
    };
    return ingest_database(app->catalog, app->engine, app->buckets, kind, &what, result, err);
}

static bool run_postgres(const JobCall *call, Text *result, Err *err) {
    return run_ingest(call, DATABASE_POSTGRES, result, err);
}

static bool run_mysql(const JobCall *call, Text *result, Err *err) {
    return run_ingest(call, DATABASE_MYSQL, result, err);
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

bool ingest_db(App *app, Call *call, Err *err) {
    return check_body(app, call->body, err) &&
           answer_job(app, call, "ingest db", run_postgres, 201, err);
}

bool ingest_mysql(App *app, Call *call, Err *err) {
    return check_body(app, call->body, err) &&
           answer_job(app, call, "ingest mysql", run_mysql, 201, err);
}
