/* What each codec makes of bytes: the buffers of a chunk, blocks that stand alone, single values.
 */
#include "lance/codec.h"
#include "lance/decompress.h"
#include "lance/page.h"

#include <string.h>

static bool mismatch(const char *what, size_t count, Err *err) {
    return err_set(err, LH_CORRUPT, "%s does not hold the %zu values it should", what, count);
}

static bool too_many(size_t count, Err *err) {
    return err_set(err, LH_TOO_BIG, "%zu values at once, at most %u", count, CODEC_VALUES_MAX);
}

static bool flat(uint64_t bits, Bytes data, size_t count, Values *out, Err *err) {
    if (data.size < (count * bits + 7) / 8) return mismatch("a flat buffer", count, err);
    *out = (Values){.count = count, .bits = bits, .fixed = data.data};
    return true;
}

/* Offsets of 32 or 64 bits, made 64; they never go backwards, nor beyond `size`. */
static bool offsets_read(Bytes data, size_t at, uint32_t bits, size_t count, uint64_t size,
                         Arena *arena, const uint64_t **out, Err *err) {
    size_t width = bits / 8;
    if (count > CODEC_VALUES_MAX) return too_many(count, err);
    if (at > data.size || (data.size - at) / width < count + 1)
        return mismatch("a buffer of offsets", count, err);
    uint64_t *offsets = arena_array(arena, uint64_t, count + 1);
    const uint8_t *from = data.data + at;
    uint64_t last = 0;
    bool ordered = true;
    for (size_t i = 0; i <= count; i++, from += width) {
        uint32_t narrow;
        memcpy(&narrow, from, sizeof narrow);
        offsets[i] = narrow;
        if (width == sizeof(uint64_t)) memcpy(&offsets[i], from, sizeof(uint64_t));
        ordered &= offsets[i] >= last;
        last = offsets[i];
    }
    if (!ordered || last > size) return mismatch("a buffer of offsets", count, err);
    *out = offsets;
    return true;
}

/* In a chunk: offsets from the buffer's own start, of which the first is where the bytes begin. */
static bool variable_chunk(uint32_t bits, Bytes data, size_t count, Arena *arena, Values *out,
                           Err *err) {
    *out = (Values){.count = count, .bytes = data.data};
    return offsets_read(data, 0, bits, count, data.size, arena, &out->offsets, err);
}

/* In a block: u32 32, u32 start, or the same of u64; offsets from the data at `start`. */
static bool variable_block(uint32_t bits, Bytes data, size_t count, Arena *arena, Values *out,
                           Err *err) {
    size_t width = bits / 8;
    uint64_t said = 0, start = 0;
    if (data.size < 2 * width) return mismatch("a block of texts", count, err);
    memcpy(&said, data.data, width);
    memcpy(&start, data.data + width, width);
    if (said != bits || start > data.size) return mismatch("a block of texts", count, err);
    *out = (Values){.count = count, .bytes = data.data + start};
    Bytes head = {data.data, (size_t)start};
    return offsets_read(head, 2 * width, bits, count, data.size - start, arena, &out->offsets, err);
}

static bool fsst_values(const Codec *codec, Arena *arena, Values *values, Err *err) {
    FsstTable table;
    if (!fsst_table(codec->symbols, &table, err)) return false;
    if (!table.active) return true;
    size_t count = values->count, done = 0;
    uint64_t size = values->offsets[count] - values->offsets[0];
    if (size > LANCE_BUFFER_MAX / 8) return mismatch("a buffer of texts", count, err);
    uint8_t *bytes = arena_alloc(arena, (size_t)size * 8 + 1);
    uint64_t *offsets = arena_array(arena, uint64_t, count + 1);
    for (size_t i = 0; i < count; i++) {
        Bytes text = {values->bytes + values->offsets[i],
                      (size_t)(values->offsets[i + 1] - values->offsets[i])};
        size_t expanded;
        if (!fsst_expand(&table, text, bytes + done, &expanded, err)) return false;
        done += expanded;
        offsets[i + 1] = done;
    }
    values->bytes = bytes;
    values->offsets = offsets;
    return true;
}

static bool runs(uint32_t bits, Bytes data, Bytes lengths, size_t count, Arena *arena, Values *out,
                 Err *err) {
    size_t width = bits / 8, done = 0, n = MIN(data.size / width, lengths.size);
    if (count > CODEC_VALUES_MAX) return too_many(count, err);
    uint8_t *values = arena_alloc(arena, count * width + 1);
    for (size_t i = 0; i < n && done < count; i++) {
        if (lengths.data[i] > count - done) return mismatch("a buffer of runs", count, err);
        for (size_t k = lengths.data[i]; k > 0; k--, done++)
            memcpy(values + done * width, data.data + i * width, width);
    }
    if (done < count) return mismatch("a buffer of runs", count, err);
    *out = (Values){.count = count, .bits = bits, .fixed = values};
    return true;
}

/* In a block: u64 size of the values, the values, a byte of length each. */
static bool runs_block(uint32_t bits, Bytes data, size_t count, Arena *arena, Values *out,
                       Err *err) {
    uint64_t size;
    if (data.size < sizeof size) return mismatch("a block of runs", count, err);
    memcpy(&size, data.data, sizeof size);
    if (size > data.size - sizeof size) return mismatch("a block of runs", count, err);
    Bytes values = {data.data + sizeof size, (size_t)size};
    Bytes lengths = {values.data + size, data.size - sizeof size - (size_t)size};
    return runs(bits, values, lengths, count, arena, out, err);
}

/* Byte j of value i lies at j * count + i. */
static bool split(uint32_t bits, Bytes data, size_t count, Arena *arena, Values *out, Err *err) {
    size_t width = bits / 8;
    if (count > CODEC_VALUES_MAX) return too_many(count, err);
    if (data.size < count * width) return mismatch("a split buffer", count, err);
    uint8_t *values = arena_alloc(arena, count * width + 1);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < width; j++) values[i * width + j] = data.data[j * count + i];
    *out = (Values){.count = count, .bits = bits, .fixed = values};
    return true;
}

static bool vectors(const Codec *codec, const Bytes *buffers, size_t buffer_count, size_t count,
                    Values *out, Err *err) {
    uint64_t items = codec->items;
    if (items == 0 || items > LANCE_DIMENSION_MAX || buffer_count != 1u + codec->item_validity)
        return mismatch("a chunk of lists", count, err);
    if (codec->item_validity && buffers[0].size < (count * items + 7) / 8)
        return mismatch("a validity of items", count, err);
    if (!flat(items * codec->bits, buffers[buffer_count - 1], count, out, err)) return false;
    if (codec->item_validity) out->items = buffers[0].data;
    return true;
}

/* LZ4: u32 length and a block. ZSTD: u64 length and a frame; old files have the frame alone. */
static bool general(const Codec *codec, Bytes data, Arena *arena, Bytes *out, Err *err) {
    uint64_t size = 0;
    uint32_t magic = 0;
    size_t head = codec->scheme == SCHEME_LZ4 ? 4 : 8;
    if (data.size < head) return mismatch("a compressed buffer", 1, err);
    memcpy(&magic, data.data, sizeof magic);
    if (codec->scheme == SCHEME_ZSTD && magic == 0xfd2fb528u)
        return lance_unsupported(err, "a zstd frame without its length is not read here");
    memcpy(&size, data.data, head);
    Bytes rest = {data.data + head, data.size - head};
    return codec->scheme == SCHEME_LZ4 ? lz4_block_expand(rest, size, arena, out, err)
                                       : zstd_expand(rest, size, arena, out, err);
}

static bool general_chunk(const Codec *codec, const Bytes *buffers, size_t buffer_count,
                          size_t count, Arena *arena, Values *out, Err *err) {
    Bytes expanded[2];
    if (buffer_count < 1 || buffer_count > COUNT(expanded))
        return mismatch("a compressed chunk", count, err);
    for (size_t i = 1; i < buffer_count; i++) expanded[i] = buffers[i];
    return general(codec, buffers[0], arena, &expanded[0], err) &&
           codec_chunk(codec->inner, expanded, buffer_count, count, arena, out, err);
}

static bool packed(const Codec *codec, Bytes data, size_t count, Arena *arena, Values *out,
                   Err *err) {
    *out = (Values){.count = count, .bits = codec->bits};
    if (codec->kind == CODEC_INLINE)
        return bitpack_inline(data, codec->bits, count, arena, &out->fixed, err);
    return bitpack_out_of_line(data, codec->bits, codec->inner->bits, count, arena, &out->fixed,
                               err);
}

bool codec_chunk(const Codec *codec, const Bytes *buffers, size_t buffer_count, size_t count,
                 Arena *arena, Values *out, Err *err) {
    if (codec->kind == CODEC_VECTOR) return vectors(codec, buffers, buffer_count, count, out, err);
    if (codec->kind == CODEC_GENERAL)
        return general_chunk(codec, buffers, buffer_count, count, arena, out, err);
    if (buffer_count != (codec->kind == CODEC_RLE ? 2 : 1))
        return mismatch("a chunk of another number of buffers", count, err);
    switch (codec->kind) {
    case CODEC_FLAT:
        return flat(codec->bits, buffers[0], count, out, err);
    case CODEC_VARIABLE:
        return variable_chunk(codec->bits, buffers[0], count, arena, out, err);
    case CODEC_INLINE:
        return packed(codec, buffers[0], count, arena, out, err);
    case CODEC_FSST:
        return variable_chunk(codec->bits, buffers[0], count, arena, out, err) &&
               fsst_values(codec, arena, out, err);
    case CODEC_RLE:
        return runs(codec->bits, buffers[0], buffers[1], count, arena, out, err);
    case CODEC_SPLIT:
        return split(codec->bits, buffers[0], count, arena, out, err);
    default:
        return lance_unsupported(err, "a codec is not read here within chunks");
    }
}

bool codec_block(const Codec *codec, Bytes data, size_t count, Arena *arena, Values *out,
                 Err *err) {
    Bytes expanded = {0};
    if (count > CODEC_VALUES_MAX) return too_many(count, err);
    switch (codec->kind) {
    case CODEC_FLAT:
        return flat(codec->bits, data, count, out, err);
    case CODEC_VARIABLE:
        return variable_block(codec->bits, data, count, arena, out, err);
    case CODEC_INLINE:
    case CODEC_OUT_OF_LINE:
        return packed(codec, data, count, arena, out, err);
    case CODEC_FSST:
        return variable_block(codec->bits, data, count, arena, out, err) &&
               fsst_values(codec, arena, out, err);
    case CODEC_RLE:
        return runs_block(codec->bits, data, count, arena, out, err);
    case CODEC_GENERAL:
        return general(codec, data, arena, &expanded, err) &&
               codec_block(codec->inner, expanded, count, arena, out, err);
    default:
        return lance_unsupported(err, "a codec is not read here within blocks");
    }
}

bool codec_value(const Codec *codec, Bytes data, Arena *arena, Bytes *out, Err *err) {
    FsstTable table;
    if (codec->kind == CODEC_VARIABLE) return *out = data, true;
    if (codec->kind == CODEC_GENERAL) {
        Bytes expanded = {0};
        return general(codec, data, arena, &expanded, err) &&
               codec_value(codec->inner, expanded, arena, out, err);
    }
    if (codec->kind != CODEC_FSST)
        return lance_unsupported(err, "a codec is not read here for single values");
    if (!fsst_table(codec->symbols, &table, err)) return false;
    if (!table.active) return *out = data, true;
    if (data.size > LANCE_BUFFER_MAX / 8) return mismatch("a text", 1, err);
    uint8_t *bytes = arena_alloc(arena, data.size * 8 + 1);
    size_t size;
    if (!fsst_expand(&table, data, bytes, &size, err)) return false;
    *out = (Bytes){bytes, size};
    return true;
}
