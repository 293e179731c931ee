/* Writing pages of file versions 2.1 and 2.2 in the plainest form of each layout (decode_layout.c
 * reads these and many more):
 *
 *     nothing but nulls                      Constant, no buffer
 *     lists, and values of 256 bytes or more FullZip: one row is found by arithmetic or by one
 *                                            place, so that it is one read
 *     other values                           MiniBlock of Flat or Variable
 *
 * Levels are kept only where the page has nulls. Source: lance's encodings_v2_1.proto, and what
 * LanceDB writes and reads. */
#include "lance/layout.h"
#include "lance/wire.h"

#define WIDE_BYTES 256 /* from here on LanceDB takes FullZip, too */

void layout_put_flat(Text *out, uint32_t number, uint64_t bits) {
    size_t codec = wire_begin(out, number), flat = wire_begin(out, CODEC_FLAT);
    wire_put(out, 1, bits);
    wire_end(out, flat);
    wire_end(out, codec);
}

void layout_put_values(Text *out, uint32_t number, const LanceType *type) {
    if (!type_is_text(type)) return layout_put_flat(out, number, type->bits);
    size_t codec = wire_begin(out, number), variable = wire_begin(out, CODEC_VARIABLE);
    layout_put_flat(out, 1, layout_offset_bits(type));
    wire_end(out, variable);
    wire_end(out, codec);
}

void layout_put_layers(Text *out, uint32_t number, bool nulls) {
    uint64_t layer = nulls ? LAYER_NULLABLE : LAYER_VALID;
    wire_put_packed(out, number, &layer, 1);
}

uint32_t layout_offset_bits(const LanceType *type) {
    return str_starts(type->logical, STR("large_")) ? 64 : 32;
}

static void constant_encode(PageOut *out) {
    size_t layout = wire_begin(&out->encoding, LAYOUT_CONSTANT);
    layout_put_layers(&out->encoding, 5, true);
    wire_end(&out->encoding, layout);
}

static bool is_wide(const LanceType *type, const LanceColumn *values, size_t rows) {
    if (!type_is_text(type))
        return type->kind == LANCE_VECTOR || type_row_bytes(type) >= WIDE_BYTES;
    for (size_t i = 0; i < rows; i++)
        if (page_text(values, i).len >= WIDE_BYTES) return true;
    return false;
}

void layout_encode(const LanceType *type, const LanceColumn *values, size_t rows, Arena *arena,
                   PageOut *out) {
    PageIn in = {type, values, rows, page_nulls(values->validity, rows)};
    if (type->kind == LANCE_NULL || in.nulls == rows)
        constant_encode(out);
    else if (is_wide(type, values, rows))
        fullzip_encode(&in, arena, out);
    else
        miniblock_encode(&in, arena, out);
}
