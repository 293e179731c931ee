#include "base/str.h"

#include "base/json_simdjson.h"
#include "base/owned.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LONG_TEXT 64 /* from here on SIMD pays for the call */

Str str_from(const char *text) {
    return (Str){text, text ? strlen(text) : 0};
}

bool str_equal(Str a, Str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool str_is(Str a, const char *text) {
    return str_equal(a, str_from(text));
}

bool str_equal_nocase(Str a, Str b) {
    return a.len == b.len && (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}

int str_compare(Str a, Str b) {
    size_t shared = MIN(a.len, b.len);
    int order = shared ? memcmp(a.data, b.data, shared) : 0;
    if (order) return order;
    return (a.len > b.len) - (a.len < b.len);
}

bool str_starts(Str text, Str prefix) {
    return str_equal(str_slice(text, 0, prefix.len), prefix);
}

bool str_ends(Str text, Str suffix) {
    return text.len >= suffix.len &&
           str_equal(str_slice(text, text.len - suffix.len, text.len), suffix);
}

bool str_find(Str text, Str part, size_t *at) {
    if (part.len == 0) return *at = 0, true;
    if (text.len == 0) return false;
    const char *found = memmem(text.data, text.len, part.data, part.len);
    if (!found) return false;
    *at = (size_t)(found - text.data);
    return true;
}

Str str_slice(Str text, size_t from, size_t to) {
    to = MIN(to, text.len);
    from = MIN(from, to);
    return (Str){text.data ? text.data + from : NULL, to - from};
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

Str str_trim(Str text) {
    while (text.len && is_space(text.data[0])) text = str_slice(text, 1, text.len);
    while (text.len && is_space(text.data[text.len - 1])) text.len--;
    return text;
}

Str str_until(Str *rest, char stop) {
    const char *found = rest->len ? memchr(rest->data, stop, rest->len) : NULL;
    size_t len = found ? (size_t)(found - rest->data) : rest->len;
    Str part = str_slice(*rest, 0, len);
    *rest = str_slice(*rest, found ? len + 1 : len, rest->len);
    return part;
}

bool str_to_u64(Str text, uint64_t *out) {
    uint64_t value = 0;
    if (text.len == 0) return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        if (__builtin_mul_overflow(value, 10, &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value)) return false;
    }
    *out = value;
    return true;
}

bool str_to_i64(Str text, int64_t *out) {
    bool negative = text.len && text.data[0] == '-';
    uint64_t value;
    if (!str_to_u64(str_slice(text, negative, text.len), &value)) return false;
    if (value > (uint64_t)INT64_MAX + negative) return false;
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

bool str_to_real(Str text, double *out) {
    char buffer[64];
    if (text.len == 0 || text.len >= sizeof buffer || is_space(text.data[0])) return false;
    memcpy(buffer, text.data, text.len);
    buffer[text.len] = 0;
    if (strpbrk(buffer, "xXnNiI")) return false; /* no hexadecimal, infinity or NaN */
    char *end;
    double value = strtod(buffer, &end);
    if (end != buffer + text.len || value > 1.7e308 || value < -1.7e308) return false;
    *out = value;
    return true;
}

/* Length of the well-formed sequence at `p` (Unicode 15, table 3-7), 0 when there is none. */
static size_t utf8_sequence(const unsigned char *p, size_t left) {
    if (p[0] < 0x80) return 1;
    size_t len = p[0] >= 0xC2 && p[0] <= 0xDF   ? 2
                 : (p[0] & 0xF0) == 0xE0        ? 3
                 : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4
                                                : 0;
    if (len == 0 || len > left) return 0;
    unsigned char low = 0x80, high = 0xBF;
    if (p[0] == 0xE0) low = 0xA0;
    if (p[0] == 0xED) high = 0x9F;
    if (p[0] == 0xF0) low = 0x90;
    if (p[0] == 0xF4) high = 0x8F;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    return len;
}

/* Eight bytes at once where they are ASCII. */
bool str_is_utf8(Str text) {
    if (text.len >= LONG_TEXT) return json_simdjson_is_utf8(text.data, text.len);
    for (size_t i = 0; i < text.len;) {
        uint64_t eight;
        if (i + 8 <= text.len && (memcpy(&eight, text.data + i, 8), true) &&
            !(eight & 0x8080808080808080)) {
            i += 8;
            continue;
        }
        size_t len = utf8_sequence((const unsigned char *)text.data + i, text.len - i);
        if (len == 0) return false;
        i += len;
    }
    return true;
}

size_t str_distance(Str a, Str b) {
    enum { LEN_MAX = 64 };
    size_t row[LEN_MAX + 1];
    if (a.len > LEN_MAX || b.len > LEN_MAX) return LEN_MAX + 1;
    for (size_t j = 0; j <= b.len; j++) row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replace = diagonal + (a.data[i - 1] != b.data[j - 1]);
            diagonal = row[j];
            row[j] = MIN(replace, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[b.len];
}
