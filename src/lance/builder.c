/* The column that decoders fill: rows in order, memory from the caller's arena, nothing copied
 * where the page's own bytes will do. */
#include "lance/page.h"

#include <stdio.h>
#include <string.h>

bool lance_unsupported(Err *err, const char *format, ...) {
    char message[sizeof err->message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return err_code(err, LH_IMPOSSIBLE, "lance_unsupported", "%s", message);
}

uint32_t type_row_bytes(const LanceType *type) {
    return type->bits % 8 ? 0 : type->bits / 8 * type->dimension;
}

bool type_is_text(const LanceType *type) {
    return type->kind == LANCE_TEXT || type->kind == LANCE_BINARY;
}

bool builder_open(Builder *builder, const LanceType *type, size_t rows, Arena *arena, Err *err) {
    uint64_t width = type_is_text(type) ? sizeof(uint64_t) : MAX(type_row_bytes(type), 1u);
    if (type->kind == LANCE_OTHER)
        return lance_unsupported(err, "values of type '%.*s' cannot be read here",
                                 SHOW(type->logical));
    if (rows > LANCE_BUFFER_MAX / width)
        return err_set(err, LH_TOO_BIG, "%zu rows of '%.*s' are more than %u bytes at once", rows,
                       SHOW(type->logical), LANCE_BUFFER_MAX);
    *builder = (Builder){.type = type, .arena = arena, .rows = rows};
    if (type_is_text(type)) builder->offsets = arena_array(arena, uint64_t, rows + 1);
    return true;
}

void builder_finish(Builder *builder, LanceColumn *out) {
    static const uint8_t nothing[16];
    const uint8_t *values = builder->borrowed ? builder->borrowed : builder->values;
    *out = (LanceColumn){.validity = builder->validity,
                         .values = values ? values : nothing,
                         .offsets = builder->offsets,
                         .items = builder->items};
}

static uint8_t *values_of(Builder *builder) {
    size_t width = type_row_bytes(builder->type);
    size_t size = width ? builder->rows * width : (builder->rows + 7) / 8;
    if (!builder->values) builder->values = arena_alloc(builder->arena, size);
    return builder->values;
}

uint8_t *builder_fixed(Builder *builder, size_t count) {
    size_t width = type_row_bytes(builder->type);
    uint8_t *place = values_of(builder) + builder->len * width;
    builder->len += count;
    return place;
}

void builder_fixed_from(Builder *builder, size_t count, Bytes values) {
    size_t alignment = builder->type->kind == LANCE_FIXED ? 1 : builder->type->bits / 8;
    if (builder->borrow && (uintptr_t)values.data % alignment == 0) {
        builder->borrowed = values.data;
        builder->len += count;
        return;
    }
    memcpy(builder_fixed(builder, count), values.data, values.size);
}

static void bits_copy(uint8_t *to, uint64_t at, const uint8_t *bits, uint64_t from,
                      uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        if (lance_bit(bits, from + i)) to[(at + i) >> 3] |= (uint8_t)(1u << ((at + i) & 7));
}

void builder_bools(Builder *builder, size_t count, const uint8_t *bits, uint64_t from) {
    bits_copy(values_of(builder), builder->len, bits, from, count);
    builder->len += count;
}

static uint8_t *bytes_reserve(Builder *builder, size_t more) {
    if (!builder->values || builder->bytes_cap - builder->bytes_len < more) {
        size_t cap = MAX(builder->bytes_cap * 2, builder->bytes_len + more + 64);
        uint8_t *grown = arena_alloc(builder->arena, cap);
        if (builder->bytes_len) memcpy(grown, builder->values, builder->bytes_len);
        builder->values = grown;
        builder->bytes_cap = cap;
    }
    return builder->values + builder->bytes_len;
}

bool builder_texts_fit(const Builder *builder, Err *err) {
    return builder->bytes_len <= LANCE_BUFFER_MAX ||
           err_set(err, LH_TOO_BIG, "texts of more than %u bytes at once", LANCE_BUFFER_MAX);
}

void builder_text(Builder *builder, Bytes value) {
    uint8_t *place = bytes_reserve(builder, value.size);
    if (value.size) memcpy(place, value.data, value.size);
    builder->bytes_len += value.size;
    builder->offsets[++builder->len] = builder->bytes_len;
}

void builder_texts(Builder *builder, const uint8_t *bytes, const uint64_t *offsets, size_t count) {
    size_t size = (size_t)(offsets[count] - offsets[0]);
    uint8_t *place = bytes_reserve(builder, size);
    uint64_t *ends = builder->offsets + builder->len + 1;
    if (size) memcpy(place, bytes, size);
    for (size_t i = 0; i < count; i++) ends[i] = builder->bytes_len + (offsets[i + 1] - offsets[0]);
    builder->bytes_len += size;
    builder->len += count;
}

void builder_set_null(Builder *builder, size_t row) {
    if (!builder->validity) {
        size_t size = (builder->rows + 7) / 8;
        builder->validity = arena_alloc(builder->arena, size);
        memset(builder->validity, 0xff, size);
    }
    builder->validity[row >> 3] &= (uint8_t) ~(1u << (row & 7));
}

/* Their values are zeroes. */
void builder_nulls(Builder *builder, size_t count) {
    if (!builder->offsets && builder->type->kind != LANCE_NULL) values_of(builder);
    for (size_t i = 0; i < count; i++) {
        builder_set_null(builder, builder->len);
        if (builder->offsets) builder->offsets[builder->len + 1] = builder->bytes_len;
        builder->len++;
    }
}

void builder_validity(Builder *builder, size_t row, size_t count, const uint8_t *bits,
                      uint64_t from) {
    for (size_t i = 0; i < count; i++)
        if (!lance_bit(bits, from + i)) builder_set_null(builder, row + i);
}

void builder_items(Builder *builder, uint64_t at, uint64_t count, const uint8_t *bits,
                   uint64_t from) {
    if (!builder->items) {
        size_t size = (size_t)(((uint64_t)builder->rows * builder->type->dimension + 7) / 8);
        builder->items = arena_alloc(builder->arena, size);
        memset(builder->items, 0xff, size);
    }
    for (uint64_t i = 0; i < count; i++)
        if (!lance_bit(bits, from + i))
            builder->items[(at + i) >> 3] &= (uint8_t) ~(1u << ((at + i) & 7));
}

/* One row of another column of the same type. */
void builder_copy(Builder *builder, const LanceColumn *from, size_t row) {
    const LanceType *type = builder->type;
    if (lance_is_null(from, row)) return builder_nulls(builder, 1);
    if (type->kind == LANCE_NULL) return builder_nulls(builder, 1);
    if (type_is_text(type)) return builder_text(builder, bytes_of(lance_text(from, row)));
    if (type->kind == LANCE_BOOL) return builder_bools(builder, 1, from->values, row);
    size_t width = type_row_bytes(type);
    uint64_t items = type->dimension;
    if (from->items)
        builder_items(builder, (uint64_t)builder->len * items, items, from->items, row * items);
    memcpy(builder_fixed(builder, 1), (const uint8_t *)from->values + row * width, width);
}
