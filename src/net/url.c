#include "net/url.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(Str text, bool plus_is_space, Arena *arena, Str *out, Err *err) {
    char *copy = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '+' && plus_is_space) c = ' ';
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return err_code(err, LH_INVALID, "bad_escape",
                                "'%%' is not followed by two hexadecimal digits");
            c = (char)(high << 4 | low);
            if (c == 0) return err_code(err, LH_INVALID, "bad_escape", "'%%00' is not allowed");
            i += 2;
        }
        copy[len++] = c;
    }
    *out = (Str){copy, len};
    return true;
}

bool url_decode(Str text, Arena *arena, Str *out, Err *err) {
    return decode(text, false, arena, out, err);
}

static bool is_unreserved(char c) {
    char letter = c | 0x20;
    return (c >= '0' && c <= '9') || (letter >= 'a' && letter <= 'z') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

static void encode(Text *out, Str text, bool keep_slash) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (is_unreserved(c) || (c == '/' && keep_slash))
            text_add_byte(out, c);
        else
            text_print(out, "%%%02X", (unsigned char)c);
    }
}

void url_encode(Text *out, Str text) {
    encode(out, text, false);
}
void url_encode_path(Text *out, Str text) {
    encode(out, text, true);
}

bool url_query_next(Str *rest, Arena *arena, Str *name, Str *value, Err *err) {
    Str pair = {0}, left = *rest;
    while (left.len && !pair.len) pair = str_until(&left, '&');
    err->kind = LH_OK;
    if (!pair.len) return false;
    Str encoded = str_until(&pair, '='), decoded;
    if (!decode(encoded, true, arena, &decoded, err)) return false;
    if (!decode(pair, true, arena, value, err)) return false;
    *name = decoded;
    *rest = left;
    return true;
}
