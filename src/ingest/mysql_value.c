/* Values of the binary protocol into the vectors of a batch. Integers are little endian; text,
 * decimals, bits, blobs and geometry are a length (one byte, or 0xfc, 0xfd, 0xfe and 2, 3, 8 more)
 * and bytes; times are one length byte and as many fields as are not zero.
 *
 * Every byte may be a lie: each read is held against the end of the packet. */
#include "ingest/mysql.h"

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_US 86400000000LL

const char *const my_odd_names[ODD_COUNT] = {
    [ODD_ZERO_DATE] = "zero dates became NULL",
    [ODD_INVALID_DATE] = "dates that the calendar lacks became NULL",
    [ODD_SRID] = "spatial reference identifiers were left out",
    [ODD_WIDE] = "decimals of more than 38 digits became text",
};

static bool malformed(const MyColumn *column, Err *err) {
    return err_set(err, LH_CORRUPT, "the MySQL server sent a malformed value of column '%.*s'",
                   SHOW(column->name));
}

static bool misfit(const MyColumn *column, const char *what, Err *err) {
    return err_code(err, LH_INVALID, "value_misfit", "column '%.*s' holds a value that is no %s",
                    SHOW(column->name), what);
}

/* Reading. */

static bool take(MyBytes *in, size_t size, const uint8_t **out) {
    if ((size_t)(in->end - in->at) < size) return false;
    *out = in->at;
    in->at += size;
    return true;
}

static bool take_uint(MyBytes *in, size_t size, uint64_t *out) {
    const uint8_t *bytes;
    if (!take(in, size, &bytes)) return false;
    *out = 0;
    memcpy(out, bytes, size); /* little endian, as we are */
    return true;
}

static bool take_text(MyBytes *in, Str *out) {
    static const uint8_t more[] = {[0xfc - 0xfc] = 2, [0xfd - 0xfc] = 3, [0xfe - 0xfc] = 8};
    const uint8_t *bytes;
    uint64_t size;
    if (!take_uint(in, 1, &size) || size == 0xfb || size == 0xff) return false;
    if (size > 0xfb && !take_uint(in, more[size - 0xfc], &size)) return false;
    if (size > (size_t)(in->end - in->at) || !take(in, size, &bytes)) return false;
    *out = (Str){(const char *)bytes, size};
    return true;
}

static bool take_int(const MyColumn *column, MyBytes *in, int64_t *out) {
    uint64_t value;
    if (!take_uint(in, (size_t)column->width, &value)) return false;
    int unused = 64 - 8 * column->width;
    *out = column->is_unsigned ? (int64_t)value : (int64_t)(value << unused) >> unused;
    return true;
}

static bool take_bits(MyBytes *in, uint64_t *out) {
    Str bytes;
    if (!take_text(in, &bytes) || bytes.len > 8) return false;
    *out = 0;
    for (size_t i = 0; i < bytes.len; i++) *out = *out << 8 | (uint8_t)bytes.data[i];
    return true;
}

typedef struct Moment {
    bool negative;
    int year, month, day;
    int64_t hour; /* of a time: also beyond 24 */
    int minute, second, us;
} Moment;

static bool take_clock(MyBytes *in, bool has_us, Moment *out) {
    uint64_t hour, minute, second, us = 0;
    if (!take_uint(in, 1, &hour) || !take_uint(in, 1, &minute) || !take_uint(in, 1, &second) ||
        (has_us && !take_uint(in, 4, &us)))
        return false;
    out->hour = (int64_t)hour;
    out->minute = (int)minute;
    out->second = (int)second;
    out->us = (int)us;
    return hour < 24 && minute < 60 && second < 60 && us < 1000000;
}

/* Date: 0 or 4 bytes; datetime: 0, 4, 7 or 11. */
static bool take_moment(MyBytes *in, Moment *out) {
    uint64_t size, year, month, day;
    *out = (Moment){0};
    if (!take_uint(in, 1, &size)) return false;
    if (size == 0) return true;
    if ((size != 4 && size != 7 && size != 11) || !take_uint(in, 2, &year) ||
        !take_uint(in, 1, &month) || !take_uint(in, 1, &day))
        return false;
    out->year = (int)year;
    out->month = (int)month;
    out->day = (int)day;
    return year <= 9999 && month <= 12 && day <= 31 &&
           (size == 4 || take_clock(in, size == 11, out));
}

/* Time: 0, 8 or 12 bytes: a sign, days, and a time of day. */
static bool take_time(MyBytes *in, Moment *out) {
    uint64_t size, negative, days;
    *out = (Moment){0};
    if (!take_uint(in, 1, &size)) return false;
    if (size == 0) return true;
    if ((size != 8 && size != 12) || !take_uint(in, 1, &negative) || !take_uint(in, 4, &days) ||
        !take_clock(in, size == 12, out))
        return false;
    out->negative = negative != 0;
    out->hour += (int64_t)days * 24;
    return days <= 34; /* 838 hours */
}

bool my_date_valid(int year, int month, int day) {
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month < 1 || month > 12 || day < 1) return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= lengths[month - 1] + (month == 2 && leap);
}

/* Source: H. Hinnant, "chrono-compatible low-level date algorithms", days_from_civil. */
int32_t my_date_days(int year, int month, int day) {
    year -= month <= 2;
    int era = (year >= 0 ? year : year - 399) / 400;
    int of_era = year - era * 400;
    int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t clock_of(const Moment *moment) {
    return ((moment->hour * 60 + moment->minute) * 60 + moment->second) * 1000000 + moment->us;
}

/* The digits around the point, exactly: what would be cut off is a misfit. */
bool my_decimal(Str text, int precision, int scale, __int128 *out) {
    unsigned __int128 value = 0;
    size_t at = 0;
    int digits = 0, after = -1; /* digits that count; those after the point */
    bool negative = text.len > 0 && text.data[0] == '-', any = false;
    for (at = negative; at < text.len; at++) {
        char c = text.data[at];
        if (c == '.' && after < 0) {
            after = 0;
            continue;
        }
        if (c < '0' || c > '9') return false;
        if (after >= scale && c == '0') continue;
        if (digits == 38) return false;
        any = true;
        value = value * 10 + (unsigned)(c - '0');
        digits += value != 0;
        if (after >= 0 && ++after > scale) return false;
    }
    for (int i = MAX(after, 0); i < scale; i++) {
        value *= 10;
        digits += value != 0;
    }
    if (!any || digits > precision || precision > 38) return false;
    *out = negative ? -(__int128)value : (__int128)value;
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As feed.c has it: big endian, the top bit flipped, so that it sorts as a signed number. */
bool my_uuid(Str text, __int128 *out) {
    unsigned __int128 value = 0;
    if (text.len != 36) return false;
    for (size_t i = 0; i < text.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        int digit = dash ? 0 : hex_digit(text.data[i]);
        if (digit < 0 || (dash && text.data[i] != '-')) return false;
        if (!dash) value = value << 4 | (unsigned)digit;
    }
    *out = (__int128)(value ^ (unsigned __int128)1 << 127);
    return true;
}

/* As text. */

static void add_seconds(Text *out, const Moment *moment, int decimals) {
    text_print(out, "%02d:%02d", moment->minute, moment->second);
    if (decimals > 6) decimals = moment->us ? 6 : 0;
    int us = moment->us;
    for (int i = decimals; i < 6; i++) us /= 10;
    if (decimals) text_print(out, ".%0*d", decimals, us);
}

static void add_date(Text *out, const Moment *moment) {
    text_print(out, "%04d-%02d-%02d", moment->year, moment->month, moment->day);
}

/* The fewest digits that read back as the same number. */
static void add_real(Text *out, double value, bool is_float) {
    char digits[40];
    for (int precision = is_float ? 6 : 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (is_float ? strtof(digits, NULL) == (float)value : strtod(digits, NULL) == value) break;
    }
    text_add(out, str_from(digits));
}

static void add_hex(Text *out, Str bytes) {
    static const char digits[] = "0123456789abcdef";
    if (!bytes.len) return;
    char *at = text_reserve(out, bytes.len * 2);
    for (size_t i = 0; i < bytes.len; i++) {
        *at++ = digits[(uint8_t)bytes.data[i] >> 4];
        *at++ = digits[bytes.data[i] & 15];
    }
    out->len += bytes.len * 2;
}

static bool time_text(const MyColumn *column, MyBytes *in, Text *out) {
    Moment moment;
    bool is_time = column->shape == SHAPE_TIME;
    if (!(is_time ? take_time(in, &moment) : take_moment(in, &moment))) return false;
    if (is_time)
        text_print(out, "%s%02lld:", moment.negative ? "-" : "", (long long)moment.hour);
    else
        add_date(out, &moment);
    if (column->shape == SHAPE_DATETIME) text_print(out, " %02lld:", (long long)moment.hour);
    if (column->shape != SHAPE_DATE) add_seconds(out, &moment, column->decimals);
    return true;
}

static bool real_text(const MyColumn *column, MyBytes *in, Text *out) {
    const uint8_t *bytes;
    float single;
    double real;
    bool is_float = column->shape == SHAPE_FLOAT;
    if (!take(in, is_float ? sizeof single : sizeof real, &bytes)) return false;
    memcpy(is_float ? (void *)&single : (void *)&real, bytes,
           is_float ? sizeof single : sizeof real);
    add_real(out, is_float ? (double)single : real, is_float);
    return true;
}

static bool number_text(const MyColumn *column, MyBytes *in, Text *out) {
    int64_t integer;
    uint64_t natural;
    if (column->shape == SHAPE_INT)
        return take_int(column, in, &integer) &&
               (text_print(out, "%lld", (long long)integer), true);
    bool ok = column->shape == SHAPE_UINT64 ? take_uint(in, 8, &natural)
              : column->shape == SHAPE_YEAR ? take_uint(in, 2, &natural)
                                            : take_bits(in, &natural);
    if (ok)
        text_print(out, column->shape == SHAPE_YEAR ? "%04llu" : "%llu",
                   (unsigned long long)natural);
    return ok;
}

static bool bytes_text(const MyColumn *column, MyBytes *in, Text *out) {
    Str bytes;
    if (!take_text(in, &bytes)) return false;
    if (column->shape == SHAPE_GEOMETRY) {
        if (bytes.len < 4) return false;
        bytes = str_slice(bytes, 4, bytes.len);
    }
    if (column->shape == SHAPE_TEXT || column->shape == SHAPE_DECIMAL)
        text_add(out, bytes);
    else
        add_hex(out, bytes);
    return true;
}

bool my_value_text(const MyColumn *column, MyBytes *in, Text *out, Err *err) {
    bool ok = false;
    switch (column->shape) {
    case SHAPE_INT:
    case SHAPE_UINT64:
    case SHAPE_YEAR:
    case SHAPE_BIT:
        ok = number_text(column, in, out);
        break;
    case SHAPE_FLOAT:
    case SHAPE_DOUBLE:
        ok = real_text(column, in, out);
        break;
    case SHAPE_DATE:
    case SHAPE_DATETIME:
    case SHAPE_TIME:
        ok = time_text(column, in, out);
        break;
    default:
        ok = bytes_text(column, in, out);
    }
    return ok || malformed(column, err);
}

/* Into vectors. The name says shape and kind. */

static void set(MyCell *cell, size_t row) {
    vector_set_valid(cell->vector, row);
}

static bool int_int(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    int64_t value;
    if (!take_int(cell->column, in, &value)) return malformed(cell->column, err);
    if (value != (int32_t)value) return misfit(cell->column, "32-bit integer", err);
    ((int32_t *)cell->values)[row] = (int32_t)value;
    return set(cell, row), true;
}

static bool int_long(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    int64_t value;
    if (!take_int(cell->column, in, &value)) return malformed(cell->column, err);
    ((int64_t *)cell->values)[row] = value;
    return set(cell, row), true;
}

static bool set_boolean(MyCell *cell, uint64_t value, size_t row, Err *err) {
    if (cell->column->is_checked && value > 1) return misfit(cell->column, "boolean", err);
    ((uint8_t *)cell->values)[row] = value != 0;
    return set(cell, row), true;
}

static bool int_boolean(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    int64_t value;
    if (!take_int(cell->column, in, &value)) return malformed(cell->column, err);
    return set_boolean(cell, (uint64_t)value, row, err);
}

static bool int_double(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    int64_t value;
    if (!take_int(cell->column, in, &value)) return malformed(cell->column, err);
    if (value > 1ll << 53 || value < -(1ll << 53))
        return misfit(cell->column, "integer that a double holds", err);
    ((double *)cell->values)[row] = (double)value;
    return set(cell, row), true;
}

static bool bits_boolean(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    uint64_t value;
    if (!take_bits(in, &value)) return malformed(cell->column, err);
    return set_boolean(cell, value, row, err);
}

static bool bits_long(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    uint64_t value;
    if (!take_bits(in, &value)) return malformed(cell->column, err);
    if (value > INT64_MAX) return misfit(cell->column, "64-bit integer", err);
    ((int64_t *)cell->values)[row] = (int64_t)value;
    return set(cell, row), true;
}

static bool year_int(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    uint64_t value;
    if (!take_uint(in, 2, &value)) return malformed(cell->column, err);
    ((int32_t *)cell->values)[row] = (int32_t)value;
    return set(cell, row), true;
}

static bool float_float(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    const uint8_t *bytes;
    if (!take(in, sizeof(float), &bytes)) return malformed(cell->column, err);
    memcpy((float *)cell->values + row, bytes, sizeof(float));
    return set(cell, row), true;
}

static bool float_double(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    const uint8_t *bytes;
    float value;
    if (!take(in, sizeof value, &bytes)) return malformed(cell->column, err);
    memcpy(&value, bytes, sizeof value);
    ((double *)cell->values)[row] = (double)value;
    return set(cell, row), true;
}

static bool double_double(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    const uint8_t *bytes;
    if (!take(in, sizeof(double), &bytes)) return malformed(cell->column, err);
    memcpy((double *)cell->values + row, bytes, sizeof(double));
    return set(cell, row), true;
}

static bool double_float(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    const uint8_t *bytes;
    double value;
    if (!take(in, sizeof value, &bytes)) return malformed(cell->column, err);
    memcpy(&value, bytes, sizeof value);
    ((float *)cell->values)[row] = (float)value;
    return set(cell, row), true;
}

static void set_decimal(MyCell *cell, size_t row, __int128 value) {
    int precision = cell->column->type.precision;
    if (precision <= 4)
        ((int16_t *)cell->values)[row] = (int16_t)value;
    else if (precision <= 9)
        ((int32_t *)cell->values)[row] = (int32_t)value;
    else if (precision <= 18)
        ((int64_t *)cell->values)[row] = (int64_t)value;
    else
        memcpy((__int128 *)cell->values + row, &value, sizeof value);
    set(cell, row);
}

static bool decimal_decimal(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    const Type *type = &cell->column->type;
    __int128 value;
    Str text;
    if (!take_text(in, &text)) return malformed(cell->column, err);
    if (!my_decimal(text, type->precision, type->scale, &value))
        return misfit(cell->column, "decimal of its type", err);
    return set_decimal(cell, row, value), true;
}

static bool decimal_double(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    char digits[80];
    char *end;
    Str text;
    if (!take_text(in, &text) || !text.len || text.len >= sizeof digits)
        return malformed(cell->column, err);
    memcpy(digits, text.data, text.len);
    digits[text.len] = 0;
    ((double *)cell->values)[row] = strtod(digits, &end);
    if (*end) return malformed(cell->column, err);
    return set(cell, row), true;
}

/* The caller's type may be wider than decimal(20,0), and have a scale. */
static bool natural_decimal(MyCell *cell, uint64_t natural, size_t row, Err *err) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)natural);
    const Type *type = &cell->column->type;
    __int128 value;
    if (!my_decimal((Str){digits, (size_t)len}, type->precision, type->scale, &value))
        return misfit(cell->column, "decimal of its type", err);
    return set_decimal(cell, row, value), true;
}

static bool uint_decimal(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    uint64_t value;
    if (!take_uint(in, 8, &value)) return malformed(cell->column, err);
    return natural_decimal(cell, value, row, err);
}

static bool uint_long(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    uint64_t value;
    if (!take_uint(in, 8, &value)) return malformed(cell->column, err);
    if (value > INT64_MAX) return misfit(cell->column, "64-bit integer", err);
    ((int64_t *)cell->values)[row] = (int64_t)value;
    return set(cell, row), true;
}

static bool bits_decimal(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    uint64_t value;
    if (!take_bits(in, &value)) return malformed(cell->column, err);
    return natural_decimal(cell, value, row, err);
}

/* False: NULL instead, and counted. */
static bool is_date(MyCell *cell, const Moment *moment) {
    if (my_date_valid(moment->year, moment->month, moment->day)) return true;
    bool zero = !moment->year && !moment->month && !moment->day;
    cell->odd[zero ? ODD_ZERO_DATE : ODD_INVALID_DATE]++;
    return false;
}

static bool date_date(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    Moment moment;
    if (!take_moment(in, &moment)) return malformed(cell->column, err);
    if (!is_date(cell, &moment)) return true;
    ((int32_t *)cell->values)[row] = my_date_days(moment.year, moment.month, moment.day);
    return set(cell, row), true;
}

static bool moment_timestamp(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    Moment moment;
    if (!take_moment(in, &moment)) return malformed(cell->column, err);
    if (!is_date(cell, &moment)) return true;
    ((int64_t *)cell->values)[row] =
        my_date_days(moment.year, moment.month, moment.day) * DAY_US + clock_of(&moment);
    return set(cell, row), true;
}

static bool time_time(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    Moment moment;
    if (!take_time(in, &moment)) return malformed(cell->column, err);
    if (moment.hour > 23 || (moment.negative && clock_of(&moment) > 0))
        return misfit(cell->column, "time of day; read it as VARCHAR", err);
    ((int64_t *)cell->values)[row] = clock_of(&moment);
    return set(cell, row), true;
}

static bool text_string(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    Str text;
    if (!take_text(in, &text)) return malformed(cell->column, err);
    return vector_bytes(cell->vector, row, text), true;
}

static bool text_uuid(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    __int128 value;
    Str text;
    if (!take_text(in, &text)) return malformed(cell->column, err);
    if (!my_uuid(text, &value)) return misfit(cell->column, "UUID", err);
    memcpy((__int128 *)cell->values + row, &value, sizeof value);
    return set(cell, row), true;
}

static bool bytes_binary(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    Str bytes;
    if (!take_text(in, &bytes)) return malformed(cell->column, err);
    return vector_bytes(cell->vector, row, bytes), true;
}

static bool geometry_binary(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    static const char no_srid[4] = {0};
    Str bytes;
    if (!take_text(in, &bytes) || bytes.len < 4) return malformed(cell->column, err);
    cell->odd[ODD_SRID] += memcmp(bytes.data, no_srid, 4) != 0;
    return vector_bytes(cell->vector, row, str_slice(bytes, 4, bytes.len)), true;
}

static bool any_string(MyCell *cell, MyBytes *in, size_t row, Err *err) {
    text_clear(&cell->text);
    if (!my_value_text(cell->column, in, &cell->text, err)) return false;
    cell->odd[ODD_WIDE] += cell->column->is_wide;
    return vector_bytes(cell->vector, row, text_str(&cell->text)), true;
}

MyDecode *my_decoder(MyShape shape, TypeKind kind) {
    static MyDecode *const decoders[SHAPE_COUNT][TYPE_MAP + 1] = {
        [SHAPE_INT] = {[TYPE_INT] = int_int,
                       [TYPE_LONG] = int_long,
                       [TYPE_BOOLEAN] = int_boolean,
                       [TYPE_DOUBLE] = int_double,
                       [TYPE_STRING] = any_string},
        [SHAPE_UINT64] =
            {[TYPE_DECIMAL] = uint_decimal,     [TYPE_LONG] = uint_long, [TYPE_STRING] = any_string},
        [SHAPE_FLOAT] =
            {[TYPE_FLOAT] = float_float,       [TYPE_DOUBLE] = float_double, [TYPE_STRING] = any_string},
        [SHAPE_DOUBLE] = {[TYPE_DOUBLE] = double_double,
                       [TYPE_FLOAT] = double_float,
                       [TYPE_STRING] = any_string},
        [SHAPE_DECIMAL] = {[TYPE_DECIMAL] = decimal_decimal,
                       [TYPE_DOUBLE] = decimal_double,
                       [TYPE_STRING] = any_string},
        [SHAPE_BIT] = {[TYPE_BOOLEAN] = bits_boolean,
                       [TYPE_LONG] = bits_long,
                       [TYPE_DECIMAL] = bits_decimal,
                       [TYPE_STRING] = any_string},
        [SHAPE_YEAR] = {[TYPE_INT] = year_int,      [TYPE_STRING] = any_string},
        [SHAPE_DATE] = {[TYPE_DATE] = date_date,    [TYPE_STRING] = any_string},
        [SHAPE_DATETIME] = {[TYPE_TIMESTAMP] = moment_timestamp,
                       [TYPE_TIMESTAMPTZ] = moment_timestamp,
                       [TYPE_STRING] = any_string},
        [SHAPE_TIME] = {[TYPE_TIME] = time_time, [TYPE_STRING] = any_string},
        [SHAPE_TEXT] = {[TYPE_STRING] = text_string,       [TYPE_UUID] = text_uuid},
        [SHAPE_BYTES] = {[TYPE_BINARY] = bytes_binary,    [TYPE_STRING] = any_string},
        [SHAPE_GEOMETRY] = {[TYPE_BINARY] = geometry_binary,    [TYPE_STRING] = any_string},
        [SHAPE_NULL] = {[TYPE_STRING] = any_string                               },
    };
    return decoders[shape][kind];
}

/* Rows: a zero byte, a bit of each column that is NULL (the first two bits are nobody's), and the
 * values of the others. */

static bool is_null(Bytes packet, size_t column) {
    return packet.data[1 + (column + 2) / 8] >> ((column + 2) % 8) & 1;
}

static bool row_start(Bytes packet, size_t columns, MyBytes *out, Err *err) {
    size_t start = 1 + (columns + 9) / 8;
    if (packet.size < start) return err_set(err, LH_CORRUPT, "the MySQL server sent half a row");
    *out = (MyBytes){packet.data + start, packet.data + packet.size};
    return true;
}

static bool row_end(const MyBytes *in, Err *err) {
    return in->at == in->end ||
           err_set(err, LH_CORRUPT, "the MySQL server sent a row with more than its columns");
}

bool my_row_decode(MyRow *row, Bytes packet, size_t at, Err *err) {
    MyBytes in;
    if (!row_start(packet, row->count, &in, err)) return false;
    for (size_t i = 0; i < row->count; i++) {
        if (is_null(packet, i)) continue;
        const uint8_t *from = in.at;
        if (!row->decode[i](&row->cells[i], &in, at, err)) return false;
        if (i != row->last_column) continue;
        text_clear(&row->last);
        text_add(&row->last, (Str){(const char *)from, (size_t)(in.at - from)});
    }
    return row_end(&in, err);
}

static bool skip_value(const MyColumn *column, MyBytes *in) {
    const uint8_t *bytes;
    uint64_t size = 0;
    Str text;
    switch (column->shape) {
    case SHAPE_INT:
        return take(in, (size_t)column->width, &bytes);
    case SHAPE_UINT64:
    case SHAPE_DOUBLE:
        return take(in, 8, &bytes);
    case SHAPE_FLOAT:
        return take(in, 4, &bytes);
    case SHAPE_YEAR:
        return take(in, 2, &bytes);
    case SHAPE_DATE:
    case SHAPE_DATETIME:
    case SHAPE_TIME:
        return take_uint(in, 1, &size) && take(in, size, &bytes);
    default:
        return take_text(in, &text);
    }
}

Str my_row_peek(const MyRow *row, Bytes packet) {
    MyBytes in;
    Err ignored;
    if (!row_start(packet, row->count, &in, &ignored) || is_null(packet, row->last_column))
        return (Str){0};
    for (size_t i = 0; i < row->last_column; i++)
        if (!is_null(packet, i) && !skip_value(row->cells[i].column, &in)) return (Str){0};
    const uint8_t *from = in.at;
    if (!skip_value(row->cells[row->last_column].column, &in)) return (Str){0};
    return (Str){(const char *)from, (size_t)(in.at - from)};
}

bool my_row_texts(const MyColumn *columns, size_t count, Bytes packet, Arena *arena, Str *out,
                  Err *err) {
    OWNED(text_close) Text text = {0};
    MyBytes in;
    if (!row_start(packet, count, &in, err)) return false;
    for (size_t i = 0; i < count; i++) {
        out[i] = (Str){0};
        if (is_null(packet, i)) continue;
        text_clear(&text);
        if (!my_value_text(&columns[i], &in, &text, err)) return false;
        out[i] = arena_copy(arena, text_str(&text));
    }
    return row_end(&in, err);
}
