/* What a refusal means for whoever asked, and what its operator should do. Of the server's answer
 * only its code word is shown: its message may quote what was signed. */
#include "storage/s3_client.h"

#include <stdio.h>
#include <string.h>

typedef struct Refusal {
    const char *code;   /* S3's, or a status where no body says more */
    const char *advice; /* after "bucket 'x' at 'endpoint'" */
} Refusal;

static const Refusal denied[] = {
    {"AccessDenied",          "denies access: check what its key pair is allowed to do"        },
    {"AllAccessDisabled",     "is closed by its provider"                                      },
    {"InvalidAccessKeyId",    "does not know the access key id: correct its secret"            },
    {"SignatureDoesNotMatch", "refuses the signature: correct the secret key, or the region"   },
    {"UserSuspended",         "says that its user is suspended: have it enabled"               },
    {"ExpiredToken",          "says that the session token is expired: renew its secret"       },
    {"InvalidToken",          "refuses the session token: correct its secret"                  },
    {"RequestTimeTooSkewed",  "says that the clock of this machine is wrong: set it"           },
    {"403",                   "denies access: check its key pair, and what it is allowed to do"},
};
static const Refusal full[] = {
    {"QuotaExceeded", "is over its quota: raise it, or remove objects" },
    {"507",           "has no space left: remove objects, or add disks"},
};
static const Refusal precondition[] = {
    {"PreconditionFailed",         "says that the object is another one by now"},
    {"ConditionalRequestConflict", "had another write at the same time"        },
    {"412",                        "says that the object is another one by now"},
};
static const Refusal too_big[] = {
    {"EntityTooLarge", "takes no object of this size"}
};
static const Refusal no_such_bucket[] = {
    {"NoSuchBucket", "does not exist: create it, or correct its name"}
};
static const Refusal impossible[] = {
    {"NotImplemented", "does not implement what was asked"}
};
static const Refusal bad_key[] = {
    {"KeyTooLongError", "takes no key of this length"}
};

static const struct Group {
    const Refusal *refusals;
    size_t count;
    ErrKind kind;
    const char *word; /* ours; NULL: the kind's */
} groups[] = {
    {denied,         COUNT(denied),         LH_OFFLINE,      "bucket_denied"        },
    {no_such_bucket, COUNT(no_such_bucket), LH_OFFLINE,      "bucket_unreachable"   },
    {full,           COUNT(full),           LH_FULL,         "bucket_full"          },
    {precondition,   COUNT(precondition),   LH_PRECONDITION, NULL                   },
    {too_big,        COUNT(too_big),        LH_TOO_BIG,      NULL                   },
    {impossible,     COUNT(impossible),     LH_IMPOSSIBLE,   "no_conditional_writes"},
    {bad_key,        COUNT(bad_key),        LH_INVALID,      "bad_key"              },
};

/* The row whose code this is, and its group. */
static const Refusal *refusal_named(const char *code, const struct Group **group) {
    for (size_t i = 0; i < COUNT(groups); i++)
        for (size_t j = 0; j < groups[i].count; j++)
            if (!strcmp(groups[i].refusals[j].code, code))
                return *group = &groups[i], &groups[i].refusals[j];
    return NULL;
}

static const Refusal *refusal_of(const S3Answer *answer, const struct Group **group) {
    char status[16];
    snprintf(status, sizeof status, "%d", answer->status);
    const Refusal *refusal = refusal_named(answer->error.code, group);
    return refusal ? refusal : refusal_named(status, group);
}

static bool is_missing_key(const S3Answer *answer) {
    const char *code = answer->error.code;
    return answer->status == 404 && (!*code || !strcmp(code, "NoSuchKey"));
}

static bool wrong_region(const S3Client *client, const S3Answer *answer, Err *err) {
    return err_code(err, LH_OFFLINE, "bucket_unreachable",
                    "bucket '%.*s' at '%.*s' is in another region: set region = \"%s\"",
                    SHOW(client->bucket), SHOW(client->endpoint), answer->error.region);
}

bool s3_refused(S3Client *client, const S3Answer *answer, Str key, Err *err) {
    Str bucket = client->bucket, endpoint = client->endpoint;
    if (is_missing_key(answer))
        return err_code(err, LH_MISSING, "object_not_found", "no object '%.*s'", SHOW(key));
    if (answer->error.region[0] && !str_is(client->signer.region, answer->error.region))
        return wrong_region(client, answer, err);
    const struct Group *group = NULL;
    const Refusal *refusal = refusal_of(answer, &group);
    if (refusal)
        return err_code(err, group->kind, group->word, "bucket '%.*s' at '%.*s' %s", SHOW(bucket),
                        SHOW(endpoint), refusal->advice);
    return err_code(err, LH_OFFLINE, "bucket_unreachable", "bucket '%.*s' at '%.*s' answered %d %s",
                    SHOW(bucket), SHOW(endpoint), answer->status, answer->error.code);
}

/* A bucket that answered lately exists, so that a 404 is the object's; else the same asked with GET
 * bears a body that says which of them is missing. */
bool s3_head_refused(S3Client *client, const S3Answer *answer, Str full_key, Str key, Err *err) {
    const int64_t lately_us = 10000000;
    if (answer->status == 404 && client->seen_us && clock_us() - client->seen_us < lately_us)
        return s3_refused(client, answer, key, err);
    OWNED(s3_answer_close) S3Answer explained = {0};
    S3Pair first = {STR("range"), STR("bytes=0-0")};
    S3Call call = {.method = "GET", .key = full_key, .headers = &first, .header_count = 1};
    Err ignored;
    bool says = s3_send(client, &call, &explained, &ignored) && explained.error.code[0];
    return s3_refused(client, says ? &explained : answer, key, err);
}
