/* Writing mini-block pages: decode_miniblock.c draws them. Every chunk has one value buffer; levels
 * lie before it as they are, two bytes each. */
#include "lance/layout.h"
#include "lance/wire.h"

#include <string.h>

/* As large as LanceDB makes them. Chunks of 2.1 count their bytes, levels too, in 15 bits. */
#define CHUNK_VALUES 4096
#define FIXED_BYTES 8192
#define TEXT_BYTES 4096
#define CHUNK_HEAD 16 /* at most */

typedef struct Chunks {
    const PageIn *in;
    bool wide; /* words and sizes of u32 */
    uint8_t *bytes, *table;
    size_t size, table_size;
} Chunks;

static size_t round_up(size_t size) {
    return (size + 7) / 8 * 8;
}

static size_t power_below(size_t count) {
    size_t power = 1;
    while (power * 2 <= count) power *= 2;
    return power;
}

/* The last chunk of a page does not say how many values it has. */
static void table_add(Chunks *chunks, size_t size, size_t from, size_t count) {
    bool last = from + count == chunks->in->rows;
    size_t word = (size / 8 - 1) << 4 | (last ? 0 : (size_t)__builtin_ctzll(count));
    chunks->table_size +=
        number_put(chunks->table + chunks->table_size, word, chunks->wide ? 4 : 2);
}

/* A chunk of rows [from, from + count) up to its values, whose place it returns. */
static uint8_t *chunk_add(Chunks *chunks, size_t from, size_t count, size_t value_size) {
    uint8_t *chunk = chunks->bytes + chunks->size;
    size_t levels = chunks->in->nulls > 0 ? count : 0;
    size_t at = number_put(chunk, levels, 2);
    if (levels) at += number_put(chunk + at, levels * 2, 2);
    at = round_up(at + number_put(chunk + at, value_size, chunks->wide ? 4 : 2));
    for (size_t i = 0; i < levels; i++, at += 2)
        chunk[at] = lance_is_null(chunks->in->column, from + i);
    at = round_up(at);
    size_t size = round_up(at + value_size);
    table_add(chunks, size, from, count);
    chunks->size += size;
    return chunk + at;
}

static void fixed_chunks(Chunks *chunks) {
    const PageIn *in = chunks->in;
    size_t bits = in->type->bits, most = MIN(power_below(FIXED_BYTES * 8 / bits), CHUNK_VALUES);
    const uint8_t *values = in->column->values;
    for (size_t from = 0; from < in->rows; from += most) {
        size_t count = MIN(most, in->rows - from), size = (count * bits + 7) / 8;
        memcpy(chunk_add(chunks, from, count, size), values + from * bits / 8, size);
    }
}

/* How many texts from `from` on fit into a chunk with their offsets; a power of two, or all that is
 * left. */
static size_t texts_fit(const PageIn *in, size_t from, size_t width) {
    size_t size = width, end = from;
    while (end < in->rows) {
        size += width + page_text(in->column, end).len;
        if (size > TEXT_BYTES) return power_below(end - from);
        end++;
    }
    return end - from;
}

/* count + 1 offsets from the buffer's own start, then the bytes, then zeros up to a whole offset.
 */
static void text_chunk(Chunks *chunks, size_t from, size_t count, size_t width) {
    const PageIn *in = chunks->in;
    size_t at = (count + 1) * width, size = at;
    for (size_t i = from; i < from + count; i++) size += page_text(in->column, i).len;
    uint8_t *buffer = chunk_add(chunks, from, count, (size + width - 1) / width * width);
    for (size_t i = 0; i < count; i++) {
        Str value = page_text(in->column, from + i);
        number_put(buffer + i * width, at, width);
        if (value.len) memcpy(buffer + at, value.data, value.len);
        at += value.len;
    }
    number_put(buffer + count * width, at, width);
}

static void text_chunks(Chunks *chunks) {
    size_t width = layout_offset_bits(chunks->in->type) / 8;
    for (size_t from = 0, count; from < chunks->in->rows; from += count) {
        count = texts_fit(chunks->in, from, width);
        text_chunk(chunks, from, count, width);
    }
}

/* Room for every chunk's parts, each rounded up; even texts of 255 bytes come eight to a chunk. */
static void chunks_open(Chunks *chunks, Arena *arena) {
    const PageIn *in = chunks->in;
    size_t count = in->rows / 8 + 1, size = count * (CHUNK_HEAD + 3 * 8) + in->rows * 2;
    if (type_is_text(in->type)) {
        size += (in->rows + count) * sizeof(uint64_t);
        for (size_t i = 0; i < in->rows; i++) size += page_text(in->column, i).len;
    } else {
        size += (in->rows * in->type->bits + 7) / 8;
    }
    chunks->bytes = arena_alloc(arena, size);
    chunks->table = arena_alloc(arena, count * sizeof(uint32_t));
}

static void put_layout(const Chunks *chunks, Text *out) {
    const PageIn *in = chunks->in;
    size_t layout = wire_begin(out, LAYOUT_MINIBLOCK);
    if (in->nulls > 0) layout_put_flat(out, 2, 16);
    layout_put_values(out, 3, in->type);
    layout_put_layers(out, 6, in->nulls > 0);
    wire_put(out, 7, 1); /* value buffers */
    wire_put(out, 9, in->rows);
    wire_put_nonzero(out, 10, chunks->wide);
    wire_end(out, layout);
}

void miniblock_encode(const PageIn *in, Arena *arena, PageOut *out) {
    Chunks chunks = {.in = in, .wide = out->minor >= 2};
    chunks_open(&chunks, arena);
    if (type_is_text(in->type))
        text_chunks(&chunks);
    else
        fixed_chunks(&chunks);
    put_layout(&chunks, &out->encoding);
    page_add(out, (Bytes){chunks.table, chunks.table_size});
    page_add(out, (Bytes){chunks.bytes, chunks.size});
}
