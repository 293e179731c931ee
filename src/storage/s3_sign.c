/* The canonical request is hashed, the hash signed with a key derived for one day. What is sorted
 * is sorted as bytes: names of headers here, encoded pairs of the query. */
#include "storage/s3_sign.h"

#include "base/base.h"
#include "net/net.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEADERS_MAX 24

static int pair_order(const void *a, const void *b) {
    const S3Pair *x = a, *y = b;
    int order = str_compare(x->name, y->name);
    return order ? order : str_compare(x->value, y->value);
}

static Str encoded(Str text, Arena *arena) {
    OWNED(text_close) Text out = {0};
    url_encode(&out, text);
    return arena_copy(arena, text_str(&out));
}

Str s3_query(const S3Pair *pairs, size_t count, Arena *arena) {
    OWNED(text_close) Text out = {0};
    S3Pair *sorted = arena_array(arena, S3Pair, count);
    for (size_t i = 0; i < count; i++)
        sorted[i] = (S3Pair){encoded(pairs[i].name, arena), encoded(pairs[i].value, arena)};
    if (count) qsort(sorted, count, sizeof *sorted, pair_order);
    for (size_t i = 0; i < count; i++)
        text_print(&out, "%s%.*s=%.*s", i ? "&" : "", SHOW(sorted[i].name), SHOW(sorted[i].value));
    return arena_copy(arena, text_str(&out));
}

static void hex(const uint8_t hash[32], char out[S3_HEX_SIZE]) {
    for (int i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

void s3_hash(Bytes data, char out[S3_HEX_SIZE]) {
    uint8_t hash[32];
    if (!EVP_Digest(data.size ? (const void *)data.data : "", data.size, hash, NULL, EVP_sha256(),
                    NULL))
        abort();
    hex(hash, out);
}

static void hmac(Bytes key, Str text, uint8_t out[32]) {
    if (!HMAC(EVP_sha256(), key.data, (int)key.size, (const uint8_t *)text.data, text.len, out,
              NULL))
        abort();
}

static void derive(const KeyPair *pair, const char *day, Str region, uint8_t out[32]) {
    char start[sizeof pair->secret_access_key + 4];
    int len = snprintf(start, sizeof start, "AWS4%s", pair->secret_access_key);
    hmac((Bytes){(const uint8_t *)start, (size_t)len}, str_from(day), out);
    OPENSSL_cleanse(start, sizeof start);
    hmac((Bytes){out, 32}, region, out);
    hmac((Bytes){out, 32}, STR("s3"), out);
    hmac((Bytes){out, 32}, STR("aws4_request"), out);
}

static void day_key(S3Signer *signer, const KeyPair *pair, const char *day, uint8_t out[32]) {
    pthread_mutex_lock(&signer->lock);
    if (signer->generation != pair->generation || strcmp(signer->day, day) != 0) {
        derive(pair, day, signer->region, signer->key);
        snprintf(signer->day, sizeof signer->day, "%s", day);
        signer->generation = pair->generation;
    }
    memcpy(out, signer->key, 32);
    pthread_mutex_unlock(&signer->lock);
}

/* Trimmed, inner runs of spaces as one: only in what is signed, not in what is sent. */
static void add_value(Text *out, Str value) {
    value = str_trim(value);
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] != ' ' || value.data[i - 1] != ' ') text_add_byte(out, value.data[i]);
}

/* All the headers that are signed, sorted; returns how many. */
static size_t collect(const KeyPair *pair, const S3Signing *signing, Str date,
                      S3Pair out[HEADERS_MAX]) {
    size_t count = 0;
    assert(signing->header_count + 4 <= HEADERS_MAX);
    out[count++] = (S3Pair){STR("host"), signing->host};
    out[count++] = (S3Pair){STR("x-amz-content-sha256"), str_from(signing->payload)};
    out[count++] = (S3Pair){STR("x-amz-date"), date};
    if (pair->session_token[0])
        out[count++] = (S3Pair){STR("x-amz-security-token"), str_from(pair->session_token)};
    for (size_t i = 0; i < signing->header_count; i++) out[count++] = signing->headers[i];
    qsort(out, count, sizeof *out, pair_order);
    return count;
}

static Str signed_names(const S3Pair *headers, size_t count, Arena *arena) {
    OWNED(text_close) Text out = {0};
    for (size_t i = 0; i < count; i++)
        text_print(&out, "%s%.*s", i ? ";" : "", SHOW(headers[i].name));
    return arena_copy(arena, text_str(&out));
}

static void canonical_hash(const S3Signing *signing, const S3Pair *headers, size_t count, Str names,
                           char out[S3_HEX_SIZE]) {
    OWNED(text_close) Text text = {0};
    text_print(&text, "%s\n%.*s\n%.*s\n", signing->method, SHOW(signing->path),
               SHOW(signing->query));
    for (size_t i = 0; i < count; i++) {
        text_print(&text, "%.*s:", SHOW(headers[i].name));
        add_value(&text, headers[i].value);
        text_add_byte(&text, '\n');
    }
    text_print(&text, "\n%.*s\n%s", SHOW(names), signing->payload);
    s3_hash(text_bytes(&text), out);
}

Str *s3_sign(S3Signer *signer, const KeyPair *pair, const S3Signing *signing, Arena *arena,
             size_t *out_count) {
    S3Pair headers[HEADERS_MAX];
    char date[24], day[9], hash[S3_HEX_SIZE];
    uint8_t key[32], signature[32];
    struct tm t;
    time_t now = (time_t)signing->now_s;
    gmtime_r(&now, &t);
    strftime(date, sizeof date, "%Y%m%dT%H%M%SZ", &t);
    strftime(day, sizeof day, "%Y%m%d", &t);
    size_t count = collect(pair, signing, str_from(date), headers);
    Str names = signed_names(headers, count, arena);
    canonical_hash(signing, headers, count, names, hash);
    Str scope = arena_print(arena, "%s/%.*s/s3/aws4_request", day, SHOW(signer->region));
    Str text = arena_print(arena, "AWS4-HMAC-SHA256\n%s\n%.*s\n%s", date, SHOW(scope), hash);
    day_key(signer, pair, day, key);
    hmac((Bytes){key, sizeof key}, text, signature);
    hex(signature, hash);
    Str *lines = arena_array(arena, Str, count + 1);
    for (size_t i = 0; i < count; i++)
        lines[i] = arena_print(arena, "%.*s: %.*s", SHOW(headers[i].name), SHOW(headers[i].value));
    lines[count] = arena_print(arena,
                               "Authorization: AWS4-HMAC-SHA256 Credential=%s/%.*s, "
                               "SignedHeaders=%.*s, Signature=%s",
                               pair->access_key_id, SHOW(scope), SHOW(names), hash);
    *out_count = count + 1;
    return lines;
}
