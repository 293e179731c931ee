/* Rows that tests make: every value follows from its row number and the column's type, with nulls
 * in the columns whose field is nullable. The interop test makes the same ones in JavaScript. */
#pragma once

#include "lance/lance.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MADE_NULL_EACH 7 /* every seventh row is null */

static inline bool made_is_null(const LanceField *field, uint64_t n) {
    return field->type.kind == LANCE_NULL || (field->nullable && n % MADE_NULL_EACH == 3);
}

static inline void made_number(const LanceType *type, uint64_t n, uint8_t *out) {
    LanceKind kind = type->kind == LANCE_VECTOR ? type->item : type->kind;
    int64_t integer = (int64_t)(n * 1000003) - 500000;
    if (kind == LANCE_FLOAT && type->bits == 32) {
        float value = (float)n * 0.25f - 100;
        memcpy(out, &value, sizeof value);
    } else if (kind == LANCE_FLOAT && type->bits == 64) {
        double value = (double)n / 3 - 1000;
        memcpy(out, &value, sizeof value);
    } else if (kind == LANCE_FLOAT) { /* small integers, exact in 16 bits: 1.0 is 0x3c00 */
        uint16_t value = (uint16_t)(0x3c00 + (n % 4) * 0x400);
        memcpy(out, &value, sizeof value);
    } else {
        memcpy(out, &integer, type->bits / 8);
    }
}

#define MADE_TEXT_MAX 64
#define MADE_TEXT_TIMES 20 /* so often is a text repeated that is to be long */

/* Some values of large_string and large_binary are long. */
static inline size_t made_text(const LanceType *type, uint64_t n, char *out) {
    size_t size = (size_t)snprintf(out, MADE_TEXT_MAX, "row %llu%.*s", (unsigned long long)n,
                                   (int)(n % 40), "........................................");
    if (n % 11 == 5) return 0;
    if (n % 17 != 4 || !str_starts(type->logical, STR("large_"))) return size;
    for (size_t i = 1; i < MADE_TEXT_TIMES; i++) memcpy(out + i * size, out, size);
    return size * MADE_TEXT_TIMES;
}

static inline void made_texts(const LanceField *field, uint64_t from, size_t rows, Arena *arena,
                              LanceColumn *out) {
    uint64_t *offsets = arena_array(arena, uint64_t, rows + 1);
    char *bytes = arena_alloc(arena, (rows + 1) * MADE_TEXT_MAX * MADE_TEXT_TIMES);
    for (size_t i = 0; i < rows; i++) {
        offsets[i + 1] = offsets[i];
        if (!made_is_null(field, from + i))
            offsets[i + 1] += made_text(&field->type, from + i, bytes + offsets[i]);
    }
    out->offsets = offsets;
    out->values = bytes;
}

/* Lists of doubles have null items. */
static inline bool made_has_null_items(const LanceType *type) {
    return type->kind == LANCE_VECTOR && type->item == LANCE_FLOAT && type->bits == 64;
}

static inline const uint8_t *made_items(const LanceType *type, uint64_t from, size_t rows,
                                        Arena *arena) {
    uint8_t *items = arena_alloc(arena, rows * type->dimension / 8 + 1);
    for (size_t i = 0; i < rows * type->dimension; i++)
        if ((from * type->dimension + i) % 5 != 1) items[i >> 3] |= (uint8_t)(1u << (i & 7));
    return items;
}

static inline void made_fixed(const LanceField *field, uint64_t from, size_t rows, Arena *arena,
                              LanceColumn *out) {
    const LanceType *type = &field->type;
    size_t width = type->bits / 8;
    uint8_t *values = arena_alloc(arena, rows * MAX(width, 1) * type->dimension + 16);
    for (size_t i = 0; i < rows; i++) {
        if (type->kind == LANCE_BOOL && (from + i) % 3 == 0)
            values[i >> 3] |= (uint8_t)(1u << (i & 7));
        if (type->kind == LANCE_FIXED)
            for (size_t k = 0; k < width; k++) values[i * width + k] = (uint8_t)(from + i + k);
        if (type->kind == LANCE_INT || type->kind == LANCE_UINT || type->kind == LANCE_FLOAT)
            made_number(type, from + i, values + i * width);
        for (uint32_t k = 0; type->kind == LANCE_VECTOR && k < type->dimension; k++)
            made_number(type, from + i + k, values + (i * type->dimension + k) * width);
    }
    out->values = values;
    if (made_has_null_items(type)) out->items = made_items(type, from, rows, arena);
}

static inline LanceBatch made_rows(const LanceSchema *schema, uint64_t from, size_t rows,
                                   Arena *arena) {
    LanceColumn *columns = arena_array(arena, LanceColumn, schema->len);
    for (size_t c = 0; c < schema->len; c++) {
        const LanceField *field = &schema->fields[c];
        uint8_t *validity = arena_alloc(arena, rows / 8 + 1);
        for (size_t i = 0; i < rows; i++)
            if (!made_is_null(field, from + i)) validity[i >> 3] |= (uint8_t)(1u << (i & 7));
        columns[c].validity = validity;
        if (field->type.kind == LANCE_TEXT || field->type.kind == LANCE_BINARY)
            made_texts(field, from, rows, arena, &columns[c]);
        else
            made_fixed(field, from, rows, arena, &columns[c]);
    }
    return (LanceBatch){.rows = rows, .column_count = schema->len, .columns = columns};
}
