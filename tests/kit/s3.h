/* Real S3 servers for tests: Ceph and Swift, started by tests/kit/ceph and tests/kit/swift, once
 * per test program and ended with it. */
#pragma once

#include "base/base.h"
#include "storage/store_s3.h"

typedef struct KitS3 {
    char dir[64];
    char endpoints[3][64]; /* of its gateways */
    char access[64], secret[64];
} KitS3;

/* `kind` is "ceph" or "swift"; its options are environment variables, see the scripts. Ends the
 * program when it does not start. The key pair is in KIT_S3_* of this process: env:KIT_S3. */
const KitS3 *kit_s3(const char *kind);
int kit_s3_pid(const KitS3 *server, const char *daemon); /* "rgw1", "osd0" */
/* radosgw-admin, or whatever the script knows; false when it failed. */
bool kit_s3_admin(const KitS3 *server, const char *arguments);

/* Options for a bucket of it, which is made when missing; secrets and cache are the kit's. */
S3Options kit_s3_options(const KitS3 *server, const char *bucket);
/* The same with a prefix that no one else has: an empty store. */
Store *kit_s3_store(const KitS3 *server, const char *bucket);
/* One signed request by hand: its status, 0 when it failed. `body` may be NULL; the answer's body
 * goes to `out` when that is not NULL. */
int kit_s3_request(const S3Options *options, const char *method, const char *key, const char *query,
                   const char *body, Text *out);
