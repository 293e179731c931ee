/* Column bounds for manifests (spec, appendix D "Binary single-value serialization"), from the text
 * that DuckDB's RETURN_STATS gives. Readers leave out files by them, so that a wrong bound loses
 * rows while a missing one only costs time: whatever is not surely right gives none. */
#include "catalog/type.h"

#include "base/base.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOUND_CODE_POINTS 16 /* as other writers truncate text */
#define BOUND_TEXT_MAX 64    /* of a number, date or time */

static void put_le(Text *out, uint64_t value, int size) {
    for (int i = 0; i < size; i++) text_add_byte(out, (char)(value >> (8 * i)));
}

/* Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil. */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned of_era = (unsigned)(year - era * 400);
    unsigned of_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
    unsigned days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return era * 146097 + (int64_t)days - 719468;
}

static bool read_date(const char *text, int64_t *days, int *consumed) {
    int year;
    unsigned month, day;
    if (sscanf(text, "%d-%u-%u%n", &year, &month, &day, consumed) != 3) return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > 31) return false;
    *days = days_from_civil(year, month, day);
    return true;
}

static bool read_time(const char *text, int64_t *us, int *consumed) {
    unsigned hour, minute, second;
    if (sscanf(text, "%2u:%2u:%2u%n", &hour, &minute, &second, consumed) != 3) return false;
    if (hour > 24 || minute > 59 || second > 60) return false;
    *us = ((int64_t)hour * 60 + minute) * 60000000 + (int64_t)second * 1000000;
    if (text[*consumed] != '.') return true;
    int64_t unit = 100000;
    const char *digit = text + *consumed + 1;
    for (; *digit >= '0' && *digit <= '9'; digit++, unit /= 10) *us += (*digit - '0') * unit;
    *consumed = (int)(digit - text);
    return true;
}

static bool bound_date(const char *text, Text *out) {
    int64_t days;
    int consumed;
    if (!read_date(text, &days, &consumed) || text[consumed]) return false;
    put_le(out, (uint64_t)days, 4);
    return true;
}

static bool bound_time(const char *text, Text *out) {
    int64_t us;
    int consumed;
    if (!read_time(text, &us, &consumed) || text[consumed]) return false;
    put_le(out, (uint64_t)us, 8);
    return true;
}

/* DuckDB writes instants in UTC, with "+00" behind them. */
static bool bound_timestamp(const char *text, bool zoned, Text *out) {
    int64_t days, us;
    int date, time;
    if (!read_date(text, &days, &date) || (text[date] != ' ' && text[date] != 'T')) return false;
    text += date + 1;
    if (!read_time(text, &us, &time)) return false;
    text += time;
    if (*text && !(zoned && (!strcmp(text, "+00") || !strcmp(text, "Z")))) return false;
    put_le(out, (uint64_t)(days * 86400000000 + us), 8);
    return true;
}

/* Zeros come as they were seen first, so that the sign says nothing: -0 below, +0 above. */
static bool bound_real(const char *text, bool upper, bool single, Text *out) {
    char *end;
    double value = single ? strtof(text, &end) : strtod(text, &end);
    if (*end || end == text || isnan(value)) return false;
    if (value == 0) value = upper ? 0.0 : -0.0;
    float narrow = (float)value;
    text_add(out, single ? (Str){(char *)&narrow, 4} : (Str){(char *)&value, 8});
    return true;
}

/* The unscaled number, big-endian two's complement in as few bytes as hold it. */
static bool bound_decimal(const char *text, int scale, Text *out) {
    bool negative = *text == '-', point = false;
    __int128 value = 0;
    int digits = 0, behind = 0;
    for (text += negative; *text; text++) {
        if (*text == '.' && !point) {
            point = true;
            continue;
        }
        if (*text < '0' || *text > '9' || ++digits > 38) return false;
        value = value * 10 + (*text - '0');
        behind += point;
    }
    if (digits == 0 || behind > scale || digits + scale - behind > 38) return false;
    for (; behind < scale; behind++) value *= 10;
    if (negative) value = -value;
    uint8_t bytes[16];
    int at = 16;
    for (bool done = false; !done && at > 0;) {
        bytes[--at] = (uint8_t)value;
        value >>= 8;
        done = value == (bytes[at] & 128 ? -1 : 0);
    }
    text_add(out, (Str){(char *)bytes + at, (size_t)(16 - at)});
    return true;
}

static size_t code_point_start(Str text, size_t end) {
    size_t start = end - 1;
    while (start > 0 && ((unsigned char)text.data[start] & 0xC0) == 0x80) start--;
    return start;
}

static uint32_t code_point_read(Str one) {
    const unsigned char *p = (const unsigned char *)one.data;
    switch (one.len) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 31u) << 6 | (p[1] & 63u);
    case 3:
        return (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
    default:
        return (p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
    }
}

static void code_point_add(Text *out, uint32_t c) {
    if (c < 0x80) {
        text_add_byte(out, (char)c);
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xC0, 0xE0, 0xF0};
    text_add_byte(out, (char)(lead[more] | c >> (6 * more)));
    while (more-- > 0) text_add_byte(out, (char)(0x80 | (c >> (6 * more) & 63)));
}

/* The last code point that can grow grows, what follows is cut: above every text that begins so. */
static bool text_above(Str cut, Text *out) {
    for (size_t end = cut.len; end > 0;) {
        size_t start = code_point_start(cut, end);
        uint32_t c = code_point_read(str_slice(cut, start, end));
        if (c < 0x10FFFF) {
            text_add(out, str_slice(cut, 0, start));
            code_point_add(out, c + 1 == 0xD800 ? 0xE000 : c + 1);
            return true;
        }
        end = start;
    }
    return false;
}

static bool bound_string(Str text, bool upper, Text *out) {
    size_t end = 0;
    if (!str_is_utf8(text)) return false;
    for (int points = 0; end < text.len && points < BOUND_CODE_POINTS; points++) {
        end++;
        while (end < text.len && ((unsigned char)text.data[end] & 0xC0) == 0x80) end++;
    }
    Str cut = str_slice(text, 0, end);
    if (end < text.len && upper) return text_above(cut, out);
    text_add(out, cut);
    return true;
}

static bool bound_integer(Str text, int size, Text *out) {
    int64_t value;
    if (!str_to_i64(text, &value)) return false;
    if (size == 4 && (value < INT32_MIN || value > INT32_MAX)) return false;
    put_le(out, (uint64_t)value, size);
    return true;
}

static bool bound_boolean(Str text, Text *out) {
    bool truth = str_is(text, "1") || str_is(text, "true");
    if (!truth && !str_is(text, "0") && !str_is(text, "false")) return false;
    text_add_byte(out, truth);
    return true;
}

bool bound_from_text(const Type *type, Str text, bool upper, Text *out) {
    char copy[BOUND_TEXT_MAX + 1];
    if (type->kind == TYPE_STRING) return bound_string(text, upper, out);
    if (text.len == 0 || text.len > BOUND_TEXT_MAX) return false;
    snprintf(copy, sizeof copy, "%.*s", SHOW(text));
    switch (type->kind) {
    case TYPE_BOOLEAN:
        return bound_boolean(text, out);
    case TYPE_INT:
        return bound_integer(text, 4, out);
    case TYPE_LONG:
        return bound_integer(text, 8, out);
    case TYPE_FLOAT:
    case TYPE_DOUBLE:
        return bound_real(copy, upper, type->kind == TYPE_FLOAT, out);
    case TYPE_DECIMAL:
        return bound_decimal(copy, type->scale, out);
    case TYPE_DATE:
        return bound_date(copy, out);
    case TYPE_TIME:
        return bound_time(copy, out);
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return bound_timestamp(copy, type->kind == TYPE_TIMESTAMPTZ, out);
    default: /* uuid, fixed, binary: readers disagree on their order */
        return false;
    }
}
