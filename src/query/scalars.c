/* Single values as text. These are the inner loops of every result that leaves the server: digits
 * are written by hand, because snprintf was half of the time. */
#include "query/engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_SECONDS 86400

void write_uint(Text *out, uint64_t value) {
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    text_add(out, (Str){digits + at, sizeof digits - at});
}

void write_int(Text *out, int64_t value) {
    if (value < 0) text_add_byte(out, '-');
    write_uint(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

static void write_uint128(Text *out, unsigned __int128 value) {
    char digits[40];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + (int)(value % 10));
    while (value /= 10);
    text_add(out, (Str){digits + at, sizeof digits - at});
}

void write_int128(Text *out, __int128 value) {
    if (value < 0) text_add_byte(out, '-');
    write_uint128(out, value < 0 ? 0 - (unsigned __int128)value : (unsigned __int128)value);
}

/* The low `width` decimal digits, zeros in front. */
static void write_padded(Text *out, uint64_t value, int width) {
    char *end = text_reserve(out, (size_t)width);
    for (int i = width - 1; i >= 0; i--, value /= 10) end[i] = (char)('0' + value % 10);
    out->len += (size_t)width;
}

void write_decimal(Text *out, __int128 value, int scale) {
    unsigned __int128 size = value < 0 ? 0 - (unsigned __int128)value : (unsigned __int128)value;
    unsigned __int128 unit = 1;
    for (int i = 0; i < scale; i++) unit *= 10;
    if (value < 0) text_add_byte(out, '-');
    if (size >> 64 == 0 && unit >> 64 == 0)
        write_uint(out, (uint64_t)size / (uint64_t)unit);
    else
        write_uint128(out, size / unit);
    if (scale == 0) return;
    unsigned __int128 rest = size % unit;
    text_add_byte(out, '.');
    if (scale > 19) {
        write_padded(out, (uint64_t)(rest / 10000000000000000000u), scale - 19);
        write_padded(out, (uint64_t)(rest % 10000000000000000000u), 19);
    } else
        write_padded(out, (uint64_t)rest, scale);
}

/* n / 10^k with both exact is rounded once, as reading the text back is: when it gives the value
 * again, these digits are a right answer, and the first k that fits is the shortest. */
static bool write_short_real(Text *out, double value, bool single) {
    static const double powers[] = {1, 10, 100, 1e3, 1e4, 1e5, 1e6};
    double size = fabs(value), limit = single ? 1e7 : 9e15;
    for (int k = 0; k < (int)COUNT(powers); k++) {
        double n = rint(size * powers[k]);
        if (n > limit) return false;
        bool same = single ? (float)(n / powers[k]) == (float)size : n / powers[k] == size;
        if (!same) continue;
        if (signbit(value)) text_add_byte(out, '-');
        uint64_t whole = (uint64_t)n, unit = (uint64_t)powers[k];
        write_uint(out, whole / unit);
        if (k == 0) return text_add(out, STR(".0")), true;
        text_add_byte(out, '.');
        write_padded(out, whole % unit, k);
        return true;
    }
    return false;
}

void write_real(Text *out, double value, bool single) {
    char buffer[32];
    if (write_short_real(out, value, single)) return;
    for (int digits = single ? 6 : 15; digits <= (single ? 9 : 17); digits++) {
        snprintf(buffer, sizeof buffer, "%.*g", digits, value);
        double again = strtod(buffer, NULL);
        if (single ? (float)again == (float)value : again == value) break;
    }
    text_add(out, str_from(buffer));
}

static int64_t floor_div(int64_t a, int64_t b) {
    int64_t q = a / b;
    return q - (a % b < 0);
}

/* Days since 1970 to a civil date, for all years (Howard Hinnant, "chrono-compatible low-level date
 * algorithms"). */
void write_date(Text *out, int64_t days) {
    int64_t z = days + 719468, era = floor_div(z, 146097);
    int64_t day = z - era * 146097;
    int64_t year_of_era = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t m = (5 * day_of_year + 2) / 153;
    int64_t month = m < 10 ? m + 3 : m - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2);
    if (year < 0) text_add_byte(out, '-');
    uint64_t size = (uint64_t)(year < 0 ? -year : year);
    if (size > 9999)
        write_uint(out, size);
    else
        write_padded(out, size, 4);
    text_add_byte(out, '-');
    write_padded(out, (uint64_t)month, 2);
    text_add_byte(out, '-');
    write_padded(out, (uint64_t)(day_of_year - (153 * m + 2) / 5 + 1), 2);
}

void write_time(Text *out, int64_t ticks, int64_t ticks_per_second) {
    int64_t seconds = ticks / ticks_per_second;
    uint64_t fraction = (uint64_t)(ticks % ticks_per_second);
    int width = ticks_per_second == 1         ? 0
                : ticks_per_second == 1000    ? 3
                : ticks_per_second == 1000000 ? 6
                                              : 9;
    write_padded(out, (uint64_t)(seconds / 3600), 2);
    text_add_byte(out, ':');
    write_padded(out, (uint64_t)(seconds / 60 % 60), 2);
    text_add_byte(out, ':');
    write_padded(out, (uint64_t)(seconds % 60), 2);
    if (fraction == 0) return;
    for (; fraction % 10 == 0; fraction /= 10) width--;
    text_add_byte(out, '.');
    write_padded(out, fraction, width);
}

void write_timestamp(Text *out, int64_t ticks, int64_t per_second, char separator, Str zone) {
    if (ticks == INT64_MAX || ticks == -INT64_MAX)
        return text_add(out, ticks > 0 ? STR("infinity") : STR("-infinity"));
    int64_t day = floor_div(ticks, per_second * DAY_SECONDS);
    write_date(out, day);
    text_add_byte(out, separator);
    write_time(out, ticks - day * per_second * DAY_SECONDS, per_second);
    text_add(out, zone);
}

/* ISO 8601 durations: P1Y2M3DT4H5M6.5S */
void write_interval(Text *out, duckdb_interval interval) {
    int64_t rest = interval.micros;
    int32_t years = interval.months / 12, months = interval.months % 12;
    text_add_byte(out, 'P');
    if (years) text_print(out, "%dY", years);
    if (months) text_print(out, "%dM", months);
    if (interval.days) text_print(out, "%dD", interval.days);
    if (rest || (!interval.months && !interval.days)) text_add_byte(out, 'T');
    if (rest / 3600000000) text_print(out, "%lldH", (long long)(rest / 3600000000));
    if (rest / 60000000 % 60) text_print(out, "%lldM", (long long)(rest / 60000000 % 60));
    int64_t micros = rest % 60000000;
    if (micros || (!interval.months && !interval.days && !rest)) {
        if (micros < 0) text_add_byte(out, '-');
        write_uint(out, (uint64_t)(micros < 0 ? -micros : micros) / 1000000);
        if (micros % 1000000) {
            text_add_byte(out, '.');
            write_padded(out, (uint64_t)(micros < 0 ? -micros : micros) % 1000000, 6);
        }
        text_add_byte(out, 'S');
    }
}

void write_uuid(Text *out, duckdb_hugeint value) {
    static const char hex[] = "0123456789abcdef";
    uint64_t high = (uint64_t)value.upper ^ (1ull << 63), low = value.lower; /* sorted as signed */
    for (int i = 0; i < 32; i++) {
        uint64_t half = i < 16 ? high : low;
        if (i == 8 || i == 12 || i == 16 || i == 20) text_add_byte(out, '-');
        text_add_byte(out, hex[half >> (60 - 4 * (i % 16)) & 15]);
    }
}

void write_base64(Text *out, Str bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)bytes.data;
    char *to = text_reserve(out, (bytes.len + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t three =
            (uint32_t)p[i] << 16 | (left > 1 ? p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[three & 63] : '=';
    }
    out->len += (bytes.len + 2) / 3 * 4;
}
