/* Rows of COPY's binary format into the vectors of a batch.
 *
 *     "PGCOPY\n\377\r\n\0"  flags 4  length 4  extension     once
 *     fields 2   (length 4, -1 for NULL; bytes) per field    a row
 *     -1 2                                                   the end
 *
 * All numbers are big endian. The other side may be anything that speaks the protocol: no length,
 * count or digit is believed. */
#include "ingest/postgres.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define EPOCH_DAYS 10957         /* from 1970 to 2000 */
#define EPOCH_US 946684800000000 /* the same */
#define DAY_US 86400000000
#define DIGITS_MAX 38

const char *const pg_loss_words[LOSS_COUNTED] = {
    [LOSS_NOT_FINITE] = "NaN and infinite numbers became NULL",
    [LOSS_RANGE] = "infinite dates and times, and those out of range, became NULL",
    [LOSS_MIDNIGHT] = "times of 24:00:00 became NULL",
    [LOSS_BOUNDS] = "lower bounds of arrays other than 1 were dropped",
};

static uint16_t be16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p) {
    uint32_t value;
    memcpy(&value, p, 4);
    return ntohl(value);
}

static uint64_t be64(const uint8_t *p) {
    uint64_t value;
    memcpy(&value, p, 8);
    return __builtin_bswap64(value);
}

/* Values of a fixed size. */

#define PUT(CType, expression)                                                                     \
    do {                                                                                           \
        ((CType *)slot->values)[row] = (CType)(expression);                                        \
        vector_set_valid(slot->vector, row);                                                       \
        return LOSS_NONE;                                                                          \
    } while (0)

PgLoss pg_bool(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 1 || value.data[0] > 1) return LOSS_MALFORMED;
    PUT(uint8_t, value.data[0]);
}

PgLoss pg_int2(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 2) return LOSS_MALFORMED;
    PUT(int32_t, (int16_t)be16(value.data));
}

PgLoss pg_int4(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 4) return LOSS_MALFORMED;
    PUT(int32_t, be32(value.data));
}

PgLoss pg_int8(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 8) return LOSS_MALFORMED;
    PUT(int64_t, be64(value.data));
}

PgLoss pg_uint4(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 4) return LOSS_MALFORMED;
    PUT(int64_t, be32(value.data));
}

PgLoss pg_uint8(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 8) return LOSS_MALFORMED;
    PUT(__int128, be64(value.data));
}

PgLoss pg_float4(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 4) return LOSS_MALFORMED;
    PUT(uint32_t, be32(value.data)); /* the bits, NaN's too */
}

PgLoss pg_float8(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 8) return LOSS_MALFORMED;
    PUT(uint64_t, be64(value.data));
}

PgLoss pg_money(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 8) return LOSS_MALFORMED;
    PUT(__int128, (int64_t)be64(value.data)); /* decimal(19) lies in 16 bytes */
}

PgLoss pg_uuid(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 16) return LOSS_MALFORMED;
    unsigned __int128 high = be64(value.data) ^ (1ull << 63);
    PUT(__int128, high << 64 | be64(value.data + 8));
}

PgLoss pg_date(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 4) return LOSS_MALFORMED;
    int32_t days = (int32_t)be32(value.data);
    if (days == INT32_MIN || days > INT32_MAX - EPOCH_DAYS) return LOSS_RANGE;
    PUT(int32_t, days + EPOCH_DAYS);
}

PgLoss pg_time(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 8) return LOSS_MALFORMED;
    int64_t us = (int64_t)be64(value.data);
    if (us == DAY_US) return LOSS_MIDNIGHT;
    if (us < 0 || us > DAY_US) return LOSS_MALFORMED;
    PUT(int64_t, us);
}

/* Both kinds: timestamptz is UTC on the wire. The greatest int64_t and its negative are DuckDB's
 * infinities, and the least is none of its timestamps. */
PgLoss pg_timestamp(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    if (value.size != 8) return LOSS_MALFORMED;
    int64_t us = (int64_t)be64(value.data);
    if (us == INT64_MIN || us >= INT64_MAX - EPOCH_US) return LOSS_RANGE;
    PUT(int64_t, us + EPOCH_US);
}

/* numeric: digits of base 10000, the first of which stands for 10000 to the power of `weight`. */

static const uint16_t SIGN_NEGATIVE = 0x4000;

typedef unsigned __int128 Wide;

static Wide power_of_ten(int exponent) {
    static const uint64_t small[] = {1,
                                     10,
                                     100,
                                     1000,
                                     10000,
                                     100000,
                                     1000000,
                                     10000000,
                                     100000000,
                                     1000000000,
                                     10000000000,
                                     100000000000,
                                     1000000000000,
                                     10000000000000,
                                     100000000000000,
                                     1000000000000000,
                                     10000000000000000,
                                     100000000000000000,
                                     1000000000000000000,
                                     10000000000000000000u};
    return exponent < 20 ? small[exponent] : (Wide)small[19] * small[exponent - 19];
}

/* By a power of ten, up to 38 digits: two to the power of 128 has 39. */
static bool grow(Wide *value, int exponent) {
    if (*value == 0) return true;
    if (exponent > DIGITS_MAX || *value >= power_of_ten(DIGITS_MAX - exponent)) return false;
    *value *= power_of_ten(exponent);
    return true;
}

/* Digit i of `count` stands for 10 to the power of 4 * (weight - i), and the value is wanted in
 * units of 10 to the power of -scale. False: it has more digits, before or after the point. */
static bool read_digits(const uint8_t *digits, int count, int weight, int scale, Wide *out) {
    static const int powers[] = {1, 10, 100, 1000};
    Wide value = 0;
    int exponent = 0;
    for (int i = 0; i < count; i++) {
        int digit = be16(digits + 2 * i);
        exponent = 4 * (weight - i) + scale;
        if (digit > 9999) return false;
        if (exponent <= -4) {
            if (digit) return false;
        } else if (exponent >= 0) {
            if (!grow(&value, 4)) return false;
            value += (Wide)digit;
        } else { /* the first 4 + exponent decimals of the digit */
            if (digit % powers[-exponent] || !grow(&value, 4 + exponent)) return false;
            value += (Wide)(digit / powers[-exponent]);
        }
    }
    *out = value;
    return exponent <= 0 || grow(out, exponent);
}

static void put_decimal(const PgColumn *column, const PgSlot *slot, size_t row, __int128 value) {
    int precision = column->type.precision;
    if (precision <= 4)
        ((int16_t *)slot->values)[row] = (int16_t)value;
    else if (precision <= 9)
        ((int32_t *)slot->values)[row] = (int32_t)value;
    else if (precision <= 18)
        ((int64_t *)slot->values)[row] = (int64_t)value;
    else
        ((__int128 *)slot->values)[row] = value;
    vector_set_valid(slot->vector, row);
}

PgLoss pg_numeric(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    if (value.size < 8) return LOSS_MALFORMED;
    int count = be16(value.data), weight = (int16_t)be16(value.data + 2);
    uint16_t sign = be16(value.data + 4);
    Wide digits;
    if (value.size != 8 + 2 * (size_t)count) return LOSS_MALFORMED;
    if (sign != 0 && sign != SIGN_NEGATIVE) return LOSS_NOT_FINITE; /* 0xC000, 0xD000, 0xF000 */
    if (!read_digits(value.data + 8, count, weight, column->type.scale, &digits) ||
        digits >= power_of_ten(column->type.precision))
        return LOSS_MALFORMED; /* the server keeps to the declared precision and scale */
    put_decimal(column, slot, row, sign ? -(__int128)digits : (__int128)digits);
    return LOSS_NONE;
}

/* Bytes and text. */

PgLoss pg_bytea(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    (void)column;
    vector_bytes(slot->vector, row, str_of(value));
    return LOSS_NONE;
}

/* A server whose encoding is SQL_ASCII sends whatever it was given; the feed looks at it. */
PgLoss pg_text(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    return pg_bytea(column, slot, row, value);
}

/* char(n): the blanks that fill it up mean nothing, and ::text drops them too. */
PgLoss pg_bpchar(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    while (value.size > 0 && value.data[value.size - 1] == ' ') value.size--;
    return pg_text(column, slot, row, value);
}

/* "char": a byte. NUL is the empty text, and what is not ASCII is \ooo, as PostgreSQL 16 has it. */
PgLoss pg_char(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    char octal[5];
    if (value.size != 1) return LOSS_MALFORMED;
    if (value.data[0] == 0) value.size = 0;
    if (value.size == 0 || value.data[0] < 0x80) return pg_bytea(column, slot, row, value);
    snprintf(octal, sizeof octal, "\\%03o", value.data[0]);
    return pg_bytea(column, slot, row, bytes_of((Str){octal, 4}));
}

PgLoss pg_jsonb(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    if (value.size < 1 || value.data[0] != 1) return LOSS_MALFORMED; /* the format's version */
    return pg_text(column, slot, row, (Bytes){value.data + 1, value.size - 1});
}

/* family (2 or 3), bits of the net, whether it is a cidr, length, address. ::text would add /32. */
PgLoss pg_inet(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    char text[INET6_ADDRSTRLEN + 8];
    if (value.size < 4) return LOSS_MALFORMED;
    bool is_v4 = value.data[0] == 2;
    size_t size = is_v4 ? 4 : 16;
    if ((!is_v4 && value.data[0] != 3) || value.data[1] > size * 8 || value.data[2] > 1 ||
        value.data[3] != size || value.size != 4 + size)
        return LOSS_MALFORMED;
    inet_ntop(is_v4 ? AF_INET : AF_INET6, value.data + 4, text, sizeof text);
    Str shown = str_from(text);
    if (value.data[2] || value.data[1] != size * 8)
        shown.len += (size_t)snprintf(text + shown.len, 8, "/%d", value.data[1]);
    return pg_bytea(column, slot, row, bytes_of(shown));
}

/* Arrays: dimensions 4, any NULLs 4, the element's OID 4, (length 4, lower bound 4) per dimension,
 * (length 4, bytes) per element. */

typedef struct Array {
    size_t len;
    bool shifted; /* its lower bound is not 1 */
    Bytes rest;
} Array;

static PgLoss read_array(Bytes value, Array *out) {
    if (value.size < 12) return LOSS_MALFORMED;
    uint32_t dimensions = be32(value.data);
    *out = (Array){
        .rest = {value.data + 12, value.size - 12}
    };
    if (dimensions == 0) return out->rest.size == 0 ? LOSS_NONE : LOSS_MALFORMED;
    if (dimensions > 1) return LOSS_DIMENSIONS;
    if (out->rest.size < 8) return LOSS_MALFORMED;
    out->len = be32(out->rest.data);
    out->shifted = be32(out->rest.data + 4) != 1;
    out->rest = (Bytes){out->rest.data + 8, out->rest.size - 8};
    return out->len <= out->rest.size / 4 ? LOSS_NONE : LOSS_MALFORMED; /* before room is made */
}

/* *is_null, or the bytes. False: they are not all there. */
static bool next_value(Bytes *rest, bool *is_null, Bytes *out) {
    if (rest->size < 4) return false;
    uint32_t size = be32(rest->data);
    *is_null = size == UINT32_MAX;
    if (*is_null) size = 0;
    if (size > rest->size - 4) return false;
    *out = (Bytes){rest->data + 4, size};
    *rest = (Bytes){rest->data + 4 + size, rest->size - 4 - size};
    return true;
}

PgLoss pg_list(const PgColumn *column, const PgSlot *slot, size_t row, Bytes value) {
    Array array;
    size_t at;
    PgLoss worst = read_array(value, &array);
    if (worst != LOSS_NONE) return worst;
    PgSlot elements = {.vector = vector_list(slot->vector, row, array.len, &at)};
    elements.values = vector_values(elements.vector);
    if (array.shifted) worst = LOSS_BOUNDS;
    for (size_t i = 0; i < array.len; i++) {
        bool is_null;
        Bytes element;
        if (!next_value(&array.rest, &is_null, &element)) return LOSS_MALFORMED;
        if (is_null) continue;
        PgLoss loss = column->element->decode(column->element, &elements, at + i, element);
        if (loss >= LOSS_MALFORMED) return loss;
        if (loss != LOSS_NONE) worst = loss;
    }
    return array.rest.size == 0 ? worst : LOSS_MALFORMED;
}

/* Rows. */

static bool corrupt(const PgReader *reader, const char *what, Err *err) {
    return err_set(err, LH_CORRUPT, "row %lld as the source sent it is not PostgreSQL's: %s",
                   (long long)reader->rows + 1, what);
}

static bool refuse(const PgReader *reader, const PgColumn *column, PgLoss loss, Err *err) {
    long long row = (long long)reader->rows + 1;
    if (loss == LOSS_DIMENSIONS)
        return err_code(err, LH_INVALID, "array_dimensions",
                        "column '%.*s' of row %lld is an array of more than one dimension, and "
                        "was not declared so: ask for the column as text, types "
                        "{\"%.*s\": \"VARCHAR\"}",
                        SHOW(column->name), row, SHOW(column->name));
    return err_set(err, LH_CORRUPT, "column '%.*s' of row %lld is not a value of type %.*s",
                   SHOW(column->name), row, SHOW(column->declared));
}

static bool read_header(PgReader *reader, Bytes *rest, Err *err) {
    static const char signature[11] = "PGCOPY\n\377\r\n"; /* its last byte is the NUL */
    if (rest->size < 19 || memcmp(rest->data, signature, 11) != 0)
        return corrupt(reader, "the header is missing", err);
    uint32_t flags = be32(rest->data + 11), extension = be32(rest->data + 15);
    if (flags >> 16) return corrupt(reader, "an unknown flag in the header", err);
    if (extension > rest->size - 19) return corrupt(reader, "a header that is cut", err);
    *rest = (Bytes){rest->data + 19 + extension, rest->size - 19 - extension};
    reader->has_header = true;
    return true;
}

static bool read_last(PgReader *reader, Bytes *rest, Err *err) {
    bool is_null;
    Bytes value;
    if (!next_value(rest, &is_null, &value)) return corrupt(reader, "it is cut", err);
    if (is_null) return true;
    text_clear(&reader->last);
    text_add(&reader->last, str_of(value));
    return true;
}

static bool read_row(PgReader *reader, Bytes *rest, size_t row, Err *err) {
    for (size_t i = 0; i < reader->count; i++) {
        const PgColumn *column = &reader->columns[i];
        bool is_null;
        Bytes value;
        if (!next_value(rest, &is_null, &value)) return corrupt(reader, "it is cut", err);
        if (is_null) continue;
        PgLoss loss = column->decode(column, &reader->slots[i], row, value);
        if (loss >= LOSS_COUNTED) return refuse(reader, column, loss, err);
        if (loss != LOSS_NONE) reader->losses[i][loss]++;
    }
    if (reader->has_last && !read_last(reader, rest, err)) return false;
    reader->rows++;
    return true;
}

Str pg_peek_last(const PgReader *reader, Bytes message) {
    Bytes value = {0};
    bool is_null = true;
    if (message.size < 2 || be16(message.data) != reader->count + 1) return (Str){0};
    message = (Bytes){message.data + 2, message.size - 2};
    for (size_t i = 0; i <= reader->count; i++)
        if (!next_value(&message, &is_null, &value)) return (Str){0};
    return is_null ? (Str){0} : str_of(value);
}

bool pg_read(PgReader *reader, Bytes *message, size_t row, size_t room, size_t *rows, Err *err) {
    *rows = 0;
    if (!reader->has_header && !read_header(reader, message, err)) return false;
    while (message->size > 0 && *rows < room) {
        if (message->size < 2 || reader->ended)
            return corrupt(reader, "bytes that are none's", err);
        uint16_t fields = be16(message->data);
        *message = (Bytes){message->data + 2, message->size - 2};
        if (fields == UINT16_MAX) {
            reader->ended = true;
            continue;
        }
        if (fields != reader->count + reader->has_last)
            return corrupt(reader, "it has another number of columns", err);
        if (!read_row(reader, message, row + *rows, err)) return false;
        *rows += 1;
    }
    return true;
}
