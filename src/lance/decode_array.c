/* Values of file version 2.0: a tree of ArrayEncoding messages over plain buffers (page_write.c
 * draws it), of which any range of rows is found by arithmetic. LanceDB also writes Dictionary for
 * texts of few values: code 0 is null, code k is item k - 1. Source: lance's encodings.proto. */
#include "lance/page.h"
#include "lance/wire.h"

#include <string.h>

enum {
    ARRAY_FLAT = 1,
    ARRAY_NULLABLE = 2,
    ARRAY_VECTOR = 3,
    ARRAY_BINARY = 6,
    ARRAY_DICTIONARY = 7,
    ARRAY_FIXED_BINARY = 11,
};
enum { NULLABLE_NONE = 1, NULLABLE_SOME = 2, NULLABLE_ALL = 3 };

static const char *const array_names[] = {
    "nothing",
    "Flat",
    "Nullable",
    "FixedSizeList",
    "List",
    "SimpleStruct",
    "Binary",
    "Dictionary",
    "Fsst",
    "PackedStruct",
    "Bitpacked",
    "FixedSizeBinary",
    "BitpackedForNonNeg",
    "Constant",
};

static const char *array_name(uint32_t number) {
    return number < COUNT(array_names) ? array_names[number] : "one that is not known";
}

/* The one field of a oneof. */
static bool one_of(Bytes message, WireField *out, Err *err) {
    WireReader reader = wire_read(message);
    if (wire_next(&reader, out) && out->type == WIRE_BYTES) return true;
    return err_set(err, LH_CORRUPT, "an encoding of a page is not a message");
}

/* A child message; LH_CORRUPT when it is missing. */
static bool child(Bytes message, uint32_t number, Bytes *out, Err *err) {
    WireField field;
    if (!wire_find(message, number, &field))
        return err_set(err, LH_CORRUPT, "an encoding of a page lacks its part %u", number);
    *out = field.bytes;
    return true;
}

static bool unexpected(uint32_t number, const char *place, Err *err) {
    return lance_unsupported(err, "a page is encoded as %s as %s, which is not read here",
                             array_name(number), place);
}

typedef struct Flat {
    uint64_t bits, buffer;
} Flat;

static bool flat_read(Bytes message, Flat *out, Err *err) {
    WireField field;
    *out = (Flat){0};
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) {
        WireField part;
        if (field.number == 1) out->bits = field.value;
        if (field.number == 2 && wire_find(field.bytes, 1, &part)) out->buffer = part.value;
        if (field.number == 2 && wire_find(field.bytes, 2, &part) && part.value)
            return lance_unsupported(err, "a page keeps values outside of itself");
        if (field.number == 3)
            return lance_unsupported(err, "a flat page is compressed, which is not read here");
    }
    return wire_whole(&reader, "an encoding of a page", err);
}

/* A Flat, maybe below Nullable.no_nulls. */
static bool flat_of(Bytes encoding, const char *place, Flat *out, Err *err) {
    WireField one, nullable;
    if (!one_of(encoding, &one, err)) return false;
    if (one.number == ARRAY_NULLABLE) {
        Bytes inner;
        if (!one_of(one.bytes, &nullable, err)) return false;
        if (nullable.number != NULLABLE_NONE) return unexpected(one.number, place, err);
        if (!child(nullable.bytes, 1, &inner, err) || !one_of(inner, &one, err)) return false;
    }
    if (one.number != ARRAY_FLAT) return unexpected(one.number, place, err);
    return flat_read(one.bytes, out, err);
}

/* The bits of items [from, from + count) of a bitmap, the first at bit *first of *out. */
static bool bitmap_read(const Page *page, Bytes encoding, uint64_t from, uint64_t count,
                        Arena *arena, Bytes *out, uint64_t *first, Err *err) {
    Flat flat;
    if (!flat_of(encoding, "a validity", &flat, err)) return false;
    if (flat.bits != 1)
        return err_set(err, LH_CORRUPT, "a validity of %llu bits a value",
                       (unsigned long long)flat.bits);
    *first = from % 8;
    return page_bytes(page, flat.buffer, from / 8, (*first + count + 7) / 8, arena, out, err);
}

static bool flat_decode(const Page *page, Bytes message, uint64_t from, size_t count, Builder *out,
                        Err *err) {
    const LanceType *type = out->type;
    Flat flat;
    Bytes values;
    if (!flat_read(message, &flat, err)) return false;
    if (flat.bits != type->bits || type->bits == 0)
        return err_set(err, LH_CORRUPT, "a page of '%.*s' has values of %llu bits",
                       SHOW(type->logical), (unsigned long long)flat.bits);
    if (type->kind == LANCE_BOOL) {
        if (!page_bytes(page, flat.buffer, from / 8, (from % 8 + count + 7) / 8, out->arena,
                        &values, err))
            return false;
        return builder_bools(out, count, values.data, from % 8), true;
    }
    uint64_t width = type_row_bytes(type);
    if (!page_bytes(page, flat.buffer, from * width, count * width, out->arena, &values, err))
        return false;
    builder_fixed_from(out, count, values);
    return true;
}

/* Items of a vector: Flat, or Nullable over Flat. */
static bool vector_decode(const Page *page, Bytes message, uint64_t from, size_t count,
                          Builder *out, Err *err) {
    const LanceType *type = out->type;
    WireField dimension = {0}, items, nullable;
    Bytes inner, valid, bits;
    uint64_t first, at = (uint64_t)out->len * type->dimension;
    wire_find(message, 1, &dimension);
    if (type->kind != LANCE_VECTOR || dimension.value != type->dimension)
        return err_set(err, LH_CORRUPT, "a page of '%.*s' has lists of %llu", SHOW(type->logical),
                       (unsigned long long)dimension.value);
    if (!child(message, 2, &inner, err) || !one_of(inner, &items, err)) return false;
    if (items.number == ARRAY_FLAT) return flat_decode(page, items.bytes, from, count, out, err);
    if (items.number != ARRAY_NULLABLE) return unexpected(items.number, "items of lists", err);
    if (!one_of(items.bytes, &nullable, err)) return false;
    if (nullable.number == NULLABLE_SOME) {
        if (!child(nullable.bytes, 1, &valid, err) ||
            !bitmap_read(page, valid, from * type->dimension, (uint64_t)count * type->dimension,
                         out->arena, &bits, &first, err))
            return false;
        builder_items(out, at, (uint64_t)count * type->dimension, bits.data, first);
    } else if (nullable.number != NULLABLE_NONE) {
        return unexpected(items.number, "items of lists that are all null", err);
    }
    uint32_t part = nullable.number == NULLABLE_SOME ? 2 : 1;
    if (!child(nullable.bytes, part, &inner, err) || !one_of(inner, &items, err)) return false;
    if (items.number != ARRAY_FLAT) return unexpected(items.number, "items of lists", err);
    return flat_decode(page, items.bytes, from, count, out, err);
}

/* Where each text ends: entries [from - 1, from + count), the first 0 at the page's beginning. */
static bool ends_read(const Page *page, Bytes encoding, uint64_t from, size_t count, Arena *arena,
                      uint64_t **out, Err *err) {
    Flat flat;
    Bytes bytes;
    if (!flat_of(encoding, "the ends of texts", &flat, err)) return false;
    if (flat.bits != 64 && flat.bits != 32)
        return err_set(err, LH_CORRUPT, "ends of texts have %llu bits",
                       (unsigned long long)flat.bits);
    uint64_t width = flat.bits / 8, skip = from > 0;
    if (!page_bytes(page, flat.buffer, (from - skip) * width, (count + skip) * width, arena, &bytes,
                    err))
        return false;
    uint64_t *ends = arena_array(arena, uint64_t, count + 1);
    for (size_t i = 0; i < count + skip; i++)
        memcpy(&ends[i + 1 - skip], bytes.data + i * width, (size_t)width);
    *out = ends;
    return true;
}

/* Turns ends with marks of null into offsets that never go backwards. */
static bool ends_check(uint64_t *ends, uint64_t adjustment, uint64_t size, size_t count,
                       Builder *out, Err *err) {
    for (size_t i = 0; i <= count; i++) {
        bool null = adjustment > 0 && ends[i] >= adjustment;
        if (null) ends[i] -= adjustment;
        if (ends[i] > size || (i > 0 && ends[i] < ends[i - 1]))
            return err_set(err, LH_CORRUPT, "a text ends at %llu of %llu bytes",
                           (unsigned long long)ends[i], (unsigned long long)size);
        if (null && i > 0) builder_set_null(out, out->len + i - 1);
    }
    return true;
}

static bool binary_decode(const Page *page, Bytes message, uint64_t from, size_t count,
                          Builder *out, Err *err) {
    Bytes indices, values, text;
    WireField adjustment = {0};
    Flat flat;
    uint64_t *ends = NULL;
    if (!out->offsets)
        return err_set(err, LH_CORRUPT, "a page of '%.*s' holds texts", SHOW(out->type->logical));
    wire_find(message, 3, &adjustment);
    if (!child(message, 1, &indices, err) || !child(message, 2, &values, err) ||
        !flat_of(values, "texts", &flat, err) ||
        !ends_read(page, indices, from, count, out->arena, &ends, err))
        return false;
    if (flat.bits != 8 || flat.buffer >= page->buffer_count)
        return err_set(err, LH_CORRUPT, "texts of %llu bits a byte", (unsigned long long)flat.bits);
    uint64_t size = page->sizes[flat.buffer];
    if (!ends_check(ends, adjustment.value, size, count, out, err) ||
        !page_bytes(page, flat.buffer, ends[0], ends[count] - ends[0], out->arena, &text, err))
        return false;
    if (out->borrow && out->len == 0 && text.data) {
        for (size_t i = 0; i <= count; i++) out->offsets[i] = ends[i] - ends[0];
        out->borrowed = text.data;
        out->len = count;
        return true;
    }
    builder_texts(out, text.data, ends, count);
    return true;
}

static bool values_decode(const Page *page, Bytes encoding, uint64_t from, size_t count, int depth,
                          Builder *out, Err *err);

/* Codes of 8 to 64 bits and the few values they stand for. */
static bool dictionary_decode(const Page *page, Bytes message, uint64_t from, size_t count,
                              int depth, Builder *out, Err *err) {
    Bytes indices, items, codes;
    WireField many = {0};
    Flat flat;
    Builder values;
    LanceColumn column;
    wire_find(message, 3, &many);
    if (!out->offsets)
        return lance_unsupported(err, "a dictionary of '%.*s' is not read here",
                                 SHOW(out->type->logical));
    if (!child(message, 1, &indices, err) || !child(message, 2, &items, err) ||
        !flat_of(indices, "codes of a dictionary", &flat, err))
        return false;
    uint64_t width = flat.bits / 8;
    if (flat.bits % 8 || (width != 1 && width != 2 && width != 4 && width != 8) ||
        many.value > LANCE_BATCH_ROWS_MAX)
        return err_set(err, LH_CORRUPT, "a dictionary of %llu items with codes of %llu bits",
                       (unsigned long long)many.value, (unsigned long long)flat.bits);
    if (!page_bytes(page, flat.buffer, from * width, count * width, out->arena, &codes, err) ||
        !builder_open(&values, out->type, (size_t)many.value, out->arena, err) ||
        !values_decode(page, items, 0, (size_t)many.value, depth + 1, &values, err))
        return false;
    builder_finish(&values, &column);
    for (size_t i = 0; i < count; i++) {
        uint64_t code = 0;
        memcpy(&code, codes.data + i * width, (size_t)width);
        if (code > many.value)
            return err_set(err, LH_CORRUPT, "code %llu of a dictionary of %llu",
                           (unsigned long long)code, (unsigned long long)many.value);
        if (!builder_texts_fit(out, err)) return false;
        if (code == 0)
            builder_nulls(out, 1);
        else
            builder_text(out, bytes_of(lance_text(&column, (size_t)code - 1)));
    }
    return true;
}

static bool nullable_decode(const Page *page, Bytes message, uint64_t from, size_t count, int depth,
                            Builder *out, Err *err) {
    WireField one;
    Bytes valid, inner, bits;
    uint64_t first;
    if (!one_of(message, &one, err)) return false;
    if (one.number == NULLABLE_ALL) return builder_nulls(out, count), true;
    if (one.number == NULLABLE_NONE)
        return child(one.bytes, 1, &inner, err) &&
               values_decode(page, inner, from, count, depth + 1, out, err);
    if (one.number != NULLABLE_SOME) return unexpected(ARRAY_NULLABLE, "an unknown form", err);
    size_t row = out->len;
    if (!child(one.bytes, 1, &valid, err) || !child(one.bytes, 2, &inner, err) ||
        !bitmap_read(page, valid, from, count, out->arena, &bits, &first, err) ||
        !values_decode(page, inner, from, count, depth + 1, out, err))
        return false;
    builder_validity(out, row, count, bits.data, first);
    return true;
}

static bool fixed_binary_decode(const Page *page, Bytes message, uint64_t from, size_t count,
                                Builder *out, Err *err) {
    Bytes inner, values;
    WireField width = {0};
    Flat flat;
    wire_find(message, 2, &width);
    if (!child(message, 1, &inner, err) || !flat_of(inner, "bytes of fixed length", &flat, err))
        return false;
    if (out->type->kind != LANCE_FIXED || flat.bits != 8 || width.value * 8 != out->type->bits)
        return unexpected(ARRAY_FIXED_BINARY, "values of another width", err);
    if (!page_bytes(page, flat.buffer, from * width.value, count * width.value, out->arena, &values,
                    err))
        return false;
    builder_fixed_from(out, count, values);
    return true;
}

static bool values_decode(const Page *page, Bytes encoding, uint64_t from, size_t count, int depth,
                          Builder *out, Err *err) {
    WireField one;
    if (depth > ENCODING_DEPTH_MAX)
        return err_set(err, LH_CORRUPT, "the encoding of a page is nested too deeply");
    if (!one_of(encoding, &one, err)) return false;
    switch (one.number) {
    case ARRAY_FLAT:
        if (out->type->kind == LANCE_VECTOR) return unexpected(ARRAY_FLAT, "lists", err);
        return flat_decode(page, one.bytes, from, count, out, err);
    case ARRAY_NULLABLE:
        return nullable_decode(page, one.bytes, from, count, depth, out, err);
    case ARRAY_VECTOR:
        return vector_decode(page, one.bytes, from, count, out, err);
    case ARRAY_BINARY:
        return binary_decode(page, one.bytes, from, count, out, err);
    case ARRAY_DICTIONARY:
        return dictionary_decode(page, one.bytes, from, count, depth, out, err);
    case ARRAY_FIXED_BINARY:
        return fixed_binary_decode(page, one.bytes, from, count, out, err);
    default:
        return unexpected(one.number, "values", err);
    }
}

bool array_decode(const Page *page, uint64_t from, size_t count, Builder *out, Err *err) {
    return values_decode(page, page->encoding, from, count, 0, out, err);
}

static void describe(Bytes encoding, int depth, Text *out) {
    WireField one, part;
    Err ignored = {0};
    if (depth > ENCODING_DEPTH_MAX || !one_of(encoding, &one, &ignored))
        return text_add(out, STR("?"));
    text_print(out, "%s", array_name(one.number));
    bool bits = one.number == ARRAY_FLAT || one.number == ARRAY_VECTOR;
    if (bits && wire_find(one.bytes, 1, &part))
        text_print(out, "(%llu)", (unsigned long long)part.value);
    if (one.number == ARRAY_NULLABLE) {
        WireField nullable;
        if (!one_of(one.bytes, &nullable, &ignored)) return;
        text_print(out, ".%s",
                   nullable.number == NULLABLE_NONE   ? "no_nulls"
                   : nullable.number == NULLABLE_SOME ? "some_nulls"
                                                      : "all_nulls");
        one = nullable;
        if (!wire_find(one.bytes, nullable.number == NULLABLE_SOME ? 2 : 1, &part)) return;
    } else if (one.number == ARRAY_FLAT || !wire_find(one.bytes, 2, &part)) {
        return;
    }
    if (part.type != WIRE_BYTES) return;
    text_add(out, STR(" of "));
    describe(part.bytes, depth + 1, out);
}

bool array_describe(Bytes encoding, Text *out) {
    describe(encoding, 0, out);
    return true;
}
