#include "app/keys.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define KEYS_MAX 1000
#define KEY_NAME_MAX 64
#define SECRET_BITS 256

typedef struct KeyValues {
    Str name, sha256, profile;
    const Json *scopes;
} KeyValues;

static const Option key_options[] = {
    {"name",        LH_TEXT, AT(KeyValues, name), REQUIRED, "of the key, for people and logs"},
    {"sha256", LH_TEXT, AT(KeyValues, sha256), REQUIRED, "of the key itself, in hex"},
    {"scopes",     LH_JSON, AT(KeyValues, scopes), REQUIRED, "a list of read, write and admin"},
    {"profile",             LH_TEXT, AT(KeyValues, profile), NULL, "the model profile that it is bound to"},
    {0     },
};

static const char *const scope_names[] = {"read", "write", "admin"}; /* by bit */

static bool name_is_plain(Str name) {
    bool ok = name.len > 0 && name.len <= KEY_NAME_MAX;
    for (size_t i = 0; ok && i < name.len; i++) {
        char c = name.data[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '.' || c == '_' || c == '-';
    }
    return ok;
}

static bool name_check(const char *what, Str name, Err *err) {
    return name_is_plain(name) ||
           err_set(err, LH_INVALID, "'%s' must be 1 to %d of a-z A-Z 0-9 . _ -", what,
                   KEY_NAME_MAX);
}

static bool scope_add(Str name, unsigned *scopes, Err *err) {
    for (size_t i = 0; i < COUNT(scope_names); i++)
        if (str_is(name, scope_names[i])) return *scopes |= 1u << i, true;
    return err_set(err, LH_INVALID, "'scopes' holds read, write and admin, not '%.*s'",
                   (int)MIN(name.len, 20), name.data);
}

static bool key_check(const AccessKey *key, Err *err) {
    if (!name_check("name", key->name, err)) return false;
    if (key->profile.len && !name_check("profile", key->profile, err)) return false;
    if (!key->scopes) return err_set(err, LH_INVALID, "'scopes' is empty: name read, write, admin");
    return !key->profile.len || !(key->scopes & KEY_ADMIN) ||
           err_set(err, LH_INVALID,
                   "a key that is bound to a profile cannot have the scope 'admin', which could "
                   "change that profile");
}

static bool read_hex(Str text, uint8_t out[SHA256_DIGEST_LENGTH]) {
    static const char digits[] = "0123456789abcdef";
    if (text.len != 2 * SHA256_DIGEST_LENGTH) return false;
    for (size_t i = 0; i < text.len; i++) {
        const char *digit = memchr(digits, tolower((unsigned char)text.data[i]), sizeof digits - 1);
        if (!digit) return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | (digit - digits));
    }
    return true;
}

static bool key_read(const Json *json, AccessKey *out, Err *err) {
    KeyValues values = {0};
    if (!options_read(key_options, json, &values, err)) return false;
    *out = (AccessKey){.name = values.name, .profile = values.profile};
    if (!read_hex(values.sha256, out->sha256))
        return err_set(err, LH_INVALID,
                       "'sha256' must be 64 hexadecimal digits, as 'lakehouse key new' prints "
                       "them; the key itself is not kept here");
    if (values.scopes->kind != JSON_ARRAY)
        return err_set(err, LH_INVALID, "'scopes' must be a list, as in [\"read\", \"write\"]");
    for (size_t i = 0; i < values.scopes->len; i++) {
        const Json *scope = &values.scopes->items[i];
        if (!scope_add(scope->kind == JSON_TEXT ? scope->text : STR(""), &out->scopes, err))
            return false;
    }
    return key_check(out, err);
}

static bool is_twice(const AccessKey *keys, size_t count, const AccessKey *key) {
    for (size_t i = 0; i < count; i++)
        if (str_equal(keys[i].name, key->name) ||
            !memcmp(keys[i].sha256, key->sha256, sizeof key->sha256))
            return true;
    return false;
}

bool keys_read(const Json *list, Arena *arena, AccessKeys *out, Err *err) {
    size_t len = list && list->kind == JSON_ARRAY ? list->len : 0;
    AccessKey *items = arena_array(arena, AccessKey, len + 1);
    if (list && list->kind != JSON_ARRAY)
        return err_set(err, LH_INVALID, "[auth] 'keys' must be a list: [[auth.keys]], one each");
    if (len > KEYS_MAX) return err_set(err, LH_TOO_BIG, "[auth] has more than %d keys", KEYS_MAX);
    for (size_t i = 0; i < len; i++) {
        if (!key_read(&list->items[i], &items[i], err))
            return err_while(err, "[[auth.keys]], number %zu", i + 1);
        if (is_twice(items, i, &items[i]))
            return err_set(err, LH_INVALID, "[[auth.keys]] has '%.*s', its name or its hash, twice",
                           SHOW(items[i].name));
    }
    *out = (AccessKeys){items, len};
    return true;
}

/* What is compared are hashes, of which a client cannot choose the bytes; and all of them. */
const AccessKey *keys_find(const AccessKeys *keys, Str secret) {
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    const AccessKey *found = NULL;
    SHA256((const uint8_t *)(secret.len ? secret.data : ""), secret.len, sha256);
    for (size_t i = 0; i < keys->len; i++)
        if (!CRYPTO_memcmp(keys->items[i].sha256, sha256, sizeof sha256)) found = &keys->items[i];
    return found;
}

static void scopes_write(unsigned scopes, const char *quote, Text *out) {
    const char *before = "";
    for (size_t i = 0; i < COUNT(scope_names); i++) {
        if (!(scopes >> i & 1)) continue;
        text_print(out, "%s%s%s%s", before, quote, scope_names[i], quote);
        before = ", ";
    }
}

void key_scopes_write(unsigned scopes, Text *out) {
    scopes_write(scopes, "", out);
}

static void secret_make(Text *out) {
    text_add(out, STR("lh_"));
    for (int i = 0; i < SECRET_BITS / 64; i++)
        text_print(out, "%016llx", (unsigned long long)random_u64());
}

static void toml_write(const AccessKey *key, Text *out) {
    text_print(out, "[[auth.keys]]\nname = \"%.*s\"\nsha256 = \"", SHOW(key->name));
    for (size_t i = 0; i < sizeof key->sha256; i++) text_print(out, "%02x", key->sha256[i]);
    text_add(out, STR("\"\nscopes = ["));
    scopes_write(key->scopes, "\"", out);
    text_add(out, STR("]\n"));
    if (key->profile.len) text_print(out, "profile = \"%.*s\"\n", SHOW(key->profile));
}

bool key_make(const NewKey *wanted, Text *out, Err *err) {
    OWNED(text_close) Text secret = {0};
    AccessKey key = {.name = wanted->name, .profile = wanted->profile};
    Str rest = wanted->scopes;
    while (rest.len)
        if (!scope_add(str_trim(str_until(&rest, ',')), &key.scopes, err)) return false;
    if (!key_check(&key, err)) return false;
    secret_make(&secret);
    SHA256((const uint8_t *)secret.data, secret.len, key.sha256);
    text_print(out, "%.*s\n\n", SHOW(text_str(&secret)));
    toml_write(&key, out);
    return true;
}
