/* An array of numbers read straight from the text into floats, because a query's vector is nearly
 * all of a search's body: simdjson takes twice as long, and a tree of it 40 bytes a number.
 *
 * Only what is plain is read here, and what is read is what simdjson reads, rounded to a float: the
 * member is the root's, before any other that holds an array or an object, and no number is on the
 * edge between two floats or outside of their normal range. The text with an empty array in its
 * place is then read as any other. Else all of it is, and numbers come from the tree. */
#include "base/json.h"

#include "base/owned.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define EDGE 16        /* steps of a double on both sides of where a float's rounding changes */
#define POWER 38       /* of ten, at most, and at least minus that */
#define POWER_DIGITS 8 /* of an exponent that is plain */

/* ---- Numbers. Readers give where they stopped; NULL: not plain ---- */

static const double powers[2 * POWER + 1] = {
    1e-38, 1e-37, 1e-36, 1e-35, 1e-34, 1e-33, 1e-32, 1e-31, 1e-30, 1e-29, 1e-28, 1e-27, 1e-26,
    1e-25, 1e-24, 1e-23, 1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17, 1e-16, 1e-15, 1e-14, 1e-13,
    1e-12, 1e-11, 1e-10, 1e-9,  1e-8,  1e-7,  1e-6,  1e-5,  1e-4,  1e-3,  1e-2,  1e-1,  1e0,
    1e1,   1e2,   1e3,   1e4,   1e5,   1e6,   1e7,   1e8,   1e9,   1e10,  1e11,  1e12,  1e13,
    1e14,  1e15,  1e16,  1e17,  1e18,  1e19,  1e20,  1e21,  1e22,  1e23,  1e24,  1e25,  1e26,
    1e27,  1e28,  1e29,  1e30,  1e31,  1e32,  1e33,  1e34,  1e35,  1e36,  1e37,  1e38};

/* Eight bytes as a number, the first lowest; zeros beyond the end. */
static inline uint64_t eight_bytes(const char *at, const char *end) {
    uint64_t word = 0;
    if (end - at >= 8)
        memcpy(&word, at, 8);
    else
        memcpy(&word, at, (size_t)(end - at));
    return word;
}

/* How many of eight bytes, less '0' each, are digits before the first that is none. A carry leaves
 * only bytes that are no digits. */
static inline size_t digits_of(uint64_t word) {
    uint64_t others = ((word + 0x7676767676767676u) | word) & 0x8080808080808080u;
    return others ? (size_t)__builtin_ctzll(others) / 8 : 8;
}

/* The number that eight digits are: pairs, then fours, then all. */
static inline uint64_t value_of(uint64_t digits) {
    digits = (digits * 10 + (digits >> 8)) & 0x00ff00ff00ff00ffu;
    digits = (digits * 100 + (digits >> 16)) & 0x0000ffff0000ffffu;
    return (digits * 10000 + (digits >> 32)) & 0xffffffffu;
}

/* At least one digit; puts them behind those of *value, as far as that holds them. */
static inline const char *read_digits(const char *at, const char *end, uint64_t *value) {
    static const uint64_t tens[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    const char *from = at;
    size_t count = 8;
    while (count == 8) {
        uint64_t word = eight_bytes(at, end) ^ 0x3030303030303030u;
        count = digits_of(word);
        if (count == 0) break;
        uint64_t more = value_of(word << (8 * (8 - count)));
        if (__builtin_mul_overflow(*value, tens[count], value) ||
            __builtin_add_overflow(*value, more, value))
            return NULL;
        at += count;
    }
    return at > from ? at : NULL;
}

static const char *read_exponent(const char *at, const char *end, int *power) {
    uint64_t value = 0;
    bool minus = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) at++;
    const char *from = at;
    at = read_digits(at, end, &value);
    if (!at || at - from > POWER_DIGITS) return NULL;
    *power += minus ? -(int)value : (int)value;
    return at;
}

/* Three roundings to a double are less than EDGE steps from one. */
static inline bool to_float(uint64_t digits, bool minus, int power, float *out) {
    if (digits == 0) return *out = 0, true;
    if (digits > INT64_MAX || power < -POWER || power > POWER) return false;
    int64_t whole = minus ? -(int64_t)digits : (int64_t)digits; /* no branch: signs are random */
    double value = (double)whole * powers[power + POWER], size = fabs(value);
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t edge = (bits & 0x1fffffff) - 0x10000000 + EDGE; /* of the 29 bits a float lacks */
    *out = (float)value;
    return edge > 2 * EDGE && size >= (double)FLT_MIN && size <= (double)FLT_MAX;
}

static inline const char *read_number(const char *at, const char *end, float *out) {
    uint64_t digits = 0;
    int power = 0;
    bool minus = at < end && *at == '-';
    at += minus;
    if (at < end && *at == '0')
        at++; /* and no digit behind it */
    else if (!(at = read_digits(at, end, &digits)))
        return NULL;
    if (at < end && *at == '.') {
        const char *from = ++at;
        if (!(at = read_digits(at, end, &digits))) return NULL;
        power = -(int)(at - from);
    }
    if (at < end && (*at == 'e' || *at == 'E') && !(at = read_exponent(at + 1, end, &power)))
        return NULL;
    return to_float(digits, minus, power, out) ? at : NULL;
}

/* ---- The array ---- */

static inline bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline const char *skip_space(const char *at, const char *end) {
    while (at < end && is_space(*at)) at++;
    return at;
}

/* `at` is where its '[' is, if it is one. */
static const char *read_array(const char *at, const char *end, Arena *arena, Json *out) {
    if (at == end || *at != '[') return NULL;
    float *floats = arena_array(arena, float, (end - at) / 2 + 1); /* "1," */
    size_t count = 0;
    do {
        at = read_number(skip_space(at + 1, end), end, &floats[count++]);
        if (!at) return NULL;
        at = skip_space(at, end);
    } while (at < end && *at == ',');
    *out = (Json){.kind = JSON_FLOATS, .floats = floats, .len = count};
    return at < end && *at == ']' ? at + 1 : NULL;
}

/* A text of its own, not the end of another; within one '{' and no '[', which may be in texts. */
static bool is_of_root(Str text, const char *found) {
    size_t braces = 0;
    for (const char *at = text.data; at < found; at++) {
        braces += *at == '{';
        if (*at == '[') return false;
    }
    return braces == 1 && (found[-1] == '{' || found[-1] == ',' || is_space(found[-1]));
}

/* Where the value of the root's member of this name starts; NULL: not plainly to be seen. */
static const char *find_member(Str text, const char *member) {
    const char *at = text.data, *end = text.data + text.len, *found;
    Str name = str_from(member);
    while ((found = memmem(at, (size_t)(end - at), name.data, name.len))) {
        at = found + name.len;
        if (found == text.data || found[-1] != '"' || at == end || *at != '"') continue;
        at = skip_space(at + 1, end);
        if (at == end || *at != ':') continue;
        return is_of_root(text, found - 1) ? skip_space(at + 1, end) : NULL;
    }
    return NULL;
}

static bool read_plain(Str text, const char *member, Arena *arena, const Json **out) {
    OWNED(text_close) Text other = {0};
    const char *end = text.data + text.len, *array = find_member(text, member), *at;
    Json floats;
    Err ignored;
    if (!array || !(at = read_array(array, end, arena, &floats))) return false;
    text_add(&other, (Str){text.data, (size_t)(array - text.data)});
    text_add(&other, STR("[]"));
    text_add(&other, (Str){at, (size_t)(end - at)});
    if (!json_read(text_str(&other), arena, out, &ignored)) return false;
    Json *value = (Json *)json_get(*out, member); /* of a tree that is still ours alone */
    if (!value) return false;
    floats.name = value->name;
    *value = floats;
    return true;
}

bool json_read_floats(Str text, const char *member, Arena *arena, const Json **out, Err *err) {
    return (member && read_plain(text, member, arena, out)) || json_read(text, arena, out, err);
}

bool json_floats(const Json *list, float *out) {
    double number;
    if (list->kind == JSON_FLOATS) {
        memcpy(out, list->floats, list->len * sizeof *out);
        return true;
    }
    for (size_t i = 0; i < list->len; i++) {
        if (!json_number(&list->items[i], &number)) return false;
        out[i] = (float)number;
    }
    return true;
}
