/* One reader walks any document and hands each element's path and text to a visitor when the
 * element ends; the visitors below pick what they know and pass over the rest. */
#include "storage/s3_xml.h"

#include "base/base.h"
#include "net/net.h"

#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 8
#define PATH_SIZE_MAX 256
#define VALUE_SIZE_MAX 8192 /* a key of 1024 bytes, each as %XX, and tokens that hold one */

typedef struct Walk Walk;
/* `path` is "ListBucketResult/Contents/Key"; false ends the walk, as malformed. */
typedef bool Visit(void *context, Str path, Str text);
struct Walk {
    XML_Parser parser;
    Visit *visit;
    void *context;
    Text path, text;
    size_t starts[DEPTH_MAX]; /* where each open element's name begins in the path */
    int depth;
    bool failed;
};

static void walk_fail(Walk *walk) {
    walk->failed = true;
    XML_StopParser(walk->parser, XML_FALSE);
}

static void XMLCALL on_start(void *context, const char *name, const char **attributes) {
    Walk *walk = context;
    Str text = str_from(name);
    (void)attributes;
    if (walk->failed) return;
    if (walk->depth == DEPTH_MAX || walk->path.len + text.len + 1 > PATH_SIZE_MAX)
        return walk_fail(walk);
    walk->starts[walk->depth++] = walk->path.len;
    if (walk->path.len) text_add_byte(&walk->path, '/');
    text_add(&walk->path, text);
    text_clear(&walk->text);
}

static void XMLCALL on_end(void *context, const char *name) {
    Walk *walk = context;
    (void)name;
    if (walk->failed) return;
    if (!walk->visit(walk->context, text_str(&walk->path), text_str(&walk->text)))
        return walk_fail(walk);
    walk->path.len = walk->starts[--walk->depth];
    text_clear(&walk->text);
}

static void XMLCALL on_text(void *context, const char *data, int len) {
    Walk *walk = context;
    if (walk->failed) return;
    if (walk->text.len + (size_t)len > VALUE_SIZE_MAX) return walk_fail(walk);
    text_add(&walk->text, (Str){data, (size_t)len});
}

static void XMLCALL on_doctype(void *context, const char *name, const char *system,
                               const char *public, int has_subset) {
    (void)name, (void)system, (void)public, (void)has_subset;
    walk_fail(context);
}

static bool walk_all(Bytes data, Visit *visit, void *context) {
    Walk walk = {.visit = visit, .context = context};
    if (data.size == 0 || data.size > S3_XML_SIZE_MAX) return false;
    walk.parser = XML_ParserCreate("UTF-8");
    if (!walk.parser) abort();
    XML_SetUserData(walk.parser, &walk);
    XML_SetElementHandler(walk.parser, on_start, on_end);
    XML_SetCharacterDataHandler(walk.parser, on_text);
    XML_SetStartDoctypeDeclHandler(walk.parser, on_doctype);
    enum XML_Status status = XML_Parse(walk.parser, (const char *)data.data, (int)data.size, 1);
    XML_ParserFree(walk.parser);
    text_close(&walk.path);
    text_close(&walk.text);
    return status == XML_STATUS_OK && !walk.failed;
}

static bool not_understood(Err *err) {
    return err_code(err, LH_OFFLINE, "bucket_unreachable",
                    "the bucket's server answered what is not S3's XML");
}

bool s3_etag(Str text, char out[STORE_ETAG_SIZE]) {
    text = str_trim(text);
    if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"')
        text = str_slice(text, 1, text.len - 1);
    if (text.len == 0 || text.len >= STORE_ETAG_SIZE) return false;
    for (size_t i = 0; i < text.len; i++) /* it goes into a header again */
        if (text.data[i] <= ' ' || text.data[i] == '"' || text.data[i] == 0x7f) return false;
    memcpy(out, text.data, text.len);
    out[text.len] = 0;
    return true;
}

/* Errors. */

void s3_word(Str text, char *out, size_t size) {
    size_t len = 0;
    for (size_t i = 0; i < text.len && len + 1 < size; i++) {
        char c = text.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (plain || c == '-' || c == '_') out[len++] = c;
    }
    out[len] = 0;
}

static bool visit_error(void *context, Str path, Str text) {
    S3Error *error = context;
    if (str_is(path, "Error/Code")) s3_word(text, error->code, sizeof error->code);
    if (str_is(path, "Error/Region")) s3_word(text, error->region, sizeof error->region);
    return true;
}

void s3_xml_error(Bytes data, S3Error *out) {
    S3Error error = {0};
    *out = walk_all(data, visit_error, &error) ? error : (S3Error){0};
}

/* Lists. */

typedef struct List {
    Arena *arena;
    S3Page page;
    ObjectEntry entry;
    size_t limit;
} List;

/* A key as encoding-type=url writes it: %XX, and '+' for a space. Empty when it holds a NUL, which
 * no caller can ask for. */
static Str decoded(List *list, Str text) {
    Str copy = arena_copy(list->arena, text), out;
    Err ignored;
    for (size_t i = 0; i < copy.len; i++)
        if (copy.data[i] == '+') ((char *)copy.data)[i] = ' ';
    return url_decode(copy, list->arena, &out, &ignored) ? out : (Str){0};
}

static bool take_entry(List *list) {
    if (list->page.object_count == list->limit) return false;
    list->page.objects[list->page.object_count++] = list->entry;
    list->entry = (ObjectEntry){0};
    return true;
}

static bool visit_entry(List *list, Str name, Str text) {
    if (str_is(name, "/Key")) list->entry.key = decoded(list, text);
    if (str_is(name, "/Size")) return str_to_u64(str_trim(text), &list->entry.info.size);
    if (str_is(name, "/ETag")) return s3_etag(text, list->entry.info.etag);
    if (str_is(name, "/LastModified"))
        return clock_read(str_trim(text), &list->entry.info.modified_ms);
    return name.len > 0 || take_entry(list);
}

static bool visit_list(void *context, Str path, Str text) {
    List *list = context;
    Str contents = STR("ListBucketResult/Contents");
    if (str_starts(path, contents))
        return visit_entry(list, str_slice(path, contents.len, path.len), text);
    if (str_is(path, "ListBucketResult/IsTruncated"))
        list->page.truncated = str_is(str_trim(text), "true");
    if (str_is(path, "ListBucketResult/NextContinuationToken"))
        list->page.token = arena_copy(list->arena, text);
    if (!str_is(path, "ListBucketResult/CommonPrefixes/Prefix")) return true;
    if (list->page.prefix_count == list->limit) return false;
    list->page.prefixes[list->page.prefix_count++] = decoded(list, text);
    return true;
}

bool s3_xml_list(Bytes data, size_t limit, Arena *arena, S3Page *out, Err *err) {
    List list = {.arena = arena, .limit = limit};
    list.page.objects = arena_array(arena, ObjectEntry, limit);
    list.page.prefixes = arena_array(arena, Str, limit);
    if (!walk_all(data, visit_list, &list)) return not_understood(err);
    *out = list.page;
    return true;
}

/* Uploads. */

typedef struct Uploads {
    List names; /* for decoded() */
    S3UploadEntry *entries, entry;
    size_t count, limit;
} Uploads;

static bool visit_uploads(void *context, Str path, Str text) {
    Uploads *uploads = context;
    Arena *arena = uploads->names.arena;
    Str upload = STR("ListMultipartUploadsResult/Upload");
    if (!str_starts(path, upload) || uploads->count == uploads->limit) return true;
    Str name = str_slice(path, upload.len, path.len);
    if (str_is(name, "/Key")) {
        uploads->entry.raw_key = arena_copy(arena, text);
        uploads->entry.key = decoded(&uploads->names, text);
    }
    if (str_is(name, "/UploadId")) uploads->entry.id = arena_copy(arena, text);
    if (str_is(name, "/Initiated")) return clock_read(str_trim(text), &uploads->entry.since_ms);
    if (name.len > 0) return true;
    uploads->entries[uploads->count++] = uploads->entry;
    uploads->entry = (S3UploadEntry){0};
    return true;
}

bool s3_xml_uploads(Bytes data, size_t limit, Arena *arena, S3UploadEntry **out, size_t *out_count,
                    Err *err) {
    Uploads uploads = {.names = {.arena = arena}, .limit = limit};
    uploads.entries = arena_array(arena, S3UploadEntry, limit);
    if (!walk_all(data, visit_uploads, &uploads)) return not_understood(err);
    *out = uploads.entries;
    *out_count = uploads.count;
    return true;
}

typedef struct Upload {
    Arena *arena;
    Str id;
    char etag[STORE_ETAG_SIZE];
} Upload;

static bool visit_upload(void *context, Str path, Str text) {
    Upload *upload = context;
    if (str_is(path, "InitiateMultipartUploadResult/UploadId"))
        upload->id = arena_copy(upload->arena, text);
    if (str_is(path, "CompleteMultipartUploadResult/ETag")) s3_etag(text, upload->etag);
    return true;
}

bool s3_xml_upload_id(Bytes data, Arena *arena, Str *out, Err *err) {
    Upload upload = {.arena = arena};
    if (!walk_all(data, visit_upload, &upload) || upload.id.len == 0) return not_understood(err);
    *out = upload.id;
    return true;
}

bool s3_xml_etag(Bytes data, char out[STORE_ETAG_SIZE]) {
    OWNED(arena_close) Arena arena = {0};
    Upload upload = {.arena = &arena};
    if (!walk_all(data, visit_upload, &upload) || !upload.etag[0]) return false;
    memcpy(out, upload.etag, sizeof upload.etag);
    return true;
}
