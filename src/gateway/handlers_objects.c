/* Objects over HTTP: conditions and ranges as RFC 9110 has them, bodies by sendfile where the store
 * has a file. */
#include "gateway/bodies.h"
#include "gateway/route.h"

#include <stdio.h>
#include <unistd.h>

#define COPY_SIZE (256 << 10)
#define SMALL_SIZE                                                                                 \
    (256 << 10) /* read whole before the first byte goes out: a failure is a status */

const Option rescue_query[] = {
    {"rescue",        LH_TEXT, AT(RescueQuery, rescue), "any", "when the rescue bucket may answer instead",
     .choices = "never|unreachable|any"},
    {0},
};

const Option list_query[] = {
    {"prefix",      LH_TEXT, AT(ListQuery, prefix), NULL, "only keys that begin so"},
    {"delimiter", LH_TEXT, AT(ListQuery, delimiter), NULL, "'/' groups keys below it into prefixes",
     .choices = "/"},
    {"after",         LH_TEXT, AT(ListQuery, after), NULL, "only keys after this one"},
    {"limit",             LH_INT, AT(ListQuery, limit), "1000", "objects to answer", .min = 1,
     .max = STORE_LIST_MAX},
    {0     },
};

/* Whether a list of entity tags names this one, or is "*". Weak tags never match. */
static bool etag_listed(Str list, const char *etag) {
    if (str_is(str_trim(list), "*")) return true;
    while (list.len > 0) {
        Str tag = str_trim(str_until(&list, ','));
        if (tag.len >= 2 && tag.data[0] == '"' && str_is(str_slice(tag, 1, tag.len - 1), etag))
            return true;
    }
    return false;
}

typedef enum Condition { CONDITION_PASS, CONDITION_NOT_MODIFIED, CONDITION_FAILED } Condition;

/* RFC 9110, 13.2.2. */
static Condition check_conditions(const Request *request, const ObjectInfo *info) {
    Str match = request_header(request, "if-match"),
        none = request_header(request, "if-none-match");
    Str since = request_header(request, "if-modified-since");
    Str unmodified = request_header(request, "if-unmodified-since");
    int64_t at, modified = info->modified_ms / 1000 * 1000;
    if (match.len && !etag_listed(match, info->etag)) return CONDITION_FAILED;
    if (!match.len && http_date_read(unmodified, &at) && modified > at) return CONDITION_FAILED;
    if (none.len) return etag_listed(none, info->etag) ? CONDITION_NOT_MODIFIED : CONDITION_PASS;
    if (http_date_read(since, &at) && modified <= at) return CONDITION_NOT_MODIFIED;
    return CONDITION_PASS;
}

typedef enum RangeKind { RANGE_NONE, RANGE_ONE, RANGE_UNSATISFIABLE } RangeKind;

/* One range of bytes. Several, or another unit, are answered as if no range had been asked for. */
static RangeKind read_range(Str header, uint64_t size, uint64_t *from, uint64_t *count) {
    uint64_t first = 0, last = 0;
    if (!str_starts(header, STR("bytes="))) return RANGE_NONE;
    Str rest = str_slice(header, 6, header.len), low = str_trim(str_until(&rest, '-'));
    Str high = str_trim(rest);
    if (low.len == 0) {
        if (!str_to_u64(high, &last)) return RANGE_NONE;
        if (last == 0 || size == 0) return RANGE_UNSATISFIABLE;
        *count = MIN(last, size);
        *from = size - *count;
        return RANGE_ONE;
    }
    if (!str_to_u64(low, &first)) return RANGE_NONE;
    if (high.len == 0)
        last = UINT64_MAX - 1;
    else if (!str_to_u64(high, &last) || last < first)
        return RANGE_NONE;
    if (first >= size) return RANGE_UNSATISFIABLE;
    *from = first;
    *count = MIN(last, size - 1) - first + 1;
    return RANGE_ONE;
}

/* If-Range: the range counts only while the object is the one that the client has part of. */
static bool range_counts(const Request *request, const ObjectInfo *info) {
    Str condition = request_header(request, "if-range");
    int64_t at;
    if (condition.len == 0) return true;
    if (http_date_read(condition, &at)) return info->modified_ms / 1000 * 1000 == at;
    return etag_listed(condition, info->etag);
}

static void object_headers(Call *call, const ObjectInfo *info) {
    char etag[STORE_ETAG_SIZE + 2], date[HTTP_DATE_SIZE];
    int len = snprintf(etag, sizeof etag, "\"%s\"", info->etag);
    response_header(call->response, "ETag", (Str){etag, (size_t)len});
    response_header(call->response, "Last-Modified", http_date(info->modified_ms, date));
    response_header(call->response, "Accept-Ranges", STR("bytes"));
}

static void rescue_headers(Call *call, Str served_by) {
    response_header(call->response, "x-lakehouse-rescue-used", STR("true"));
    response_header(call->response, "x-lakehouse-original-bucket", call->params[0]);
    response_header(call->response, "x-lakehouse-served-by", served_by);
}

static bool read_exactly(ObjectReader *reader, uint64_t from, size_t size, char *into, Err *err) {
    for (size_t at = 0, got; at < size; at += got) {
        if (!object_read(reader, from + at, into + at, size - at, &got, err)) return false;
        if (got == 0) return err_set(err, LH_CORRUPT, "the object ended too soon");
    }
    return true;
}

static bool send_small(Call *call, ObjectReader *reader, uint64_t from, size_t count, Err *err) {
    OWNED(text_close) Text body = {0};
    if (!read_exactly(reader, from, count, text_reserve(&body, count + 1), err)) return false;
    body.len = count;
    response_take(call->response, "application/octet-stream", &body);
    return true;
}

/* A read that breaks half-way cuts the body: what the rescue bucket has may be another version. */
static bool send_stream(Call *call, ObjectReader *reader, uint64_t from, uint64_t count, Err *err) {
    OWNED(text_close) Text buffer = {0};
    text_reserve(&buffer, COPY_SIZE);
    if (!response_stream_sized(call->response, "application/octet-stream", count, err))
        return false;
    for (uint64_t end = from + count, got; from < end; from += got) {
        size_t size = (size_t)MIN(end - from, (uint64_t)COPY_SIZE);
        if (!read_exactly(reader, from, size, buffer.data, err) ||
            !response_write(call->response, (Bytes){(const uint8_t *)buffer.data, size}, err))
            return false;
        got = size;
    }
    return true;
}

static bool send_content(Call *call, ObjectReader *reader, uint64_t from, uint64_t count,
                         Err *err) {
    int fd = object_take_fd(reader);
    if (fd < 0)
        return count <= SMALL_SIZE ? send_small(call, reader, from, (size_t)count, err)
                                   : send_stream(call, reader, from, count, err);
    response_header(call->response, "Content-Type", STR("application/octet-stream"));
    response_file(call->response, fd, from, count);
    return true;
}

/* The part that was asked for, and the head that says so. */
static bool choose_range(Call *call, const ObjectInfo *info, uint64_t *from, uint64_t *count,
                         Err *err) {
    Str range = request_header(call->request, "range");
    RangeKind kind = range.len && range_counts(call->request, info)
                         ? read_range(range, info->size, from, count)
                         : RANGE_NONE;
    char text[80];
    object_headers(call, info);
    if (kind == RANGE_UNSATISFIABLE) {
        int len = snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)info->size);
        response_header(call->response, "Content-Range", (Str){text, (size_t)len});
        return err_set(err, LH_RANGE, "the range lies outside of %llu bytes",
                       (unsigned long long)info->size);
    }
    if (kind == RANGE_ONE) {
        int len =
            snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)*from,
                     (unsigned long long)(*from + *count - 1), (unsigned long long)info->size);
        response_header(call->response, "Content-Range", (Str){text, (size_t)len});
    }
    response_status(call->response, kind == RANGE_ONE ? 206 : 200);
    return true;
}

/* Before its size is known: where the first request to a remote store should begin. */
static ReadHint hint_of(const Request *request) {
    ReadHint hint = {0};
    Str range = request_header(request, "range");
    uint64_t count = 0;
    if (range.len && read_range(range, UINT64_MAX - 1, &hint.from, &count) == RANGE_ONE &&
        !str_starts(range, STR("bytes=-")))
        hint.count = count;
    else
        hint.from = 0;
    return hint;
}

static RescueRule rescue_rule(const Call *call) {
    const RescueQuery *query = call->query;
    return str_is(query->rescue, "never")         ? RESCUE_NEVER
           : str_is(query->rescue, "unreachable") ? RESCUE_UNREACHABLE
                                                  : RESCUE_ANY;
}

/* Whether the object's content is wanted; else the answer is made. */
static bool is_wanted(Call *call, const ObjectInfo *info, bool *wanted, Err *err) {
    *wanted = false;
    switch (check_conditions(call->request, info)) {
    case CONDITION_FAILED:
        return err_set(err, LH_PRECONDITION, "the object is not the one that was named");
    case CONDITION_NOT_MODIFIED:
        object_headers(call, info);
        response_status(call->response, 304);
        return true;
    case CONDITION_PASS:
        break;
    }
    *wanted = true;
    return true;
}

static bool head_answer(App *app, Call *call, const ObjectRequest *request, Err *err) {
    ObjectInfo info;
    Str served_by;
    bool wanted;
    if (!buckets_head_object(app->buckets, request, &info, &served_by, err)) return false;
    if (served_by.len) rescue_headers(call, served_by);
    uint64_t from = 0, count = info.size;
    if (!is_wanted(call, &info, &wanted, err)) return false;
    if (!wanted) return true;
    if (!choose_range(call, &info, &from, &count, err)) return false;
    response_header(call->response, "Content-Type", STR("application/octet-stream"));
    response_file(call->response, -1, from, count);
    return true;
}

bool object_get(App *app, Call *call, Err *err) {
    OWNED(object_close) ObjectReader *reader = NULL;
    ObjectRequest request = {.bucket = call->params[0],
                             .key = call->params[1],
                             .rescue = rescue_rule(call),
                             .hint = hint_of(call->request)};
    Str served_by;
    bool wanted;
    if (call->request->method == HTTP_HEAD) return head_answer(app, call, &request, err);
    if (!buckets_open_object(app->buckets, &request, &reader, &served_by, err)) return false;
    if (served_by.len) rescue_headers(call, served_by);
    const ObjectInfo *info = object_info(reader);
    uint64_t from = 0, count = info->size;
    if (!is_wanted(call, info, &wanted, err)) return false;
    if (!wanted) return true;
    return choose_range(call, info, &from, &count, err) &&
           send_content(call, reader, from, count, err);
}

static bool read_put_condition(const Request *request, PutCondition *out, Err *err) {
    Str none = str_trim(request_header(request, "if-none-match"));
    Str match = str_trim(request_header(request, "if-match"));
    if (none.len && !str_is(none, "*"))
        return err_code(err, LH_INVALID, "bad_condition", "If-None-Match takes only * here");
    if (match.len && (match.len < 2 || match.data[0] != '"' || match.data[match.len - 1] != '"'))
        return err_code(err, LH_INVALID, "bad_condition", "If-Match takes one quoted etag here");
    *out = (PutCondition){.if_absent = none.len > 0,
                          .if_match = str_slice(match, 1, match.len ? match.len - 1 : 0)};
    return true;
}

static bool receive(Call *call, ObjectWriter *writer, Err *err) {
    OWNED(text_close) Text buffer = {0};
    size_t got;
    text_reserve(&buffer, COPY_SIZE);
    do {
        if (!request_read(call->request, buffer.data, COPY_SIZE, &got, err)) return false;
        if (!writer_write(writer, (Bytes){(const uint8_t *)buffer.data, got}, err)) return false;
    } while (got > 0);
    return true;
}

/* Objects that decide what a dataset, an index or this server is are written by what owns them:
 * an upload over one would break it for everybody. */
static bool check_unmanaged(Str key, Err *err) {
    Str rest = key, first = str_until(&rest, '/');
    bool managed = str_is(first, "_lakehouse");
    if (str_is(first, "warehouse")) {
        str_until(&rest, '/'); /* namespace */
        str_until(&rest, '/'); /* table */
        Str folder = str_until(&rest, '/');
        managed = rest.len && (str_is(folder, "pointer") || str_is(folder, "metadata"));
    }
    if (str_is(first, "vectors")) {
        str_until(&rest, '/'); /* index */
        managed = str_is(rest, "meta.json");
    }
    return !managed ||
           err_code(err, LH_DENIED, "managed_object",
                    "'%.*s' belongs to lakehouse itself and can only be read here", SHOW(key));
}

static bool put_object(App *app, Call *call, ObjectInfo *info, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    OWNED(writer_close) ObjectWriter *writer = NULL;
    PutCondition condition;
    return read_put_condition(call->request, &condition, err) &&
           check_unmanaged(call->params[1], err) &&
           bucket_find(app->buckets, call->params[0], &bucket, err) &&
           store_create(bucket_store(bucket), call->params[1], &condition, &writer, err) &&
           receive(call, writer, err) && writer_commit(writer, info, err);
}

bool object_put(App *app, Call *call, Err *err) {
    ObjectInfo info;
    Text text = {0};
    JsonWriter w = {.out = &text};
    if (!put_object(app, call, &info, err)) return false;
    buckets_object_written(app->buckets, call->params[0], call->params[1]);
    jw_object(&w);
    jw_member_text(&w, "bucket", call->params[0]);
    jw_member_text(&w, "key", call->params[1]);
    jw_member_int(&w, "size", (int64_t)info.size);
    jw_member_text(&w, "etag", str_from(info.etag));
    jw_end(&w);
    object_headers(call, &info);
    answer_json(call, 201, &text);
    return true;
}

bool object_delete(App *app, Call *call, Err *err) {
    if (!check_unmanaged(call->params[1], err) ||
        !buckets_remove_object(app->buckets, call->params[0], call->params[1], err))
        return false;
    response_status(call->response, 204);
    return true;
}

static void write_list(const ObjectList *list, JsonWriter *w) {
    jw_object(w);
    jw_name(w, "objects");
    jw_array(w);
    for (size_t i = 0; i < list->object_count; i++) {
        const ObjectEntry *entry = &list->objects[i];
        jw_object(w);
        jw_member_text(w, "key", entry->key);
        jw_member_int(w, "size", (int64_t)entry->info.size);
        jw_member_text(w, "etag", str_from(entry->info.etag));
        jw_member_time(w, "modified", entry->info.modified_ms);
        jw_end(w);
    }
    jw_end(w);
    jw_name(w, "prefixes");
    jw_array(w);
    for (size_t i = 0; i < list->prefix_count; i++) jw_text(w, list->prefixes[i]);
    jw_end(w);
    jw_name(w, "next");
    if (list->next.len)
        jw_text(w, list->next);
    else
        jw_null(w);
    jw_end(w);
}

bool object_list(App *app, Call *call, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    const ListQuery *query = call->query;
    ListOptions options = {.prefix = query->prefix,
                           .delimiter = query->delimiter,
                           .after = query->after,
                           .limit = (size_t)query->limit};
    ObjectList list;
    Text text = {0};
    if (!bucket_find(app->buckets, call->params[0], &bucket, err) ||
        !store_list(bucket_store(bucket), &options, call->arena, &list, err))
        return false;
    write_list(&list, &(JsonWriter){.out = &text});
    answer_json(call, 200, &text);
    return true;
}
