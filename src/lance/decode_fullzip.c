/* Full-zip pages: large values, each with its definition level before it, found by arithmetic
 * (fixed width) or by an index of where each row begins.
 *
 *     fixed      buffer 0: rows * (level, value); nulls have a slot. The value of a list with null
 *                items begins with their bitmap
 *     variable   buffer 0: (level, length, bytes) a row, a null is its level alone
 *                buffer 1: rows + 1 places in buffer 0, of 1, 2, 4 or 8 bytes each
 *
 * A level is one byte, or nothing where there are no nulls. */
#include "lance/layout.h"
#include "lance/wire.h"

#include <string.h>

typedef struct FullZip {
    const Page *page;
    Arena *arena;
    const Codec *codec;
    uint64_t level_size, value_bits, length_bits;
} FullZip;

static bool contradiction(Err *err) {
    return err_set(err, LH_CORRUPT, "a full-zip page contradicts itself");
}

static bool layout_read(FullZip *zip, Bytes layout, Err *err) {
    WireField field, codec = {0};
    uint64_t level_bits = 0, repetition_bits = 0, rows = 0;
    bool nullable;
    for (WireReader reader = wire_read(layout); wire_next(&reader, &field);) {
        if (field.number == 1) repetition_bits = field.value;
        if (field.number == 2) level_bits = field.value;
        if (field.number == 3) zip->value_bits = field.value;
        if (field.number == 4) zip->length_bits = field.value;
        if (field.number == 5) rows = field.value;
        if (field.number == 7) codec = field;
    }
    if (!layers_check(layout, 8, zip->arena, &nullable, err)) return false;
    if (repetition_bits > 0)
        return lance_unsupported(err, "a page with repetition levels is not read here");
    if (level_bits > 8 || rows != zip->page->rows) return contradiction(err);
    zip->level_size = level_bits > 0;
    return codec_read(codec.bytes, zip->arena, &zip->codec, err);
}

/* Of fixed width. */

static bool fixed_check(const FullZip *zip, const LanceType *type, uint64_t *validity_size,
                        Err *err) {
    const Codec *codec = zip->codec;
    uint64_t items = codec->kind == CODEC_VECTOR ? codec->items : 1;
    *validity_size = codec->item_validity ? (items + 7) / 8 : 0;
    if ((codec->kind != CODEC_FLAT && codec->kind != CODEC_VECTOR) || codec->bits != type->bits ||
        items != type->dimension || type_row_bytes(type) == 0 ||
        zip->value_bits != 8 * (*validity_size + type_row_bytes(type)))
        return err_set(err, LH_CORRUPT, "a full-zip page of '%.*s' has values of %llu bits",
                       SHOW(type->logical), (unsigned long long)zip->value_bits);
    return true;
}

static bool fixed_decode(FullZip *zip, uint64_t from, size_t count, Builder *out, Err *err) {
    const LanceType *type = out->type;
    uint64_t validity;
    Bytes bytes;
    if (!fixed_check(zip, type, &validity, err)) return false;
    size_t width = type_row_bytes(type), stride = (size_t)(zip->level_size + validity + width);
    /* From the caller's arena, for what is borrowed must outlive this call. */
    if (!page_bytes(zip->page, 0, from * stride, (uint64_t)count * stride, out->arena, &bytes, err))
        return false;
    if (stride == width) return builder_fixed_from(out, count, bytes), true;
    size_t row = out->len;
    uint8_t *values = builder_fixed(out, count);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *slot = bytes.data + i * stride;
        if (zip->level_size && slot[0]) builder_set_null(out, row + i);
        if (validity)
            builder_items(out, (row + i) * (uint64_t)type->dimension, type->dimension,
                          slot + zip->level_size, 0);
        memcpy(values + i * width, slot + zip->level_size + validity, width);
    }
    return true;
}

/* Of any length. */

static bool places_read(const FullZip *zip, uint64_t from, size_t count, uint64_t **out, Err *err) {
    const Page *page = zip->page;
    Bytes bytes;
    if (page->buffer_count < 2) return contradiction(err);
    uint64_t width = page->sizes[1] / (page->rows + 1);
    if (width != 1 && width != 2 && width != 4 && width != 8) return contradiction(err);
    if (!page_bytes(page, 1, from * width, (count + 1) * width, zip->arena, &bytes, err))
        return false;
    uint64_t *places = arena_array(zip->arena, uint64_t, count + 1);
    for (size_t i = 0; i <= count; i++) {
        memcpy(&places[i], bytes.data + i * width, (size_t)width);
        if (places[i] > page->sizes[0] || (i > 0 && places[i] < places[i - 1]))
            return contradiction(err);
    }
    *out = places;
    return true;
}

static bool row_add(const FullZip *zip, Bytes row, Builder *out, Err *err) {
    size_t head = (size_t)zip->level_size, width = (size_t)zip->length_bits / 8;
    uint64_t length = 0;
    Bytes value;
    if (head && row.size < 1) return contradiction(err);
    if (head && row.data[0]) return builder_nulls(out, 1), true;
    if (row.size < head + width) return contradiction(err);
    memcpy(&length, row.data + head, width);
    if (length > row.size - head - width) return contradiction(err);
    Bytes stored = {row.data + head + width, (size_t)length};
    if (!codec_value(zip->codec, stored, zip->arena, &value, err)) return false;
    builder_text(out, value);
    return builder_texts_fit(out, err);
}

static bool variable_decode(FullZip *zip, uint64_t from, size_t count, Builder *out, Err *err) {
    uint64_t *places = NULL;
    Bytes bytes;
    if (!out->offsets || (zip->length_bits != 32 && zip->length_bits != 64))
        return contradiction(err);
    if (!places_read(zip, from, count, &places, err) ||
        !page_bytes(zip->page, 0, places[0], places[count] - places[0], zip->arena, &bytes, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        Bytes row = {bytes.data + (places[i] - places[0]), (size_t)(places[i + 1] - places[i])};
        if (!row_add(zip, row, out, err)) return false;
    }
    return true;
}

bool fullzip_decode(const Page *page, Bytes layout, uint64_t from, size_t count, Builder *out,
                    Err *err) {
    OWNED(arena_close) Arena arena = {0};
    FullZip zip = {.page = page, .arena = &arena};
    if (!layout_read(&zip, layout, err)) return false;
    return zip.value_bits ? fixed_decode(&zip, from, count, out, err)
                          : variable_decode(&zip, from, count, out, err);
}
