/* Which types hold a value so that writing it back gives the same text, or one that every program
 * takes for the same value. What would lose something is text: leading zeros (007), a plus sign
 * (+49...), more digits than a double has, dates that are not ISO (01/02/2024 is two dates). */
#include "ingest/parts.h"

#include <string.h>

#define DOUBLE_DIGITS 17 /* what any double needs to be told apart */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static size_t digits(Str text, size_t at) {
    size_t from = at;
    while (at < text.len && is_digit(text.data[at])) at++;
    return at - from;
}

/* Digits from the first that is not zero. */
static size_t significant(Str number) {
    size_t count = 0;
    for (size_t i = 0; i < number.len; i++)
        count += is_digit(number.data[i]) && (count > 0 || number.data[i] != '0');
    return count;
}

/* An integer or a decimal number; *whole says which. */
static bool read_number(Str v, bool *whole) {
    size_t at = v.data[0] == '-', integer = digits(v, at), fraction = 0;
    if (integer > 1 && v.data[at] == '0') return false;
    at += integer;
    *whole = at == v.len && integer > 0;
    if (*whole) return !(v.data[0] == '-' && v.data[1] == '0');
    if (at < v.len && v.data[at] == '.') {
        fraction = digits(v, at + 1);
        if (fraction == 0) return false;
        at += 1 + fraction;
    }
    if (integer + fraction == 0 || significant(str_slice(v, 0, at)) > DOUBLE_DIGITS) return false;
    if (at < v.len && (v.data[at] == 'e' || v.data[at] == 'E')) {
        at++;
        if (at < v.len && (v.data[at] == '-' || v.data[at] == '+')) at++;
        size_t exponent = digits(v, at);
        if (exponent == 0 || exponent > 2) return false; /* e99 is within a double's range */
        at += exponent;
    }
    return at == v.len;
}

static unsigned number_kinds(Str v) {
    bool whole;
    int64_t ignored;
    if (v.len > 32 || !read_number(v, &whole)) return 0;
    if (!whole) return CSV_REAL;
    unsigned kinds = v.len - (v.data[0] == '-') <= 15 ? CSV_REAL : 0;
    return kinds | (v.len < 19 || str_to_i64(v, &ignored) ? CSV_INT : 0);
}

static int two_digits(Str v, size_t at) {
    return at + 2 <= v.len && is_digit(v.data[at]) && is_digit(v.data[at + 1])
               ? (v.data[at] - '0') * 10 + v.data[at + 1] - '0'
               : -1;
}

static bool is_date(Str v) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (v.len < 10 || v.data[4] != '-' || v.data[7] != '-') return false;
    int high = two_digits(v, 0), low = two_digits(v, 2), month = two_digits(v, 5),
        day = two_digits(v, 8);
    if (high < 0 || low < 0 || month < 1 || month > 12 || day < 1) return false;
    int year = high * 100 + low;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return year > 0 && day <= days[month - 1] + (month == 2 && leap);
}

/* Z, +02, +02:00 */
static bool is_zone(Str zone) {
    if (str_is(zone, "Z")) return true;
    if (zone.len != 3 && zone.len != 6) return false;
    if (zone.data[0] != '+' && zone.data[0] != '-') return false;
    int hours = two_digits(zone, 1), minutes = zone.len == 6 ? two_digits(zone, 4) : 0;
    return hours >= 0 && hours <= 14 && minutes >= 0 && minutes < 60 &&
           (zone.len == 3 || zone.data[3] == ':');
}

static unsigned moment_kinds(Str v) {
    if (!is_date(v)) return 0;
    if (v.len == 10) return CSV_DATE;
    if (v.len < 19 || (v.data[10] != ' ' && v.data[10] != 'T') || v.data[13] != ':' ||
        v.data[16] != ':')
        return 0;
    int hour = two_digits(v, 11), minute = two_digits(v, 14), second = two_digits(v, 17);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return 0;
    size_t at = 19;
    if (at < v.len && v.data[at] == '.') {
        size_t fraction = digits(v, at + 1);
        if (fraction < 1 || fraction > 6) return 0;
        at += 1 + fraction;
    }
    if (at == v.len) return CSV_TIMESTAMP;
    return is_zone(str_slice(v, at, v.len)) ? CSV_TIMESTAMPTZ : 0;
}

unsigned csv_kinds(Str value, unsigned among) {
    unsigned kinds = 0;
    if (among == 0 || value.len == 0) return 0;
    if (among & (CSV_INT | CSV_REAL)) kinds |= number_kinds(value);
    if (among & CSV_BOOLEAN &&
        (str_equal_nocase(value, STR("true")) || str_equal_nocase(value, STR("false"))))
        kinds |= CSV_BOOLEAN;
    if (among & (CSV_DATE | CSV_TIMESTAMP | CSV_TIMESTAMPTZ)) kinds |= moment_kinds(value);
    return kinds & among;
}

const char *csv_type(const CsvColumn *column) {
    if (column->given) return column->given;
    if (!column->seen) return "VARCHAR";
    if (column->kinds & CSV_INT) return "BIGINT";
    if (column->kinds & CSV_REAL) return "DOUBLE";
    if (column->kinds & CSV_BOOLEAN) return "BOOLEAN";
    if (column->kinds & CSV_DATE) return "DATE";
    if (column->kinds & CSV_TIMESTAMP) return "TIMESTAMP";
    return column->kinds & CSV_TIMESTAMPTZ ? "TIMESTAMP WITH TIME ZONE" : "VARCHAR";
}
