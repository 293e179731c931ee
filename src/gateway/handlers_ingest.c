/* POST /ingest/file: the body, or an object already stored, into a dataset. */
#include "gateway/bodies.h"
#include "gateway/route.h"

const Option ingest_query[] = {
    {"dataset",       LH_TEXT, AT(IngestQuery, dataset), REQUIRED, "dataset to write"},
    {"format", LH_TEXT, AT(IngestQuery, format), "auto", "of the file",
     .choices = "csv|tsv|json|ndjson|parquet|auto"},
    {"mode",       LH_TEXT, AT(IngestQuery, mode), "create", "what to do with what is there",
     .choices = "create|append|replace"},
    {"bucket",               LH_TEXT, AT(IngestQuery, bucket), "primary", "home of a new dataset"},
    {"object",        LH_TEXT, AT(IngestQuery, object), NULL, "bucket/key of a stored object instead"},
    {"source",        LH_TEXT, AT(IngestQuery, source), NULL, "name of the file, for the lineage"},
    {0 },
};

typedef struct ObjectSource {
    ObjectReader *reader;
    uint64_t offset;
} ObjectSource;

static bool read_request(void *context, void *buffer, size_t size, size_t *got, Err *err) {
    return request_read(context, buffer, size, got, err);
}

static bool read_object(void *context, void *buffer, size_t size, size_t *got, Err *err) {
    ObjectSource *source = context;
    if (!object_read(source->reader, source->offset, buffer, size, got, err)) return false;
    source->offset += *got;
    return true;
}

static bool ingest_object(App *app, Call *call, IngestFile *file, Text *result, Err *err) {
    const IngestQuery *query = call->query;
    OWNED(object_close) ObjectReader *reader = NULL;
    Str key = query->object, bucket = str_until(&key, '/'), served_by;
    if (call->request->has_body && call->request->content_length != 0)
        return err_code(err, LH_INVALID, "unexpected_body",
                        "'object' and a body exclude each other");
    ObjectRequest request = {.bucket = bucket, .key = key};
    if (!caller_is_whole(&call->caller, err) ||
        !buckets_open_object(app->buckets, &request, &reader, &served_by, err))
        return false;
    ObjectSource source = {.reader = reader};
    file->source_system = "file";
    file->source = query->object;
    return ingest_file(app->catalog, app->engine, app->buckets, file, read_object, &source, result,
                       err);
}

bool ingest_body(App *app, Call *call, Err *err) {
    const IngestQuery *query = call->query;
    OWNED(text_close) Text result = {0};
    IngestFile file = {.dataset = query->dataset,
                       .bucket = query->bucket,
                       .format = query->format,
                       .mode = query->mode,
                       .encoding = request_header(call->request, "content-encoding"),
                       .source_system = "http",
                       .source = query->source.len ? query->source : STR("request body"),
                       .cancelled = client_is_gone,
                       .context = call->request};
    bool ok = query->object.len ? ingest_object(app, call, &file, &result, err)
                                : ingest_file(app->catalog, app->engine, app->buckets, &file,
                                              read_request, call->request, &result, err);
    if (!ok) return false;
    answer_json(call, 201, &result);
    return true;
}
