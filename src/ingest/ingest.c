/* The one path of a file into a dataset: spool, describe, copy to Parquet, and land (landing.c).
 * Until the commit there are two staged files and nothing else; whichever step fails, both go. */
#include "ingest/ingest.h"

#include "ingest/parts.h"

#include <string.h>

typedef struct Ingest {
    const IngestFile *file;
    Spool *spool;
    Bucket *bucket; /* where the body is spooled */
    Landing landing;
} Ingest;

static void ingest_close(Ingest *in) {
    spool_close(&in->spool);
    bucket_release(&in->bucket);
    landing_close(&in->landing);
}

static bool read_mode(Str word, CommitMode *out, Err *err) {
    static const char *const words[] = {"create", "append", "replace"};
    if (word.len == 0) return *out = COMMIT_CREATE, true;
    for (size_t i = 0; i < COUNT(words); i++)
        if (str_is(word, words[i])) return *out = (CommitMode)i, true;
    return err_code(err, LH_INVALID, "bad_mode",
                    "the mode '%.*s' is not one of create, append, replace", SHOW(word));
}

/* What is wrong whatever the body holds is said before it is taken. */
static bool check_dataset(Ingest *in, Err *err) {
    OWNED(table_release) Table *table = NULL;
    Err missing = {0};
    Str name = in->file->dataset;
    if (!dataset_name_check(name, err)) return false;
    if (catalog_load(in->landing.catalog, name, 0, &table, &missing)) {
        if (in->landing.mode == COMMIT_CREATE)
            return err_code(err, LH_CONFLICT, "dataset_exists",
                            "the dataset '%.*s' exists: append to it or replace it", SHOW(name));
        return true;
    }
    if (!dataset_is_free(&missing) || in->landing.mode == COMMIT_APPEND)
        return *err = missing, false;
    return true;
}

static bool open_spool(Ingest *in, Err *err) {
    Format format;
    Str bucket = in->file->bucket.len ? in->file->bucket : STR("primary");
    if (!format_read(in->file->format, &format, err) ||
        !read_mode(in->file->mode, &in->landing.mode, err))
        return false;
    return check_dataset(in, err) && bucket_find(in->landing.buckets, bucket, &in->bucket, err) &&
           spool_open(bucket_store(in->bucket), format, &in->spool, err);
}

/* Again after the body has come, which may have taken hours. */
static bool prefer_existing(Ingest *in, Err *err) {
    OWNED(table_release) Table *table = NULL;
    if (in->landing.mode != COMMIT_APPEND) return true;
    if (!catalog_load(in->landing.catalog, in->file->dataset, 0, &table, err)) return false;
    spool_prefer(in->spool, table_schema(table));
    return true;
}

static bool name_columns(Ingest *in, Schema *schema, Err *err) {
    for (size_t i = 0; i < schema->len; i++) {
        Field *field = &schema->fields[i];
        field->name = str_trim(field->name);
        if (field->name.len > COLUMN_NAME_MAX)
            return err_code(err, LH_INVALID, "bad_column_name",
                            "the name of column %zu has %zu bytes, at most %d", i + 1,
                            field->name.len, COLUMN_NAME_MAX);
        if (field->name.len) continue;
        field->name = arena_print(&in->landing.arena, "column_%zu", i + 1);
        landing_warn(&in->landing,
                     arena_print(&in->landing.arena, "column %zu has no name and is called '%.*s'",
                                 i + 1, SHOW(field->name)));
    }
    return true;
}

static bool plan(Ingest *in, Str select, Err *err) {
    Landing *landing = &in->landing;
    Schema wanted;
    if (!engine_describe(landing->engine, select, &landing->arena, &wanted, err))
        return spool_error(in->spool, err);
    return name_columns(in, &wanted, err) &&
           catalog_plan(landing->catalog, landing->dataset, landing->mode, in->file->bucket,
                        &wanted, &landing->arena, &landing->schema, &landing->home_name,
                        &landing->location, err);
}

static bool copy(Ingest *in, Str select, Err *err) {
    Landing *landing = &in->landing;
    if (!landing_stage(landing, err)) return false;
    if (!engine_copy_parquet(landing->engine, select, landing->schema, landing->staged,
                             in->file->cancelled, in->file->context, &landing->arena,
                             &landing->data, err))
        return spool_error(in->spool, err);
    bool json = in->spool->format == FORMAT_JSON || in->spool->format == FORMAT_NDJSON;
    if (json && landing->data.rows == 0)
        return err_code(err, LH_INVALID, "empty_file",
                        "the body holds no row, so that its columns are unknown");
    return true;
}

static bool land(Ingest *in, Err *err) {
    Str csv = text_str(&in->spool->csv.warnings);
    in->landing.lineage = (Lineage){.source_system = in->file->source_system,
                                    .source = in->file->source,
                                    .bytes = (int64_t)in->spool->size};
    if (csv.len) landing_warn_json(&in->landing, csv);
    return landing_commit(&in->landing, err);
}

static bool run(Ingest *in, IngestSource *source, void *context, Err *err) {
    OWNED(text_close) Text select = {0};
    if (!open_spool(in, err)) return false;
    if (!spool_fill(in->spool, in->file, source, context, err)) return false;
    if (!prefer_existing(in, err)) return false;
    spool_select(in->spool, &select);
    return plan(in, text_str(&select), err) && copy(in, text_str(&select), err) && land(in, err);
}

bool ingest_file(Catalog *catalog, Engine *engine, Buckets *buckets, const IngestFile *file,
                 IngestSource *source, void *source_context, Text *result, Err *err) {
    OWNED(ingest_close)
    Ingest in = {
        .file = file,
        .landing = {.catalog = catalog,
                    .engine = engine,
                    .buckets = buckets,
                    .dataset = file->dataset,
                    .started_us = clock_us()}
    };
    if (!run(&in, source, source_context, err)) return false;
    landing_write(&in.landing, result);
    return true;
}
