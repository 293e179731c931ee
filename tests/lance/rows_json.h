/* Rows of a table as JSON lines, for tests that compare them with another reader's: integers of 64
 * bits as text, bytes as hex, floats in full, lists as arrays with null items. */
#pragma once

#include "lance/lance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static inline void print_number(JsonWriter *w, const LanceType *type, const uint8_t *at) {
    LanceKind kind = type->kind == LANCE_VECTOR ? type->item : type->kind;
    uint64_t raw = 0;
    memcpy(&raw, at, type->bits / 8);
    if (kind == LANCE_FLOAT) {
        double value;
        float narrow;
        memcpy(&narrow, at, type->bits == 32 ? 4 : 0);
        if (type->bits == 16) return jw_uint(w, raw); /* its bits */
        if (type->bits == 32)
            value = (double)narrow;
        else
            memcpy(&value, at, 8);
        if (isnan(value)) return jw_cstr(w, "NaN");
        if (isinf(value)) return jw_cstr(w, value > 0 ? "Infinity" : "-Infinity");
        return jw_real(w, value);
    }
    int shift = 64 - (int)type->bits;
    if (kind == LANCE_UINT)
        return type->bits == 64 ? jw_print(w, "%llu", (unsigned long long)raw) : jw_uint(w, raw);
    int64_t value = (int64_t)(raw << shift) >> shift;
    if (type->bits == 64) return jw_print(w, "%lld", (long long)value);
    jw_int(w, value);
}

static inline void print_hex(JsonWriter *w, const uint8_t *data, size_t size) {
    OWNED(text_close) Text hex = {0};
    for (size_t i = 0; i < size; i++) text_print(&hex, "%02x", data[i]);
    jw_text(w, text_str(&hex));
}

static inline void print_value(JsonWriter *w, const LanceType *type, const LanceColumn *column,
                               size_t row) {
    const uint8_t *values = column->values;
    size_t width = type->bits / 8;
    if (lance_is_null(column, row) || type->kind == LANCE_NULL) return jw_null(w);
    switch (type->kind) {
    case LANCE_TEXT:
        return jw_text(w, lance_text(column, row));
    case LANCE_BINARY:
        return print_hex(w, values + column->offsets[row],
                         (size_t)(column->offsets[row + 1] - column->offsets[row]));
    case LANCE_BOOL:
        return jw_flag(w, lance_bit(values, row));
    case LANCE_FIXED:
        return print_hex(w, values + row * width, width);
    case LANCE_VECTOR:
        jw_array(w);
        for (uint64_t i = row * type->dimension; i < (row + 1) * (uint64_t)type->dimension; i++) {
            if (column->items && !lance_bit(column->items, i))
                jw_null(w);
            else
                print_number(w, type, values + i * width);
        }
        return jw_end(w);
    default:
        return print_number(w, type, values + row * width);
    }
}

static inline void print_row(Text *out, const LanceSchema *schema, const LanceBatch *batch,
                             size_t row) {
    JsonWriter w = {.out = out};
    jw_object(&w);
    jw_name(&w, "_addr");
    jw_print(&w, "%llu", (unsigned long long)batch->addresses[row]);
    for (size_t i = 0; i < schema->len; i++) {
        jw_name_str(&w, schema->fields[i].name);
        print_value(&w, &schema->fields[i].type, &batch->columns[i], row);
    }
    jw_end(&w);
    text_add_byte(out, '\n');
}
