/* Writing pages of file version 2.0: plain Arrow buffers and the ArrayEncoding that says which is
 * which.
 *
 *     values without nulls   Nullable.no_nulls(values)
 *     with nulls             Nullable.some_nulls(Flat 1 bit, values)
 *     nothing but nulls      Nullable.all_nulls, no buffer
 *     values of fixed width  Flat(bits), or FixedSizeList(dimension, Nullable(Flat(bits)))
 *     texts                  Binary(ends: Flat 64, bytes: Flat 8, null_adjustment): a null's end is
 *                            the one before it plus null_adjustment, which no end reaches
 *
 * Source: lance's encodings.proto, and what LanceDB writes. */
#include "lance/page.h"
#include "lance/wire.h"

#include <string.h>

enum { ARRAY_FLAT = 1, ARRAY_NULLABLE = 2, ARRAY_VECTOR = 3, ARRAY_BINARY = 6 };
enum { NULLABLE_NONE = 1, NULLABLE_SOME = 2, NULLABLE_ALL = 3 };

static void put_flat(Text *out, uint32_t number, uint64_t bits, uint64_t buffer) {
    size_t message = wire_begin(out, number), flat = wire_begin(out, ARRAY_FLAT);
    wire_put(out, 1, bits);
    size_t place = wire_begin(out, 2);
    wire_put_nonzero(out, 1, buffer);
    wire_end(out, place);
    wire_end(out, flat);
    wire_end(out, message);
}

/* Nullable.no_nulls(Flat) as the message `number`. */
static void put_flat_not_null(Text *out, uint32_t number, uint64_t bits, uint64_t buffer) {
    size_t message = wire_begin(out, number), nullable = wire_begin(out, ARRAY_NULLABLE);
    size_t none = wire_begin(out, NULLABLE_NONE);
    put_flat(out, 1, bits, buffer);
    wire_end(out, none);
    wire_end(out, nullable);
    wire_end(out, message);
}

static Bytes fixed_values(const LanceType *type, const LanceColumn *values, size_t rows,
                          Arena *arena) {
    if (type->kind == LANCE_BOOL) return page_bitmap(values->values, rows, arena);
    return (Bytes){values->values, rows * type_row_bytes(type)};
}

/* The values themselves as an ArrayEncoding in the message `number`. */
static void put_fixed(const LanceType *type, const LanceColumn *values, size_t rows, Arena *arena,
                      uint32_t number, PageOut *out) {
    Text *text = &out->encoding;
    uint64_t items = (uint64_t)rows * type->dimension;
    if (type->kind != LANCE_VECTOR)
        return put_flat(text, number, type->bits,
                        page_add(out, fixed_values(type, values, rows, arena)));
    size_t message = wire_begin(text, number), vector = wire_begin(text, ARRAY_VECTOR);
    wire_put(text, 1, type->dimension);
    if (page_nulls(values->items, items) > 0) {
        size_t inner = wire_begin(text, 2), nullable = wire_begin(text, ARRAY_NULLABLE);
        size_t some = wire_begin(text, NULLABLE_SOME);
        put_flat(text, 1, 1, page_add(out, page_bitmap(values->items, items, arena)));
        put_flat(text, 2, type->bits, page_add(out, fixed_values(type, values, rows, arena)));
        wire_end(text, some);
        wire_end(text, nullable);
        wire_end(text, inner);
    } else {
        put_flat_not_null(text, 2, type->bits,
                          page_add(out, fixed_values(type, values, rows, arena)));
    }
    wire_end(text, vector);
    wire_end(text, message);
}

static void fixed_encode(const LanceType *type, const LanceColumn *values, size_t rows,
                         Arena *arena, PageOut *out) {
    Text *text = &out->encoding;
    size_t nulls = page_nulls(values->validity, rows);
    size_t nullable = wire_begin(text, ARRAY_NULLABLE);
    if (type->kind == LANCE_NULL || (rows > 0 && nulls == rows)) {
        wire_end(text, wire_begin(text, NULLABLE_ALL));
    } else if (nulls == 0) {
        size_t none = wire_begin(text, NULLABLE_NONE);
        put_fixed(type, values, rows, arena, 1, out);
        wire_end(text, none);
    } else {
        size_t some = wire_begin(text, NULLABLE_SOME);
        put_flat(text, 1, 1, page_add(out, page_bitmap(values->validity, rows, arena)));
        put_fixed(type, values, rows, arena, 2, out);
        wire_end(text, some);
    }
    wire_end(text, nullable);
}

/* Bytes below a null are left out, as other readers expect: a null ends where the one before it
 * does. */
static Bytes text_values(const LanceColumn *values, size_t rows, Arena *arena, uint64_t *ends) {
    uint64_t size = 0, at = 0;
    for (size_t i = 0; i < rows; i++) size += page_text(values, i).len;
    bool dense = values->offsets[rows] - values->offsets[0] == size;
    uint8_t *bytes = dense ? NULL : arena_alloc(arena, (size_t)size);
    for (size_t i = 0; i < rows; i++) {
        Str value = page_text(values, i);
        if (bytes && value.len) memcpy(bytes + at, value.data, value.len);
        at += value.len;
        ends[i] = at + (lance_is_null(values, i) ? size + 1 : 0);
    }
    const uint8_t *first = values->values;
    return (Bytes){dense && size ? first + values->offsets[0] : bytes, (size_t)size};
}

static void text_encode(const LanceColumn *values, size_t rows, Arena *arena, PageOut *out) {
    uint64_t *ends = arena_array(arena, uint64_t, rows);
    Bytes bytes = text_values(values, rows, arena, ends);
    Text *text = &out->encoding;
    size_t binary = wire_begin(text, ARRAY_BINARY);
    put_flat_not_null(text, 1, 64,
                      page_add(out, (Bytes){(const uint8_t *)ends, rows * sizeof *ends}));
    put_flat(text, 2, 8, page_add(out, bytes));
    wire_put(text, 3, (uint64_t)bytes.size + 1);
    wire_end(text, binary);
}

void array_encode(const LanceType *type, const LanceColumn *values, size_t rows, Arena *arena,
                  PageOut *out) {
    if (type_is_text(type))
        text_encode(values, rows, arena, out);
    else
        fixed_encode(type, values, rows, arena, out);
}
