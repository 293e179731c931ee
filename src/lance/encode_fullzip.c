/* Writing full-zip pages: decode_fullzip.c draws them. Without nulls, values of fixed width are the
 * column's own bytes, which a mapped file hands out as they lie. */
#include "lance/layout.h"
#include "lance/wire.h"

#include <string.h>

static void put_layout(const PageIn *in, uint32_t width_number, uint64_t width, bool item_nulls,
                       Text *out) {
    size_t layout = wire_begin(out, LAYOUT_FULLZIP);
    wire_put_nonzero(out, 2, in->nulls > 0); /* bits of a level */
    wire_put(out, width_number, width);
    wire_put(out, 5, in->rows);
    wire_put(out, 6, in->rows);
    if (in->type->kind == LANCE_VECTOR) {
        size_t codec = wire_begin(out, 7), vector = wire_begin(out, CODEC_VECTOR);
        wire_put(out, 1, in->type->dimension);
        layout_put_flat(out, 2, in->type->bits);
        wire_put_nonzero(out, 3, item_nulls);
        wire_end(out, vector);
        wire_end(out, codec);
    } else {
        layout_put_values(out, 7, in->type);
    }
    layout_put_layers(out, 8, in->nulls > 0);
    wire_end(out, layout);
}

/* Bits [from, from + count) of a bitmap. */
static void bits_put(uint8_t *out, const uint8_t *bits, uint64_t from, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        if (lance_bit(bits, from + i)) out[i >> 3] |= (uint8_t)(1u << (i & 7));
}

static void fixed_encode(const PageIn *in, Arena *arena, PageOut *out) {
    const LanceColumn *column = in->column;
    uint64_t items = in->type->dimension;
    bool item_nulls = page_nulls(column->items, in->rows * items) > 0;
    size_t level = in->nulls > 0, bitmap = item_nulls ? (size_t)(items + 7) / 8 : 0;
    size_t width = type_row_bytes(in->type), stride = level + bitmap + width;
    put_layout(in, 3, 8 * (uint64_t)(bitmap + width), item_nulls, &out->encoding);
    const uint8_t *values = column->values;
    if (stride == width) return (void)page_add(out, (Bytes){values, in->rows * width});
    uint8_t *bytes = arena_alloc(arena, in->rows * stride);
    for (size_t i = 0; i < in->rows; i++) {
        uint8_t *slot = bytes + i * stride;
        if (level) slot[0] = lance_is_null(column, i);
        if (bitmap) bits_put(slot + level, column->items, i * items, items);
        memcpy(slot + level + bitmap, values + i * width, width);
    }
    page_add(out, (Bytes){bytes, in->rows * stride});
}

static void variable_encode(const PageIn *in, Arena *arena, PageOut *out) {
    size_t level = in->nulls > 0, length_size = layout_offset_bits(in->type) / 8, at = 0, size = 0;
    for (size_t i = 0; i < in->rows; i++)
        size += level + length_size + page_text(in->column, i).len;
    size_t place_size = size > UINT32_MAX ? 8 : 4;
    uint8_t *bytes = arena_alloc(arena, size);
    uint8_t *places = arena_alloc(arena, (in->rows + 1) * place_size);
    for (size_t i = 0; i < in->rows; i++) {
        Str value = page_text(in->column, i);
        number_put(places + i * place_size, at, place_size);
        if (level) bytes[at++] = lance_is_null(in->column, i);
        if (lance_is_null(in->column, i)) continue;
        at += number_put(bytes + at, value.len, length_size);
        if (value.len) memcpy(bytes + at, value.data, value.len);
        at += value.len;
    }
    number_put(places + in->rows * place_size, at, place_size);
    put_layout(in, 4, length_size * 8, false, &out->encoding);
    page_add(out, (Bytes){bytes, at});
    page_add(out, (Bytes){places, (in->rows + 1) * place_size});
}

void fullzip_encode(const PageIn *in, Arena *arena, PageOut *out) {
    if (type_is_text(in->type))
        variable_encode(in, arena, out);
    else
        fixed_encode(in, arena, out);
}
