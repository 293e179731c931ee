/* AWS Signature Version 4 for S3: the headers that prove who sends a request.
 * Source: "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)" of
 * the S3 API reference, 2006-03-01. A path is encoded once and never normalised, the query is
 * sorted, each pair written as name=value. Thread rule: an S3Signer is thread safe, the rest is
 * pure. */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "storage/secrets.h"

#include <pthread.h>

#define S3_HEX_SIZE 65 /* of a SHA-256, with the NUL */
#define S3_UNSIGNED "UNSIGNED-PAYLOAD"

typedef struct S3Pair {
    Str name, value;
} S3Pair;

/* The key that signs is made of the secret, the day, the region: kept until one of them changes. */
typedef struct S3Signer {
    pthread_mutex_t lock;
    Str region;
    uint64_t generation; /* of the pair that `key` was made of; 0: none yet */
    char day[9];
    uint8_t key[32];
} S3Signer;

typedef struct S3Signing {
    const char *method;
    Str path;              /* encoded: s3_path */
    Str query;             /* canonical: s3_query */
    Str host;              /* as the Host header bears it, with its port */
    const S3Pair *headers; /* further ones, names in lower case, all signed */
    size_t header_count;
    const char *payload; /* hex SHA-256 of the body, or S3_UNSIGNED */
    int64_t now_s;       /* since 1970 */
} S3Signing;

Str s3_query(const S3Pair *pairs, size_t count, Arena *arena);
void s3_hash(Bytes data, char out[S3_HEX_SIZE]);
/* Whole header lines to send, the further ones among them; *out_count is how many. */
Str *s3_sign(S3Signer *signer, const KeyPair *pair, const S3Signing *signing, Arena *arena,
             size_t *out_count);
