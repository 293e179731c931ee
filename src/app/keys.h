/* Access keys: [[auth.keys]] of the configuration. A key is "lh_" and 256 random bits in hex; the
 * configuration holds its SHA-256 alone (docs/adr/0026). `admin` includes the other scopes, `write`
 * does not include `read`. Thread rule: read-only once they are read. */
#pragma once

#include "base/base.h"

#include <openssl/sha.h>

typedef enum KeyScope { KEY_READ = 1, KEY_WRITE = 2, KEY_ADMIN = 4 } KeyScope;

typedef struct AccessKey {
    Str name;
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    unsigned scopes; /* a bit each */
    Str profile;     /* that it is bound to; empty: none */
} AccessKey;

typedef struct AccessKeys {
    const AccessKey *items;
    size_t len;
} AccessKeys;

/* `list` may be NULL; *out borrows from it and from the arena. LH_INVALID names the key by its name
 * or place, and never repeats what stands where its hash should. */
bool keys_read(const Json *list, Arena *arena, AccessKeys *out, Err *err);
/* NULL: none of them. Takes the same time whichever it is. */
const AccessKey *keys_find(const AccessKeys *keys, Str secret);
void key_scopes_write(unsigned scopes, Text *out); /* "read, write" */

typedef struct NewKey {
    Str name, scopes, profile; /* scopes: commas between them */
} NewKey;
/* A new key on the first line, then what the configuration needs of it. Nothing is kept. */
bool key_make(const NewKey *wanted, Text *out, Err *err);
