/* Key pairs of S3 buckets, found by the name that a bucket refers to them with (its secret_ref):
 *
 *     NAME         [secrets.NAME] of the configuration: access_key_id, secret_access_key and
 *                  session_token, or file = "path" of a file with these keys, one `name = value` a
 *                  line (with an aws_ before them too, as in AWS's own credentials file), or
 *                  env = "PREFIX"
 *     env:PREFIX   PREFIX_ACCESS_KEY_ID, PREFIX_SECRET_ACCESS_KEY and PREFIX_SESSION_TOKEN
 *
 * A file (and the configuration's own) is looked at again at most once a second and read again when
 * it changed, so that keys are rotated without a restart. What is secret is never in a message.
 * Thread safe. */
#pragma once

#include "base/base.h"

typedef struct Secrets Secrets;

typedef struct KeyPair {
    char access_key_id[256], secret_access_key[256];
    char session_token[4096]; /* empty: none */
    uint64_t generation;      /* changes when the pair does; never 0 */
} KeyPair;

/* `table` is [secrets] of the configuration, or NULL; its strings are copied. `config_path` is the
 * file it came from, or NULL. LH_INVALID for a table that is malformed. */
bool secrets_open(const Json *table, const char *config_path, Secrets **out, Err *err);
void secrets_close(Secrets **secrets);
/* LH_INVALID "unknown_secret" names what is missing: the table, the variable, the file, the key.
 * While a file that was read before cannot be read, the pair it gave stays. */
bool secrets_get(Secrets *secrets, Str ref, KeyPair *out, Err *err);
