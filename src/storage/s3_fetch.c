/* A ranged GET. When it breaks, the next one asks for the rest with If-Match, and each answer's
 * ETag and Content-Range are compared with what was asked: bytes of two versions are never mixed,
 * and fewer or more than promised is an error. */
#include "storage/s3_store.h"

#include <stdio.h>
#include <string.h>

static bool changed(const S3Fetch *fetch, Err *err) {
    return err_code(err, LH_CONFLICT, "object_changed", "'%s' was changed while it was read",
                    fetch->name->shown);
}

static bool odd_answer(const S3Fetch *fetch, Err *err) {
    return err_code(err, LH_CORRUPT, "bad_answer",
                    "the bucket's server sent another part of '%s' than was asked for",
                    fetch->name->shown);
}

/* "bytes 0-99/1000" */
static bool read_range(Str text, uint64_t *from, uint64_t *to, uint64_t *size) {
    if (!str_starts(text, STR("bytes "))) return false;
    text = str_slice(text, 6, text.len);
    Str first = str_until(&text, '-'), last = str_until(&text, '/');
    return str_to_u64(first, from) && str_to_u64(last, to) && str_to_u64(text, size) &&
           *from <= *to && *to < *size;
}

static bool learn(S3Fetch *fetch, const ObjectInfo *info, Err *err) {
    const ObjectInfo *known = fetch->info;
    if (known->etag[0] && strcmp(known->etag, info->etag) != 0) return changed(fetch, err);
    if (fetch->sized) return known->size == info->size || changed(fetch, err);
    fetch->sized = true;
    *fetch->info = *info;
    fetch->count = fetch->from < info->size ? MIN(fetch->count, info->size - fetch->from) : 0;
    return true;
}

/* 200 is the answer of a server that takes no ranges, or has an empty object. */
static bool on_head(void *context, int status, Str headers, Err *err) {
    S3Fetch *fetch = context;
    ObjectInfo info;
    uint64_t at = fetch->from + fetch->got, from = 0, to = 0, length;
    if (status != 200 && status != 206) return true;
    if (!str_to_u64(http_header(headers, "content-length"), &length)) return odd_answer(fetch, err);
    if (!s3_info(headers, &info, err)) return false;
    if (status == 206 && !read_range(http_header(headers, "content-range"), &from, &to, &info.size))
        return odd_answer(fetch, err);
    if (!learn(fetch, &info, err)) return false;
    uint64_t wanted = fetch->count - fetch->got;
    fetch->headed = from == at && length == wanted && (status == 200 || length == to - from + 1);
    return fetch->headed || odd_answer(fetch, err);
}

static bool on_bytes(void *context, Bytes data, Err *err) {
    S3Fetch *fetch = context;
    if (!fetch->headed || data.size > fetch->count - fetch->got) return odd_answer(fetch, err);
    memcpy(fetch->buffer + fetch->got, data.data, data.size);
    fetch->got += data.size;
    if (fetch->moved) fetch->moved(fetch->context, fetch->got);
    return true;
}

/* Nothing at or behind `from`: an empty object, or one that is shorter. */
static bool nothing_there(S3Fetch *fetch, Err *err) {
    ObjectInfo info;
    if (fetch->info->etag[0]) return changed(fetch, err);
    if (!s3_head(fetch->client, fetch->name, &info, NULL, err)) return false;
    if (info.size > fetch->from) return changed(fetch, err);
    *fetch->info = info;
    fetch->count = 0;
    return true;
}

static bool refused(S3Fetch *fetch, const S3Answer *answer, Err *err) {
    if (answer->status == 416) return nothing_there(fetch, err);
    bool known = fetch->info->etag[0];
    if (known && answer->status == 412) return changed(fetch, err);
    s3_refused(fetch->client, answer, str_from(fetch->name->shown), err);
    return known && err->kind == LH_MISSING ? changed(fetch, err) : false;
}

static bool fetch_once(S3Fetch *fetch, S3Retry *retry, bool *again, Err *err) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    char range[64], etag[STORE_ETAG_SIZE + 2];
    uint64_t before = fetch->got;
    snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)(fetch->from + before),
             (unsigned long long)(fetch->from + fetch->count - 1));
    snprintf(etag, sizeof etag, "\"%s\"", fetch->info->etag);
    S3Pair headers[] = {
        {STR("range"),    str_from(range)},
        {STR("if-match"), str_from(etag) }
    };
    S3Call call = {.method = "GET",
                   .key = str_from(fetch->name->full),
                   .headers = headers,
                   .header_count = fetch->info->etag[0] ? 2 : 1,
                   .head = on_head,
                   .sink = on_bytes,
                   .context = fetch,
                   .cancelled = fetch->cancelled};
    fetch->headed = false;
    bool ok = s3_send(fetch->client, &call, &answer, err);
    if (ok && answer.status / 100 == 2) return fetch->got == fetch->count || odd_answer(fetch, err);
    if (fetch->got > before) *retry = (S3Retry){clock_us(), 0};
    *again = s3_again(fetch->client, retry, &call, &answer, err);
    return ok && !*again ? refused(fetch, &answer, err) : false;
}

static bool fetch_all(S3Fetch *fetch, Err *err) {
    S3Retry retry = {clock_us(), 0};
    for (bool again = false;; again = false) {
        if (fetch_once(fetch, &retry, &again, err)) return true;
        if (!again) return false;
    }
}

bool s3_fetch(S3Fetch *fetch, Err *err) {
    fetch->sized = fetch->info->etag[0];
    return fetch_all(fetch, err);
}

bool s3_fetch_of(S3Fetch *fetch, Str etag, Err *err) {
    if (etag.len == 0 || etag.len >= sizeof fetch->info->etag) return changed(fetch, err);
    snprintf(fetch->info->etag, sizeof fetch->info->etag, "%.*s", SHOW(etag));
    return fetch_all(fetch, err);
}
