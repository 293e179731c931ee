/* The one path of a file into a dataset: spool, describe, copy to Parquet, sample, commit. Until
 * the commit there are two staged files and nothing else; whichever step fails, both go. */
#include "ingest/ingest.h"

#include "ingest/parts.h"

#include <string.h>
#include <unistd.h>

typedef struct Ingest {
    Catalog *catalog;
    Engine *engine;
    Buckets *buckets;
    const IngestFile *file;
    CommitMode mode;
    int64_t started_us;
    Spool *spool;
    Bucket *bucket, *home; /* where the body is spooled, where the dataset lives */
    char staged[PATH_MAX]; /* the Parquet, until it is adopted */
    const Schema *schema;
    Str home_name, location;
    DataFile data;
    bool adopted;
    PiiFound *pii;
    size_t pii_count;
    Lineage lineage;
    int64_t version;
    Text warnings; /* JSON strings, commas between */
    Arena arena;
} Ingest;

static void ingest_close(Ingest *in) {
    if (in->staged[0]) unlink(in->staged);
    spool_close(&in->spool);
    bucket_release(&in->home);
    bucket_release(&in->bucket);
    text_close(&in->warnings);
    arena_close(&in->arena);
}

bool ingest_mode(Str word, CommitMode *out, Err *err) {
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
    if (catalog_load(in->catalog, name, 0, &table, &missing)) {
        if (in->mode == COMMIT_CREATE)
            return err_code(err, LH_CONFLICT, "dataset_exists",
                            "the dataset '%.*s' exists: append to it or replace it", SHOW(name));
        return true;
    }
    if (!dataset_is_free(&missing) || in->mode == COMMIT_APPEND) return *err = missing, false;
    return true;
}

static bool open_spool(Ingest *in, Err *err) {
    Format format;
    Str bucket = in->file->bucket.len ? in->file->bucket : STR("primary");
    if (!format_read(in->file->format, &format, err) ||
        !ingest_mode(in->file->mode, &in->mode, err))
        return false;
    return check_dataset(in, err) && bucket_find(in->buckets, bucket, &in->bucket, err) &&
           spool_open(bucket_store(in->bucket), format, &in->spool, err);
}

/* Again after the body has come, which may have taken hours. */
static bool prefer_existing(Ingest *in, Err *err) {
    OWNED(table_release) Table *table = NULL;
    if (in->mode != COMMIT_APPEND) return true;
    if (!catalog_load(in->catalog, in->file->dataset, 0, &table, err)) return false;
    spool_prefer(in->spool, table_schema(table));
    return true;
}

static void warn(Ingest *in, Str text) {
    if (in->warnings.len) text_add_byte(&in->warnings, ',');
    json_escape(&in->warnings, text);
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
        field->name = arena_print(&in->arena, "column_%zu", i + 1);
        warn(in, arena_print(&in->arena, "column %zu has no name and is called '%.*s'", i + 1,
                             SHOW(field->name)));
    }
    return true;
}

static bool plan(Ingest *in, Str select, Err *err) {
    Schema wanted;
    if (!engine_describe(in->engine, select, &in->arena, &wanted, err))
        return spool_error(in->spool, err);
    if (!name_columns(in, &wanted, err)) return false;
    return catalog_plan(in->catalog, in->file->dataset, in->mode, in->file->bucket, &wanted,
                        &in->arena, &in->schema, &in->home_name, &in->location, err);
}

static bool copy(Ingest *in, Str select, Err *err) {
    if (!bucket_find(in->buckets, in->home_name, &in->home, err)) return false;
    if (!store_staging(bucket_store(in->home), in->staged, err)) return in->staged[0] = 0, false;
    if (!engine_copy_parquet(in->engine, select, in->schema, in->staged, in->file->cancelled,
                             in->file->context, &in->arena, &in->data, err))
        return spool_error(in->spool, err);
    bool json = in->spool->format == FORMAT_JSON || in->spool->format == FORMAT_NDJSON;
    if (json && in->data.rows == 0)
        return err_code(err, LH_INVALID, "empty_file",
                        "the body holds no row, so that its columns are unknown");
    return true;
}

static void drop_data(Ingest *in) {
    Err ignored;
    store_remove(bucket_store(in->home), in->data.key, &ignored);
}

static bool adopt(Ingest *in, Err *err) {
    char uuid[UUID_SIZE];
    ObjectInfo info;
    if (in->data.rows == 0) return true; /* a version without a file */
    random_uuid(uuid);
    in->data.key = arena_print(&in->arena, "%.*s/data/%s.parquet", SHOW(in->location), uuid);
    in->adopted = store_adopt(bucket_store(in->home), in->staged, in->data.key, NULL, &info, err);
    if (in->adopted) return in->staged[0] = 0, true;
    drop_data(in); /* it may be there, only not durably; nobody else knows its name */
    return false;
}

static void write_verdict(JsonWriter *w, Str column, Str kind, double confidence) {
    jw_name_str(w, column);
    jw_object(w);
    jw_member_text(w, "kind", kind);
    jw_member_real(w, "confidence", confidence);
    jw_end(w);
}

static bool is_found(const Ingest *in, Str column) {
    for (size_t i = 0; i < in->pii_count; i++)
        if (str_equal(in->pii[i].column, column)) return true;
    return false;
}

/* What earlier versions showed holds on: an append can only add to it. */
static void write_earlier(Ingest *in, JsonWriter *w) {
    OWNED(table_release) Table *table = NULL;
    const Json *earlier;
    Err ignored;
    if (in->mode != COMMIT_APPEND ||
        !catalog_load(in->catalog, in->file->dataset, 0, &table, &ignored) ||
        !json_read(table_property(table, PROPERTY_PII), &in->arena, &earlier, &ignored) ||
        earlier->kind != JSON_OBJECT)
        return;
    for (size_t i = 0; i < earlier->len; i++) {
        const Json *one = &earlier->items[i];
        if (is_found(in, one->name)) continue;
        jw_name_str(w, one->name);
        jw_json(w, one);
    }
}

static Str pii_property(Ingest *in) {
    OWNED(text_close) Text json = {0};
    JsonWriter w = {.out = &json};
    jw_object(&w);
    for (size_t i = 0; i < in->pii_count; i++)
        write_verdict(&w, in->pii[i].column, str_from(in->pii[i].verdict.kind),
                      in->pii[i].verdict.confidence);
    write_earlier(in, &w);
    jw_end(&w);
    return arena_copy(&in->arena, text_str(&json));
}

static bool is_unknown(const Err *err) {
    return err->kind == LH_OFFLINE && err->code && strcmp(err->code, "commit_unknown") == 0;
}

static bool commit(Ingest *in, Err *err) {
    Property pii = {STR(PROPERTY_PII), pii_property(in)};
    in->lineage = (Lineage){.source_system = in->file->source_system,
                            .source = in->file->source,
                            .rows = in->data.rows,
                            .bytes = (int64_t)in->spool->size,
                            .at_ms = clock_now_ms()};
    Commit commit = {.dataset = in->file->dataset,
                     .bucket = in->home_name,
                     .mode = in->mode,
                     .schema = in->schema,
                     .files = &in->data,
                     .file_count = in->adopted,
                     .properties = &pii,
                     .property_count = 1,
                     .lineage = in->lineage};
    if (catalog_commit(in->catalog, &commit, &in->version, err)) return true;
    if (in->adopted && !is_unknown(err)) drop_data(in);
    return false;
}

static void write_pii(const Ingest *in, JsonWriter *w) {
    jw_name(w, "pii");
    jw_array(w);
    for (size_t i = 0; i < in->pii_count; i++) {
        const PiiVerdict *verdict = &in->pii[i].verdict;
        jw_object(w);
        jw_member_text(w, "column", in->pii[i].column);
        jw_member_text(w, "kind", str_from(verdict->kind));
        jw_member_real(w, "confidence", verdict->confidence);
        jw_member_int(w, "matched", verdict->matched);
        jw_member_int(w, "sampled", verdict->sampled);
        jw_end(w);
    }
    jw_end(w);
}

static void write_warnings(const Ingest *in, JsonWriter *w) {
    Str csv = text_str(&in->spool->csv.warnings), own = text_str(&in->warnings);
    jw_name(w, "warnings");
    jw_array(w);
    if (csv.len) jw_raw(w, csv);
    if (own.len) jw_raw(w, own);
    jw_end(w);
}

static void write_result(const Ingest *in, Text *result) {
    JsonWriter w = {.out = result};
    int64_t us = MAX(clock_us() - in->started_us, 1);
    jw_object(&w);
    jw_member_text(&w, "dataset", in->file->dataset);
    jw_member_int(&w, "version", in->version);
    jw_member_int(&w, "rows", in->data.rows);
    jw_member_int(&w, "columns", (int64_t)in->schema->len);
    jw_member_int(&w, "bytes", in->adopted ? in->data.bytes : 0);
    jw_member_int(&w, "files", in->adopted);
    jw_member_int(&w, "elapsed_ms", us / 1000);
    jw_member_int(&w, "rows_per_s", (int64_t)((double)in->data.rows * 1e6 / (double)us));
    write_pii(in, &w);
    jw_name(&w, "lineage");
    jw_object(&w);
    lineage_write(&in->lineage, in->version, &w);
    jw_end(&w);
    jw_name(&w, "agent_enqueued");
    jw_array(&w);
    jw_end(&w);
    write_warnings(in, &w);
    jw_end(&w);
}

static bool run(Ingest *in, IngestSource *source, void *context, Err *err) {
    OWNED(text_close) Text select = {0};
    if (!open_spool(in, err)) return false;
    if (!spool_fill(in->spool, in->file, source, context, err)) return false;
    if (!prefer_existing(in, err)) return false;
    spool_select(in->spool, &select);
    return plan(in, text_str(&select), err) && copy(in, text_str(&select), err) &&
           pii_sample(in->engine, in->schema, in->staged, in->data.rows, &in->arena, &in->pii,
                      &in->pii_count, err) &&
           adopt(in, err) && commit(in, err);
}

bool ingest_file(Catalog *catalog, Engine *engine, Buckets *buckets, const IngestFile *file,
                 IngestSource *source, void *source_context, Text *result, Err *err) {
    OWNED(ingest_close)
    Ingest in = {.catalog = catalog,
                 .engine = engine,
                 .buckets = buckets,
                 .file = file,
                 .started_us = clock_us()};
    if (!run(&in, source, source_context, err)) return false;
    write_result(&in, result);
    return true;
}
