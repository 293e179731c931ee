/* Multipart upload: create, parts side by side, complete. The parts wait in a ring of `parallel`
 * slots, so that memory is `parallel` parts and the buffer being filled. The id of this write goes
 * along as metadata: when the answer to "complete" is lost, a look at the object tells. When the
 * one to "create" is, the upload it made is empty and nobody knows its id: it stays until the
 * bucket's own rule for incomplete uploads removes it. */
#include "storage/s3_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_MS 1500
#define COMPLETE_PATIENCE 6 /* times the answer's time-out: the server joins all the parts */

typedef struct Part {
    S3Task task;
    S3Upload *upload;
    int number; /* from 1; 0: the slot was never used */
    Text data;
    int fd; /* used when fd_size is not 0 */
    uint64_t fd_from, fd_size;
    bool ok;
    Err err;
} Part;

struct S3Upload {
    S3Client *client;
    S3Name name;
    Arena arena;
    S3Live live; /* its id; empty until it is created */
    char write_id[UUID_SIZE];
    char (*etags)[STORE_ETAG_SIZE]; /* of the parts; each task writes its own */
    int count;
    uint64_t size;
    Part slots[S3_PARALLEL_MAX];
    bool completed, unknown;
    _Atomic bool cancelled;
};

/* When the answer is lost there may be an upload whose id nobody knows: another is made, and the
 * lost one is remembered. Times are the server's, give or take its clock's whole seconds. */
static bool create(S3Upload *upload, const S3Call *call, S3Answer *out, Err *err) {
    S3Client *client = upload->client;
    S3Retry retry = {clock_us(), 0};
    for (;;) {
        S3Answer answer = {0};
        int64_t skew_ms = client->skew_s * 1000, since = clock_now_ms() + skew_ms - CLOCK_MS;
        bool ok = s3_send(client, call, &answer, err);
        if (answer.unknown)
            s3_leave(client, call->key, (Str){0}, client->limits.answer_timeout_ms * 1000, since,
                     clock_now_ms() + skew_ms + CLOCK_MS);
        if (!s3_again(client, &retry, call, &answer, err)) {
            *out = answer;
            return ok;
        }
        s3_answer_close(&answer);
    }
}

bool s3_upload_open(S3Store *store, const S3Name *name, S3Upload **out, Err *err) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    OWNED(s3_upload_close) S3Upload *upload = calloc(1, sizeof *upload);
    if (!upload) abort();
    upload->client = s3_client_hold(store->client);
    upload->name = *name;
    upload->etags = calloc(S3_PARTS_MAX, sizeof *upload->etags);
    if (!upload->etags) abort();
    random_uuid(upload->write_id);
    S3Pair query = {STR("uploads"), STR("")};
    S3Pair header = {STR(S3_WRITE_ID), str_from(upload->write_id)};
    S3Call call = {.method = "POST",
                   .key = str_from(upload->name.full),
                   .query = &query,
                   .query_count = 1,
                   .headers = &header,
                   .header_count = 1,
                   .changes = true};
    if (!create(upload, &call, &answer, err)) return false;
    if (answer.status != 200)
        return s3_refused(upload->client, &answer, str_from(name->shown), err);
    if (!s3_xml_upload_id(text_bytes(&answer.reply.body), &upload->arena, &upload->live.id, err))
        return false;
    s3_live_add(upload->client, &upload->live);
    *out = TAKE(upload);
    return true;
}

static bool part_send(Part *part, Err *err) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    S3Upload *upload = part->upload;
    char number[16];
    snprintf(number, sizeof number, "%d", part->number);
    S3Pair query[] = {
        {STR("partNumber"), str_from(number)},
        {STR("uploadId"),   upload->live.id }
    };
    S3Call call = {.method = "PUT",
                   .key = str_from(upload->name.full),
                   .query = query,
                   .query_count = COUNT(query),
                   .body = text_bytes(&part->data),
                   .fd = part->fd,
                   .fd_from = part->fd_from,
                   .fd_size = part->fd_size,
                   .cancelled = &upload->cancelled};
    if (!s3_call(upload->client, &call, &answer, err)) return false;
    if (answer.status != 200)
        return s3_refused(upload->client, &answer, str_from(upload->name.shown), err);
    ObjectInfo info;
    if (!s3_info(text_str(&answer.reply.headers), &info, err)) return false;
    memcpy(upload->etags[part->number - 1], info.etag, sizeof info.etag);
    return true;
}

static void part_run(S3Task *task) {
    Part *part = (Part *)task;
    part->ok = part_send(part, &part->err);
}

static bool part_finish(Part *part, Err *err) {
    if (part->number == 0) return true;
    crew_wait(&part->upload->client->crew, &part->task);
    if (part->ok) return true;
    *err = part->err;
    return false;
}

/* The slot of the next part, once what it held is sent. */
static bool slot_take(S3Upload *upload, Part **out, Err *err) {
    Part *part = &upload->slots[upload->count % upload->client->limits.parallel];
    if (!part_finish(part, err)) return false;
    if (upload->count == S3_PARTS_MAX)
        return err_set(err, LH_TOO_BIG,
                       "an object has at most %d parts of %lld bytes: raise part_bytes",
                       S3_PARTS_MAX, (long long)upload->client->limits.part_bytes);
    part->task.run = part_run;
    part->upload = upload;
    part->number = ++upload->count;
    part->ok = false;
    *out = part;
    return true;
}

bool s3_upload_bytes(S3Upload *upload, Text *data, Err *err) {
    Part *part;
    if (!slot_take(upload, &part, err)) return false;
    Text spare = part->data;
    part->data = *data;
    *data = spare;
    text_clear(data);
    part->fd_size = 0;
    upload->size += part->data.len;
    crew_start(&upload->client->crew, &part->task);
    return true;
}

bool s3_upload_file(S3Upload *upload, int fd, uint64_t from, uint64_t size, Err *err) {
    Part *part;
    if (!slot_take(upload, &part, err)) return false;
    part->fd = fd;
    part->fd_from = from;
    part->fd_size = size;
    upload->size += size;
    crew_start(&upload->client->crew, &part->task);
    return true;
}

static void write_parts(const S3Upload *upload, Text *out) {
    text_add(out, STR("<CompleteMultipartUpload>"));
    for (int i = 0; i < upload->count; i++) {
        text_print(out, "<Part><PartNumber>%d</PartNumber><ETag>&quot;", i + 1);
        for (const char *c = upload->etags[i]; *c; c++)
            text_print(out, *c == '<' || *c == '&' ? "&#%d;" : "%c", *c);
        text_add(out, STR("&quot;</ETag></Part>"));
    }
    text_add(out, STR("</CompleteMultipartUpload>"));
}

/* The answer was lost, or a repeated request found the upload gone. */
static bool settle(S3Upload *upload, ObjectInfo *out, Err *err) {
    ObjectInfo found;
    char id[UUID_SIZE] = "";
    Err why;
    bool looked = s3_head(upload->client, &upload->name, &found, id, &why);
    if (looked && !strcmp(id, upload->write_id)) return *out = found, true;
    upload->unknown = !looked && why.kind != LH_MISSING;
    if (!upload->unknown) return false;
    return err_code(err, LH_OFFLINE, "outcome_unknown", "whether '%s' was written is unknown: %s",
                    upload->name.shown, why.message);
}

/* Ceph leaves the etag out of its answer. When a look finds another's object already, ours was
 * there and is gone: it has an etag that no object has. */
static bool completed(S3Upload *upload, const S3Answer *answer, ObjectInfo *out) {
    ObjectInfo info, found;
    char id[UUID_SIZE] = "";
    Err ignored;
    s3_info_unknown(upload->size, &info);
    if (!s3_xml_etag(text_bytes(&answer->reply.body), info.etag) &&
        s3_head(upload->client, &upload->name, &found, id, &ignored) &&
        !strcmp(id, upload->write_id))
        info = found;
    *out = info;
    return true;
}

static bool complete_send(S3Upload *upload, ObjectInfo *out, Err *err) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    OWNED(text_close) Text body = {0};
    S3Client *client = upload->client;
    write_parts(upload, &body);
    S3Pair query = {STR("uploadId"), upload->live.id};
    S3Call call = {.method = "POST",
                   .key = str_from(upload->name.full),
                   .query = &query,
                   .query_count = 1,
                   .body = text_bytes(&body),
                   .answer_timeout_ms = client->limits.answer_timeout_ms * COMPLETE_PATIENCE};
    bool answered = s3_call(client, &call, &answer, err);
    if (answered && answer.status == 200 && !answer.error.code[0])
        return completed(upload, &answer, out);
    if (answered) s3_refused(client, &answer, str_from(upload->name.shown), err);
    bool gone = answer.status == 404 && !strcmp(answer.error.code, "NoSuchUpload");
    return (answer.unknown || gone) && settle(upload, out, err);
}

bool s3_upload_complete(S3Upload *upload, ObjectInfo *out, Err *err) {
    for (size_t i = 0; i < COUNT(upload->slots); i++)
        if (!part_finish(&upload->slots[i], err)) return false;
    upload->completed = complete_send(upload, out, err);
    if (upload->completed) s3_sweep(upload->client);
    return upload->completed;
}

/* One whose end is unknown may still become an object: it is looked at again when the server has
 * had time for that, and aborting what is complete by then does nothing. */
static void upload_abort(S3Upload *upload) {
    S3Client *client = upload->client;
    Str key = str_from(upload->name.full);
    int64_t wait_us = client->limits.answer_timeout_ms * 1000;
    Err err = {0};
    if (upload->unknown) {
        s3_leave(client, key, upload->live.id, wait_us * COMPLETE_PATIENCE, 0, 0);
    } else if (!s3_abort(client, key, upload->live.id, false, &err)) {
        log_warn("parts of '%s' are left in bucket '%.*s' for now: %s", upload->name.shown,
                 SHOW(client->bucket), err.message);
        s3_leave(client, key, upload->live.id, wait_us, 0, 0);
    }
}

void s3_upload_close(S3Upload **slot) {
    S3Upload *upload = TAKE(*slot);
    if (!upload) return;
    upload->cancelled = true;
    for (size_t i = 0; i < COUNT(upload->slots); i++) {
        if (upload->slots[i].number) crew_cancel(&upload->client->crew, &upload->slots[i].task);
        text_close(&upload->slots[i].data);
    }
    if (upload->live.id.len && !upload->completed) upload_abort(upload);
    s3_live_remove(upload->client, &upload->live);
    s3_client_release(&upload->client);
    arena_close(&upload->arena);
    free(upload->etags);
    free(upload);
}
