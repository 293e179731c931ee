/* Pages of file versions 2.1 and 2.2: a PageLayout is mini-block (many small values in chunks),
 * full-zip (large values, each found by itself) or constant. Columns that are not nested have one
 * layer: 1, all are valid, or 3, where a definition level of 1 means null. */
#include "lance/layout.h"
#include "lance/wire.h"

#include <string.h>

static const char *const layout_names[] = {"nothing", "MiniBlock", "Constant",
                                           "FullZip", "Blob",      "Sparse"};

static const char *layout_name(uint32_t number) {
    return number < COUNT(layout_names) ? layout_names[number] : "a layout that is not known";
}

bool layers_check(Bytes layout, uint32_t number, Arena *arena, bool *nullable, Err *err) {
    WireNumbers layers = {0};
    WireField field;
    for (WireReader reader = wire_read(layout); wire_next(&reader, &field);)
        if (field.number == number && !wire_numbers(&field, arena, &layers, err)) return false;
    if (layers.len != 1 || (layers.items[0] != LAYER_VALID && layers.items[0] != LAYER_NULLABLE))
        return lance_unsupported(err, "a page of a nested column is not read here");
    *nullable = layers.items[0] == LAYER_NULLABLE;
    return true;
}

static bool level_at(const uint8_t *levels, size_t row) {
    return levels && (levels[row * 2] || levels[row * 2 + 1]);
}

static void texts_add(const Values *values, const uint8_t *levels, size_t from, size_t to,
                      Builder *out) {
    if (!levels) {
        const uint64_t *offsets = values->offsets + from;
        return builder_texts(out, values->bytes + offsets[0], offsets, to - from);
    }
    for (size_t i = from; i < to; i++) {
        if (level_at(levels, i))
            builder_nulls(out, 1);
        else
            builder_text(out, (Bytes){values->bytes + values->offsets[i],
                                      (size_t)(values->offsets[i + 1] - values->offsets[i])});
    }
}

/* Nulls take up a slot among the values. */
static void fixed_add(const Values *values, const uint8_t *levels, size_t from, size_t to,
                      Builder *out) {
    size_t row = out->len, width = (size_t)values->bits / 8;
    uint64_t items = out->type->dimension;
    if (values->items)
        builder_items(out, row * items, (to - from) * items, values->items, from * items);
    if (values->bits == 1)
        builder_bools(out, to - from, values->fixed, from);
    else
        memcpy(builder_fixed(out, to - from), values->fixed + from * width, (to - from) * width);
    for (size_t i = from; levels && i < to; i++)
        if (level_at(levels, i)) builder_set_null(out, row + i - from);
}

bool values_add(const Values *values, const uint8_t *levels, size_t from, size_t to, Builder *out,
                Err *err) {
    const LanceType *type = out->type;
    uint64_t bits = (uint64_t)type->bits * type->dimension;
    bool fits =
        values->offsets ? out->offsets != NULL : !out->offsets && bits > 0 && values->bits == bits;
    if (!fits)
        return err_set(err, LH_CORRUPT, "a page of '%.*s' has values of %llu bits",
                       SHOW(type->logical), (unsigned long long)values->bits);
    if (values->offsets)
        texts_add(values, levels, from, to, out);
    else
        fixed_add(values, levels, from, to, out);
    return true;
}

static bool layout_of(Bytes encoding, WireField *out, Err *err) {
    WireReader reader = wire_read(encoding);
    if (wire_next(&reader, out) && out->type == WIRE_BYTES) return true;
    return err_set(err, LH_CORRUPT, "the layout of a page is not a message");
}

bool layout_decode(const Page *page, uint64_t from, size_t count, Builder *out, Err *err) {
    WireField layout;
    if (!layout_of(page->encoding, &layout, err)) return false;
    switch (layout.number) {
    case LAYOUT_MINIBLOCK:
        return miniblock_decode(page, layout.bytes, from, count, out, err);
    case LAYOUT_CONSTANT:
        return constant_decode(page, layout.bytes, from, count, out, err);
    case LAYOUT_FULLZIP:
        return fullzip_decode(page, layout.bytes, from, count, out, err);
    default:
        return lance_unsupported(err, "a page is laid out as %s, which is not read here",
                                 layout_name(layout.number));
    }
}

static void part_describe(Bytes layout, uint32_t number, const char *name, Text *out) {
    OWNED(arena_close) Arena arena = {0};
    WireField part;
    const Codec *codec;
    Err err = {0};
    if (!wire_find(layout, number, &part)) return;
    text_print(out, " %s ", name);
    if (codec_read(part.bytes, &arena, &codec, &err))
        codec_describe(codec, out);
    else
        text_print(out, "(%s)", err.message);
}

bool layout_describe(Bytes encoding, Text *out) {
    WireField layout;
    Err ignored = {0};
    if (!layout_of(encoding, &layout, &ignored)) return text_add(out, STR("?")), true;
    text_print(out, "%s", layout_name(layout.number));
    if (layout.number == LAYOUT_MINIBLOCK) {
        part_describe(layout.bytes, 3, "values", out);
        part_describe(layout.bytes, 2, "levels", out);
        part_describe(layout.bytes, 4, "dictionary", out);
    } else if (layout.number == LAYOUT_FULLZIP) {
        part_describe(layout.bytes, 7, "values", out);
    }
    return true;
}
