#include "base/clock.h"
#include "base/json.h"
#include "base/json_chars.h"
#include "base/owned.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void before_value(JsonWriter *w) {
    if (w->comma) text_add_byte(w->out, ',');
    w->comma = true;
}

static void open_level(JsonWriter *w, char open, char close) {
    before_value(w);
    assert(w->depth < JSON_DEPTH_MAX - 1);
    text_add_byte(w->out, open);
    w->close[w->depth++] = close;
    w->comma = false;
}

void jw_object(JsonWriter *w) {
    open_level(w, '{', '}');
}
void jw_array(JsonWriter *w) {
    open_level(w, '[', ']');
}

void jw_end(JsonWriter *w) {
    assert(w->depth > 0);
    text_add_byte(w->out, w->close[--w->depth]);
    w->comma = true;
}

void jw_name_str(JsonWriter *w, Str name) {
    before_value(w);
    json_escape(w->out, name);
    text_add_byte(w->out, ':');
    w->comma = false;
}

void jw_name(JsonWriter *w, const char *name) {
    jw_name_str(w, str_from(name));
}

void jw_text(JsonWriter *w, Str text) {
    before_value(w);
    json_escape(w->out, text);
}

void jw_cstr(JsonWriter *w, const char *text) {
    if (text)
        jw_text(w, str_from(text));
    else
        jw_null(w);
}

void jw_print(JsonWriter *w, const char *format, ...) {
    char buffer[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(buffer, sizeof buffer, format, args);
    va_end(args);
    jw_text(w, (Str){buffer, MIN((size_t)MAX(len, 0), sizeof buffer - 1)});
}

void jw_int(JsonWriter *w, int64_t value) {
    char digits[JSON_CHARS_MAX];
    before_value(w);
    text_add(w->out, (Str){digits, json_chars_int(value, digits)});
}

void jw_uint(JsonWriter *w, uint64_t value) {
    char digits[JSON_CHARS_MAX];
    before_value(w);
    text_add(w->out, (Str){digits, json_chars_uint(value, digits)});
}

/* What needs no digits: JSON has no infinity and no NaN, and "-0" would be read as an integer. */
static bool special(Text *out, double value) {
    bool minus_zero = value == 0 && signbit(value);
    if (isfinite(value) && !minus_zero) return false;
    text_add(out, minus_zero ? STR("-0.0") : STR("null"));
    return true;
}

void jw_real(JsonWriter *w, double value) {
    char digits[JSON_CHARS_MAX];
    before_value(w);
    if (special(w->out, value)) return;
    text_add(w->out, (Str){digits, json_chars_real(value, digits)});
}

void jw_float(JsonWriter *w, float value) {
    char digits[JSON_CHARS_MAX];
    before_value(w);
    if (special(w->out, (double)value)) return;
    text_add(w->out, (Str){digits, json_chars_float(value, digits)});
}

void jw_flag(JsonWriter *w, bool value) {
    before_value(w);
    text_add(w->out, value ? STR("true") : STR("false"));
}

void jw_null(JsonWriter *w) {
    before_value(w);
    text_add(w->out, STR("null"));
}

void jw_raw(JsonWriter *w, Str json) {
    before_value(w);
    text_add(w->out, json);
}

static void write_members(JsonWriter *w, const Json *value) {
    value->kind == JSON_OBJECT ? jw_object(w) : jw_array(w);
    for (size_t i = 0; i < value->len; i++) {
        if (value->kind == JSON_OBJECT) jw_name_str(w, value->items[i].name);
        jw_json(w, &value->items[i]);
    }
    jw_end(w);
}

void jw_json(JsonWriter *w, const Json *value) {
    switch (value->kind) {
    case JSON_NULL:
        jw_null(w);
        break;
    case JSON_FLAG:
        jw_flag(w, value->flag);
        break;
    case JSON_INT:
        jw_int(w, value->integer);
        break;
    case JSON_UINT:
        jw_uint(w, value->natural);
        break;
    case JSON_REAL:
        jw_real(w, value->real);
        break;
    case JSON_TEXT:
        jw_text(w, value->text);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        write_members(w, value);
        break;
    case JSON_FLOATS:
        jw_array(w);
        for (size_t i = 0; i < value->len; i++) jw_float(w, value->floats[i]);
        jw_end(w);
        break;
    }
}

void jw_member_text(JsonWriter *w, const char *name, Str text) {
    jw_name(w, name), jw_text(w, text);
}
void jw_member_int(JsonWriter *w, const char *name, int64_t value) {
    jw_name(w, name), jw_int(w, value);
}
void jw_member_real(JsonWriter *w, const char *name, double value) {
    jw_name(w, name), jw_real(w, value);
}
void jw_member_tenths(JsonWriter *w, const char *name, double value) {
    jw_member_real(w, name, round(value * 10) / 10);
}
void jw_member_flag(JsonWriter *w, const char *name, bool value) {
    jw_name(w, name), jw_flag(w, value);
}

void jw_member_time(JsonWriter *w, const char *name, int64_t unix_ms) {
    char buffer[CLOCK_TEXT_SIZE];
    jw_name(w, name);
    if (unix_ms)
        jw_text(w, clock_text(unix_ms, buffer));
    else
        jw_null(w);
}

/* Bytes of the UTF-8 sequence at the start, 0 when malformed: then one byte becomes U+FFFD. */
static size_t sequence_len(Str text) {
    for (size_t len = 2; len <= 4 && len <= text.len; len++)
        if (str_is_utf8(str_slice(text, 0, len))) return len;
    return 0;
}

static size_t escape_one(Text *out, Str rest) {
    unsigned char c = (unsigned char)rest.data[0];
    static const char names[] = "btn?fr";
    if (c == '"' || c == '\\')
        text_print(out, "\\%c", c);
    else if (c >= 8 && c <= 13 && c != 11)
        text_print(out, "\\%c", names[c - 8]);
    else if (c < 0x20)
        text_print(out, "\\u%04x", c);
    else {
        size_t len = sequence_len(rest);
        text_add(out, len ? str_slice(rest, 0, len) : STR("\xEF\xBF\xBD"));
        return len ? len : 1;
    }
    return 1;
}

void json_escape(Text *out, Str text) {
    text_reserve(out, text.len + 2);
    text_add_byte(out, '"');
    size_t plain = 0;
    for (size_t i = 0; i < text.len;) {
        unsigned char c = (unsigned char)text.data[i];
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            i++;
            continue;
        }
        text_add(out, str_slice(text, plain, i));
        i += escape_one(out, str_slice(text, i, text.len));
        plain = i;
    }
    text_add(out, str_slice(text, plain, text.len));
    text_add_byte(out, '"');
}
