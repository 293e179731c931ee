/* Objects of an S3 bucket. Signature V4 by hand (libcurl's own fails on many keys and queries),
 * over libcurl. Source: AWS Signature Version 4 for S3, API version 2006-03-01. Thread safe. */
#pragma once

#include "storage/read_cache.h"
#include "storage/secrets.h"
#include "storage/store.h"

typedef struct S3Limits {
    int64_t part_bytes;         /* objects above it go up in parts of it, and come down so */
    int64_t parallel;           /* transfers of one object at a time */
    int64_t connect_timeout_ms; /* to connect */
    int64_t answer_timeout_ms;  /* from the last byte sent to the first one received */
    int64_t stall_timeout_ms;   /* without a byte in either direction */
    int64_t retry_ms;           /* total time of an operation beyond which it is not tried again */
} S3Limits;
extern const S3Limits s3_limits_default; /* 8 MiB, 4, 3 s, 10 s, 10 s, 15 s */

typedef struct S3Options {
    Str bucket, endpoint, region,
        prefix;      /* endpoint http(s)://host[:port]; prefix without '/' ends */
    Str secret_ref;  /* see secrets.h */
    bool path_style; /* else the bucket is the first label of the host */
    S3Limits limits;
    Secrets *secrets; /* outlive the store */
    ReadCache *cache;
} S3Options;

/* Checks the options (LH_INVALID, code "bad_bucket") without talking to anybody: a bucket that is
 * down can be opened. What it honours is found by store_probe, or when it is first needed. */
bool store_s3_open(const S3Options *options, Store **out, Err *err);
/* The same checks alone. */
bool store_s3_check(const S3Options *options, Err *err);
