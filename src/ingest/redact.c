/* Texts that may hold a DSN, without its password: whatever stands between the first ':' after
 * "://" and the last '@' before the next '/', '?', '#' or space, and the value of each key that
 * names a secret in key=value and URL parameters. What looks like neither is left alone; of a text
 * that looks like one and is malformed, rather more than less goes. */
#include "ingest/source.h"

#include <string.h>

#define HIDDEN STR("***")

static const char *const secret_keys[] = {"password",    "passwd", "pwd",   "passphrase",
                                          "sslpassword", "secret", "token", "pass"};

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Where the authority of a URL ends. A password may hold '/', '?' and '#' unescaped although it
 * must not: an '@' later in the same word says so. */
static size_t authority_end(Str text, size_t from) {
    size_t end = from, last_at = SIZE_MAX;
    while (end < text.len && !is_space(text.data[end]) && text.data[end] != '"' &&
           text.data[end] != '\'')
        if (text.data[end++] == '@') last_at = end;
    return last_at == SIZE_MAX ? from : last_at;
}

/* After "://": the user stays, the password goes. Returns where to go on. */
static size_t redact_userinfo(Str text, size_t from, Text *out) {
    size_t end = authority_end(text, from), colon = from;
    if (end == from) return from;
    while (colon < end && text.data[colon] != ':') colon++;
    if (colon >= end) return from; /* a user alone */
    text_add(out, str_slice(text, from, colon + 1));
    text_add(out, HIDDEN);
    text_add_byte(out, '@');
    return end;
}

static bool names_secret(Str key) {
    for (size_t i = 0; i < COUNT(secret_keys); i++)
        if (str_equal_nocase(key, str_from(secret_keys[i]))) return true;
    return false;
}

/* The word that ends at `at`. */
static Str word_before(Str text, size_t at) {
    while (at > 0 && is_space(text.data[at - 1])) at--;
    size_t from = at;
    while (from > 0 && is_word(text.data[from - 1])) from--;
    return str_slice(text, from, at);
}

/* A value: quoted as libpq has it ('it\'s'), or up to a space, '&' or ';'. */
static size_t value_end(Str text, size_t at) {
    while (at < text.len && is_space(text.data[at])) at++;
    if (at == text.len) return at;
    char quote = text.data[at];
    if (quote != '\'' && quote != '"') {
        while (at < text.len && !is_space(text.data[at]) && !strchr("&;\"',}", text.data[at])) at++;
        return at;
    }
    for (at++; at < text.len && text.data[at] != quote; at++)
        if (text.data[at] == '\\') at++;
    return MIN(at + 1, text.len);
}

Str redact(Str text, Arena *arena) {
    OWNED(text_close) Text out = {0};
    for (size_t at = 0; at < text.len;) {
        if (str_starts(str_slice(text, at, text.len), STR("://"))) {
            text_add(&out, STR("://"));
            at = redact_userinfo(text, at + 3, &out);
        } else if (text.data[at] == '=' && names_secret(word_before(text, at))) {
            text_add_byte(&out, '=');
            text_add(&out, HIDDEN);
            at = value_end(text, at + 1);
        } else {
            text_add_byte(&out, text.data[at++]);
        }
    }
    return arena_copy(arena, text_str(&out));
}
