/* Mini-block pages: small values in chunks of a few KiB, each decoded as a whole.
 *
 *     buffer 0   a word a chunk, u16 (2.1) or u32 (2.2): (bytes / 8 - 1) << 4 | log2(values); of
 * the last chunk the values are what is left buffer 1   the chunks: u16 levels; u16 size of the
 * levels when they are compressed; u16 or u32 size of each value buffer; each part then begins at a
 * multiple of 8 buffer 2   the dictionary, when there is one: the values are then indices into it
 */
#include "lance/layout.h"
#include "lance/wire.h"

#include <string.h>

#define CHUNK_VALUES_MAX 65536
#define VALUE_BUFFERS_MAX 4

typedef struct MiniBlock {
    const Page *page;
    Arena *arena;
    const Codec *levels, *values; /* levels NULL: no nulls */
    bool wide;                    /* chunk words and sizes of u32 */
    size_t value_buffers;
    Values dictionary; /* count 0: none */
} MiniBlock;

static bool codec_part(Bytes layout, uint32_t number, Arena *arena, const Codec **out, Err *err) {
    WireField field;
    *out = NULL;
    return !wire_find(layout, number, &field) || codec_read(field.bytes, arena, out, err);
}

static uint64_t number_of(Bytes layout, uint32_t number) {
    WireField field = {0};
    wire_find(layout, number, &field);
    return field.value;
}

static bool dictionary_read(MiniBlock *block, Bytes layout, Err *err) {
    const Codec *codec;
    Bytes bytes;
    uint64_t count = number_of(layout, 5);
    if (!codec_part(layout, 4, block->arena, &codec, err)) return false;
    if (!codec) return true;
    if (count == 0 || count > CODEC_VALUES_MAX)
        return err_set(err, LH_CORRUPT, "a dictionary of %llu items", (unsigned long long)count);
    return page_buffer(block->page, 2, block->arena, &bytes, err) &&
           codec_block(codec, bytes, (size_t)count, block->arena, &block->dictionary, err);
}

static bool layout_read(MiniBlock *block, Bytes layout, Err *err) {
    WireField repetition;
    bool nullable;
    if (!layers_check(layout, 6, block->arena, &nullable, err)) return false;
    if (wire_find(layout, 1, &repetition))
        return lance_unsupported(err, "a page with repetition levels is not read here");
    if (!codec_part(layout, 2, block->arena, &block->levels, err) ||
        !codec_part(layout, 3, block->arena, &block->values, err))
        return false;
    block->value_buffers = (size_t)number_of(layout, 7);
    block->wide = number_of(layout, 10) != 0;
    if (!block->values || block->value_buffers == 0 || block->value_buffers > VALUE_BUFFERS_MAX ||
        number_of(layout, 9) != block->page->rows)
        return err_set(err, LH_CORRUPT, "a mini-block page contradicts itself");
    return dictionary_read(block, layout, err);
}

/* Parts of a chunk, one after the other, each at a multiple of 8. */
typedef struct ChunkReader {
    Bytes chunk;
    size_t at;
} ChunkReader;

static bool chunk_torn(Err *err) {
    return err_set(err, LH_CORRUPT, "a chunk of a page is shorter than what it holds");
}

static bool chunk_number(ChunkReader *reader, size_t width, uint32_t *out, Err *err) {
    *out = 0;
    if (reader->chunk.size - reader->at < width) return chunk_torn(err);
    memcpy(out, reader->chunk.data + reader->at, width);
    reader->at += width;
    return true;
}

static bool chunk_part(ChunkReader *reader, size_t size, Bytes *out, Err *err) {
    size_t at = (reader->at + 7) / 8 * 8;
    if (at > reader->chunk.size || size > reader->chunk.size - at) return chunk_torn(err);
    *out = (Bytes){reader->chunk.data + at, size};
    reader->at = at + size;
    return true;
}

static bool levels_decode(MiniBlock *block, Bytes bytes, size_t levels, size_t count,
                          const uint8_t **out, Err *err) {
    Values values;
    *out = NULL;
    if (levels == 0) return true;
    if (levels != count)
        return err_set(err, LH_CORRUPT, "a chunk has %zu levels for %zu values", levels, count);
    if (!codec_block(block->levels, bytes, levels, block->arena, &values, err)) return false;
    if (values.bits != 16)
        return err_set(err, LH_CORRUPT, "levels have %llu bits", (unsigned long long)values.bits);
    *out = values.fixed;
    return true;
}

static bool chunk_decode(MiniBlock *block, Bytes chunk, size_t count, Values *values,
                         const uint8_t **levels, Err *err) {
    ChunkReader reader = {.chunk = chunk};
    uint32_t level_count, level_size = 0, sizes[VALUE_BUFFERS_MAX];
    Bytes level_bytes = {0}, buffers[VALUE_BUFFERS_MAX];
    if (!chunk_number(&reader, 2, &level_count, err) ||
        (block->levels && !chunk_number(&reader, 2, &level_size, err)))
        return false;
    for (size_t i = 0; i < block->value_buffers; i++)
        if (!chunk_number(&reader, block->wide ? 4 : 2, &sizes[i], err)) return false;
    if (block->levels && !chunk_part(&reader, level_size, &level_bytes, err)) return false;
    for (size_t i = 0; i < block->value_buffers; i++)
        if (!chunk_part(&reader, sizes[i], &buffers[i], err)) return false;
    return levels_decode(block, level_bytes, block->levels ? level_count : 0, count, levels, err) &&
           codec_chunk(block->values, buffers, block->value_buffers, count, block->arena, values,
                       err);
}

/* Indices of 8 to 64 bits; those of nulls may be anything. */
static bool indices_add(const MiniBlock *block, const Values *indices, const uint8_t *levels,
                        size_t from, size_t to, Builder *out, Err *err) {
    size_t width = (size_t)indices->bits / 8;
    if (indices->offsets || indices->bits % 8 || width == 0 || width > 8)
        return err_set(err, LH_CORRUPT, "indices into a dictionary are no numbers");
    for (size_t i = from; i < to; i++) {
        uint64_t index = 0;
        if (!builder_texts_fit(out, err)) return false;
        memcpy(&index, indices->fixed + i * width, width);
        if (levels && (levels[i * 2] || levels[i * 2 + 1])) {
            builder_nulls(out, 1);
        } else if (index >= block->dictionary.count) {
            return err_set(err, LH_CORRUPT, "item %llu of a dictionary of %zu",
                           (unsigned long long)index, block->dictionary.count);
        } else if (!values_add(&block->dictionary, NULL, (size_t)index, (size_t)index + 1, out,
                               err)) {
            return false;
        }
    }
    return true;
}

static bool chunk_add(MiniBlock *block, Bytes chunk, size_t values_in_chunk, size_t from, size_t to,
                      Builder *out, Err *err) {
    Values values;
    const uint8_t *levels;
    if (!chunk_decode(block, chunk, values_in_chunk, &values, &levels, err)) return false;
    return block->dictionary.count ? indices_add(block, &values, levels, from, to, out, err)
                                   : values_add(&values, levels, from, to, out, err);
}

static bool chunks_walk(MiniBlock *block, Bytes table, uint64_t from, size_t count, Builder *out,
                        Err *err) {
    size_t width = block->wide ? 4 : 2, chunks = table.size / width;
    uint64_t row = 0, at = 0, rows = block->page->rows, end = from + count;
    for (size_t i = 0; i < chunks && row < end; i++) {
        uint32_t word = 0;
        memcpy(&word, table.data + i * width, width);
        uint64_t size = ((uint64_t)(word >> 4) + 1) * 8;
        uint64_t values = i + 1 < chunks ? (uint64_t)1 << (word & 15) : rows - row;
        if (values > rows - row || values > CHUNK_VALUES_MAX)
            return err_set(err, LH_CORRUPT, "a chunk of a page has %llu values",
                           (unsigned long long)values);
        if (row + values > from) {
            Bytes chunk;
            size_t first = (size_t)(MAX(from, row) - row),
                   last = (size_t)(MIN(end, row + values) - row);
            if (!page_bytes(block->page, 1, at, size, block->arena, &chunk, err) ||
                !chunk_add(block, chunk, (size_t)values, first, last, out, err))
                return false;
        }
        row += values;
        at += size;
    }
    return row >= end || err_set(err, LH_CORRUPT, "a page's chunks end after %llu of %llu rows",
                                 (unsigned long long)row, (unsigned long long)rows);
}

bool miniblock_decode(const Page *page, Bytes layout, uint64_t from, size_t count, Builder *out,
                      Err *err) {
    OWNED(arena_close) Arena arena = {0};
    MiniBlock block = {.page = page, .arena = &arena};
    Bytes table;
    return layout_read(&block, layout, err) && page_buffer(page, 0, &arena, &table, err) &&
           chunks_walk(&block, table, from, count, out, err);
}
