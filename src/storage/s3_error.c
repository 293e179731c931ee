/* What a refusal means for whoever asked, and what its operator should do. Of the server's answer
 * only its code word is shown: its message may quote what was signed. */
#include "storage/s3_client.h"

#include <stdio.h>
#include <string.h>

typedef struct Refusal {
    const char *code; /* S3's */
    ErrKind kind;
    const char *word;   /* ours */
    const char *advice; /* after "bucket 'x' at 'endpoint'" */
} Refusal;

static const Refusal refusals[] = {
    {"NoSuchBucket",               LH_OFFLINE,      "bucket_unreachable",
     "does not exist: create it, or correct its name"                                                                        },
    {"AccessDenied",               LH_OFFLINE,      "bucket_denied",
     "denies access: check what its key pair is allowed to do"                                                               },
    {"AllAccessDisabled",          LH_OFFLINE,      "bucket_denied",         "is closed by its provider"                     },
    {"InvalidAccessKeyId",         LH_OFFLINE,      "bucket_denied",
     "does not know the access key id: correct its secret"                                                                   },
    {"SignatureDoesNotMatch",      LH_OFFLINE,      "bucket_denied",
     "refuses the signature: correct the secret key, or the region"                                                          },
    {"UserSuspended",              LH_OFFLINE,      "bucket_denied",
     "says that its user is suspended: have it enabled"                                                                      },
    {"ExpiredToken",               LH_OFFLINE,      "bucket_denied",         "says that the session token is expired"        },
    {"InvalidToken",               LH_OFFLINE,      "bucket_denied",         "refuses the session token"                     },
    {"RequestTimeTooSkewed",       LH_OFFLINE,      "bucket_denied",
     "says that the clock of this machine is wrong: set it"                                                                  },
    {"QuotaExceeded",              LH_FULL,         "bucket_full",           "is over its quota: raise it, or remove objects"},
    {"EntityTooLarge",             LH_TOO_BIG,      "too_large",             "takes no object of this size"                  },
    {"KeyTooLongError",            LH_INVALID,      "bad_key",               "takes no key of this length"                   },
    {"NotImplemented",             LH_IMPOSSIBLE,   "no_conditional_writes", "does not implement what was asked"             },
    {"PreconditionFailed",         LH_PRECONDITION, NULL,                    "says that the object is another one by now"    },
    {"ConditionalRequestConflict", LH_PRECONDITION, NULL,                    "had another write at the same time"            },
};

static const Refusal *refusal_of(const S3Answer *answer) {
    static const Refusal by_status[] = {
        {"403", LH_OFFLINE,      "bucket_denied", "denies access: check its key pair"         },
        {"412", LH_PRECONDITION, NULL,            "says that the object is another one by now"},
        {"507", LH_FULL,         "bucket_full",   "has no space left"                         },
    };
    char status[16];
    snprintf(status, sizeof status, "%d", answer->status);
    for (size_t i = 0; i < COUNT(refusals); i++)
        if (!strcmp(refusals[i].code, answer->error.code)) return &refusals[i];
    for (size_t i = 0; i < COUNT(by_status); i++)
        if (!strcmp(by_status[i].code, status)) return &by_status[i];
    return NULL;
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
    const Refusal *refusal = refusal_of(answer);
    if (refusal)
        return err_code(err, refusal->kind, refusal->word, "bucket '%.*s' at '%.*s' %s",
                        SHOW(bucket), SHOW(endpoint), refusal->advice);
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
