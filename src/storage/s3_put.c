/* One PUT, and how a conditional one comes to a certain end.
 *
 * Each conditional write bears an id of its own as metadata. When the answer is lost, or says that
 * the condition failed (perhaps because of our own first attempt), a look at the object tells: our
 * id is there, or another's write, or nothing has changed and it is tried again. Only when the look
 * fails too is the outcome unknown.
 *
 * Ceph compares If-Match with the quotes that RFC 9110 wants around it, and then as a prefix: so
 * the probe finds out how it wants the etag, and the whole of it is compared by a HEAD before. */
#include "storage/s3_store.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REFUSALS_MAX 3
#define REFUSED_PAUSE_US 50000

typedef struct Attempt {
    const S3Put *put;
    char id[UUID_SIZE], etag[STORE_ETAG_SIZE + 2];
    S3Retry retry;
    int refusals;
} Attempt;
typedef enum Verdict { WRITTEN, NOT_WRITTEN, TRY_AGAIN } Verdict;

static S3Call put_call(const S3Put *put, const S3Pair *headers, size_t count) {
    return (S3Call){.method = "PUT",
                    .key = str_from(put->name->full),
                    .headers = headers,
                    .header_count = count,
                    .body = put->body,
                    .fd = put->fd,
                    .fd_size = put->fd_size};
}

/* False when the answer has no etag: Swift's, when a removal overtook the write. */
static bool written(const S3Put *put, const S3Answer *answer, ObjectInfo *out) {
    Err ignored;
    if (!s3_info(text_str(&answer->reply.headers), out, &ignored)) return false;
    out->size = MAX(put->fd_size, put->body.size);
    return true;
}

static bool put_plain(const S3Put *put, ObjectInfo *out, Err *err) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    S3Client *client = put->store->client;
    S3Call call = put_call(put, NULL, 0);
    if (!s3_call(client, &call, &answer, err)) return false;
    if (answer.status / 100 != 2)
        return s3_refused(client, &answer, str_from(put->name->shown), err);
    s3_sweep(client);
    if (!written(put, &answer, out)) s3_info_unknown(MAX(put->fd_size, put->body.size), out);
    return true;
}

static bool not_held(const S3Put *put, Err *err) {
    const char *key = put->name->shown;
    if (put->condition.if_absent) return err_set(err, LH_PRECONDITION, "'%s' exists", key);
    return err_set(err, LH_PRECONDITION, "'%s' is no longer the object with etag '%.*s'", key,
                   SHOW(put->condition.if_match));
}

static bool unknown(const S3Put *put, Err *err) {
    Err why = *err;
    return err_code(err, LH_OFFLINE, "outcome_unknown",
                    "whether '%s' was written is unknown: look at it before you write again: %s",
                    put->name->shown, why.message);
}

/* Nothing of ours is there: `found` is what is, with an empty etag for nothing at all. */
static Verdict judge(Attempt *attempt, const S3Call *call, const S3Answer *answer,
                     const ObjectInfo *found, Err *err) {
    const S3Put *put = attempt->put;
    bool stands =
        put->condition.if_absent ? !found->etag[0] : str_is(put->condition.if_match, found->etag);
    if (!stands) return not_held(put, err), NOT_WRITTEN;
    if (answer->unknown) {
        if (s3_again(put->store->client, &attempt->retry, call, answer, err)) return TRY_AGAIN;
        if (answer->status) s3_refused(put->store->client, answer, (Str){0}, err);
        return unknown(put, err), NOT_WRITTEN;
    }
    /* Refused although it holds: another's write was under way, or came and went. */
    if (attempt->refusals++ < REFUSALS_MAX) {
        usleep((useconds_t)(random_u64() % REFUSED_PAUSE_US));
        return TRY_AGAIN;
    }
    return not_held(put, err), NOT_WRITTEN;
}

static Verdict settle(Attempt *attempt, const S3Call *call, const S3Answer *answer, ObjectInfo *out,
                      Err *err) {
    const S3Put *put = attempt->put;
    ObjectInfo found = {0};
    char id[UUID_SIZE] = "";
    Err why = *err;
    bool looked = s3_head(put->store->client, put->name, &found, id, &why);
    if (looked && !strcmp(id, attempt->id)) return *out = found, WRITTEN;
    if (looked || why.kind == LH_MISSING) return judge(attempt, call, answer, &found, err);
    *err = why;
    return unknown(put, err), NOT_WRITTEN;
}

static Verdict put_once(Attempt *attempt, ObjectInfo *out, Err *err) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    const S3Put *put = attempt->put;
    bool absent = put->condition.if_absent;
    S3Pair headers[] = {
        {absent ? STR("if-none-match") : STR("if-match"),
         absent ? STR("*") : str_from(attempt->etag)                           },
        {STR(S3_WRITE_ID),                                str_from(attempt->id)},
    };
    S3Call call = put_call(put, headers, COUNT(headers));
    call.changes = true;
    bool ok = s3_call(put->store->client, &call, &answer, err);
    if (ok && answer.status / 100 == 2 && written(put, &answer, out)) return WRITTEN;
    bool doubtful =
        answer.unknown || answer.status == 412 || answer.status == 409 || answer.status / 100 == 2;
    if (doubtful) return settle(attempt, &call, &answer, out, err);
    if (ok) s3_refused(put->store->client, &answer, str_from(put->name->shown), err);
    return NOT_WRITTEN;
}

/* The server may take any etag that ours begins with: the whole of it is compared here. */
static bool etag_holds(const S3Put *put, Err *err) {
    ObjectInfo now = {0};
    if (put->condition.if_match.len == 0) return true;
    if (!s3_head(put->store->client, put->name, &now, NULL, err) && err->kind != LH_MISSING)
        return false;
    return str_is(put->condition.if_match, now.etag) || not_held(put, err);
}

bool s3_put(const S3Put *put, ObjectInfo *out, Err *err) {
    Attempt attempt = {
        .put = put, .retry = {clock_us(), 0}
    };
    Verdict verdict = TRY_AGAIN;
    if (!put->condition.if_absent && put->condition.if_match.len == 0)
        return put_plain(put, out, err);
    if (MAX(put->fd_size, put->body.size) > S3_PUT_SIZE_MAX)
        return err_set(err, LH_TOO_BIG,
                       "a conditional write to S3 has at most %llu bytes, the most of one request",
                       (unsigned long long)S3_PUT_SIZE_MAX);
    const char *quote = put->store->unquoted ? "" : "\"";
    snprintf(attempt.etag, sizeof attempt.etag, "%s%.*s%s", quote, SHOW(put->condition.if_match),
             quote);
    random_uuid(attempt.id);
    if (!etag_holds(put, err)) return false;
    while (verdict == TRY_AGAIN) verdict = put_once(&attempt, out, err);
    return verdict == WRITTEN;
}
