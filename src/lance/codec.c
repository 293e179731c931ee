/* The tree of a CompressiveEncoding: see codec.h. */
#include "lance/codec.h"
#include "lance/page.h"
#include "lance/wire.h"

static const char *const codec_names[] = {
    "nothing",
    "Flat",
    "Variable",
    "Constant",
    "OutOfLineBitpacking",
    "InlineBitpacking",
    "Fsst",
    "Dictionary",
    "Rle",
    "ByteStreamSplit",
    "General",
    "FixedSizeList",
    "PackedStruct",
    "VariablePackedStruct",
    "Range",
    "Delta",
};

static const char *codec_name(uint32_t number) {
    return number < COUNT(codec_names) ? codec_names[number] : "a codec that is not known";
}

static bool node_read(Bytes message, int depth, Arena *arena, const Codec **out, Err *err);

static bool inner_read(Bytes message, uint32_t number, int depth, Arena *arena, const Codec **out,
                       Err *err) {
    WireField field;
    if (!wire_find(message, number, &field))
        return err_set(err, LH_CORRUPT, "a codec lacks its part %u", number);
    return node_read(field.bytes, depth + 1, arena, out, err);
}

static uint32_t number_of(Bytes message, uint32_t number) {
    WireField field = {0};
    wire_find(message, number, &field);
    return (uint32_t)MIN(field.value, UINT32_MAX);
}

/* {1: {1: scheme, 2: level}, ...} */
static bool scheme_read(Bytes message, Codec *codec, Err *err) {
    WireField field = {0};
    wire_find(message, 1, &field);
    uint32_t scheme = number_of(field.bytes, 1);
    if (scheme != SCHEME_LZ4 && scheme != SCHEME_ZSTD)
        return lance_unsupported(err, "values are compressed by scheme %u, which is not read here",
                                 scheme);
    codec->scheme = (GeneralScheme)scheme;
    return true;
}

/* A buffer of a Flat, Variable or InlineBitpacking may be compressed by itself. */
static bool plain_check(Bytes message, uint32_t kind, Err *err) {
    WireField field;
    return !wire_find(message, 2, &field) ||
           lance_unsupported(err, "a buffer of %s is compressed, which is not read here",
                             codec_name(kind));
}

static bool bits_check(const Codec *codec, bool one, Err *err) {
    uint32_t bits = codec->bits;
    bool offset = bits == 32 || bits == 64;
    bool word = offset || (codec->kind != CODEC_VARIABLE && (bits == 8 || bits == 16));
    bool whole = bits % 8 == 0 && bits > 0 && bits <= LANCE_DIMENSION_MAX * 8;
    if (codec->kind == CODEC_FLAT ? whole || (one && bits == 1) : word) return true;
    return err_set(err, LH_CORRUPT, "%s of %u bits", codec_name(codec->kind), bits);
}

/* A Flat within another codec, whose bits become those of `codec`. */
static bool inner_bits(Codec *codec, Err *err) {
    if (codec->inner->kind == CODEC_FLAT) return codec->bits = codec->inner->bits, true;
    return lance_unsupported(err, "%s over %s is not read here", codec_name(codec->kind),
                             codec_name(codec->inner->kind));
}

static bool part_read(Bytes message, int depth, Arena *arena, Codec *codec, Err *err) {
    switch (codec->kind) {
    case CODEC_FLAT:
        codec->bits = number_of(message, 1);
        return plain_check(message, codec->kind, err) && bits_check(codec, true, err);
    case CODEC_VARIABLE:
        return plain_check(message, codec->kind, err) &&
               inner_read(message, 1, depth, arena, &codec->inner, err) && inner_bits(codec, err) &&
               bits_check(codec, false, err);
    case CODEC_OUT_OF_LINE: /* its inner Flat has any width up to the value's */
        codec->bits = number_of(message, 1);
        return bits_check(codec, false, err);
    case CODEC_INLINE:
        codec->bits = number_of(message, 1);
        return plain_check(message, codec->kind, err) && bits_check(codec, false, err);
    case CODEC_RLE:
    case CODEC_SPLIT:
        return inner_read(message, 1, depth, arena, &codec->inner, err) && inner_bits(codec, err) &&
               bits_check(codec, false, err);
    case CODEC_GENERAL:
        return scheme_read(message, codec, err) &&
               inner_read(message, 3, depth, arena, &codec->inner, err);
    case CODEC_VECTOR:
        codec->items = number_of(message, 1);
        codec->item_validity = number_of(message, 3) != 0;
        return inner_read(message, 2, depth, arena, &codec->inner, err) && inner_bits(codec, err);
    default:
        return true;
    }
}

/* OutOfLineBitpacking {1: bits of a value, 3: Flat(bits as packed)} */
static bool out_of_line_read(Bytes message, Arena *arena, Codec *codec, Err *err) {
    WireField values, flat;
    Codec *inner = arena_new(arena, Codec);
    if (!wire_find(message, 3, &values) || !wire_find(values.bytes, CODEC_FLAT, &flat))
        return err_set(err, LH_CORRUPT, "a codec lacks its packed values");
    *inner = (Codec){.kind = CODEC_FLAT, .bits = number_of(flat.bytes, 1)};
    codec->inner = inner;
    return inner->bits <= codec->bits ||
           err_set(err, LH_CORRUPT, "values of %u bits are packed into %u", codec->bits,
                   inner->bits);
}

static bool fsst_read(Bytes message, int depth, Arena *arena, Codec *codec, Err *err) {
    WireField table;
    FsstTable checked;
    if (!wire_find(message, 1, &table))
        return err_set(err, LH_CORRUPT, "texts are compressed without their table of symbols");
    codec->symbols = table.bytes;
    if (!fsst_table(table.bytes, &checked, err) ||
        !inner_read(message, 2, depth, arena, &codec->inner, err))
        return false;
    codec->bits = codec->inner->bits;
    return codec->inner->kind == CODEC_VARIABLE ||
           lance_unsupported(err, "Fsst over %s is not read here", codec_name(codec->inner->kind));
}

static bool node_read(Bytes message, int depth, Arena *arena, const Codec **out, Err *err) {
    WireField one;
    WireReader reader = wire_read(message);
    if (depth > ENCODING_DEPTH_MAX) return err_set(err, LH_CORRUPT, "a codec is nested too deeply");
    if (!wire_next(&reader, &one) || one.type != WIRE_BYTES)
        return err_set(err, LH_CORRUPT, "a codec is not a message");
    Codec *codec = arena_new(arena, Codec);
    codec->kind = (CodecKind)one.number;
    switch (codec->kind) {
    case CODEC_FLAT:
    case CODEC_VARIABLE:
    case CODEC_OUT_OF_LINE:
    case CODEC_INLINE:
    case CODEC_FSST:
    case CODEC_RLE:
    case CODEC_SPLIT:
    case CODEC_GENERAL:
    case CODEC_VECTOR:
        break;
    default:
        return lance_unsupported(err, "values are encoded as %s, which is not read here",
                                 codec_name(one.number));
    }
    if (!part_read(one.bytes, depth, arena, codec, err)) return false;
    if (codec->kind == CODEC_OUT_OF_LINE && !out_of_line_read(one.bytes, arena, codec, err))
        return false;
    if (codec->kind == CODEC_FSST && !fsst_read(one.bytes, depth, arena, codec, err)) return false;
    *out = codec;
    return true;
}

bool codec_read(Bytes message, Arena *arena, const Codec **out, Err *err) {
    return node_read(message, 0, arena, out, err);
}

void codec_describe(const Codec *codec, Text *out) {
    text_print(out, "%s", codec_name(codec->kind));
    if (codec->kind == CODEC_GENERAL)
        text_print(out, "(%s)", codec->scheme == SCHEME_LZ4 ? "LZ4" : "ZSTD");
    else if (codec->kind == CODEC_VECTOR)
        text_print(out, "(%llu)", (unsigned long long)codec->items);
    else
        text_print(out, "(%u)", codec->bits);
    if (!codec->inner) return;
    text_add(out, STR(" of "));
    codec_describe(codec->inner, out);
}
