/* Constant pages: every row is the same value, or null.
 *
 *     inline value  buffers
 *     no            none              all null
 *     yes           none              all that value
 *     no            value             u32 n, u32 sizes[n], then n Arrow buffers of an array of one
 *     no            rep, def          all null
 *     yes           rep, def          that value, or null where the level is not 0
 *     no            value, rep, def   the same with a value buffer
 */
#include "lance/layout.h"
#include "lance/wire.h"

#include <string.h>

static bool contradiction(Err *err) {
    return err_set(err, LH_CORRUPT, "a constant page contradicts itself");
}

/* The one value: the last of its Arrow buffers, behind offsets where it is a text. */
static bool value_buffer_read(Bytes buffer, bool text, Bytes *out, Err *err) {
    uint32_t count, size;
    if (buffer.size < 4) return contradiction(err);
    memcpy(&count, buffer.data, 4);
    if (count == 0 || count > 4 || buffer.size < 4 + (size_t)count * 4) return contradiction(err);
    if (count != (text ? 2u : 1u))
        return lance_unsupported(err, "a constant of %u buffers is not read here", count);
    size_t at = 4 + (size_t)count * 4;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&size, buffer.data + 4 + (size_t)i * 4, 4);
        if (size > buffer.size - at) return contradiction(err);
        *out = (Bytes){buffer.data + at, size};
        at += size;
    }
    return true;
}

static bool levels_read(const Page *page, Bytes layout, size_t buffer, Arena *arena,
                        const uint8_t **out, Err *err) {
    WireField field;
    const Codec *codec;
    Values values;
    Bytes bytes;
    if (!page_buffer(page, buffer, arena, &bytes, err)) return false;
    if (bytes.size == 0) return *out = NULL, true;
    if (!wire_find(layout, 8, &field)) {
        if (bytes.size < page->rows * 2) return contradiction(err);
        return *out = bytes.data, true;
    }
    if (page->rows > CODEC_VALUES_MAX || !codec_read(field.bytes, arena, &codec, err) ||
        !codec_block(codec, bytes, (size_t)page->rows, arena, &values, err))
        return false;
    if (values.bits != 16) return contradiction(err);
    *out = values.fixed;
    return true;
}

static bool value_add(Bytes value, bool null, Builder *out, Err *err) {
    const LanceType *type = out->type;
    if (null || type->kind == LANCE_NULL) return builder_nulls(out, 1), true;
    if (out->offsets) return builder_text(out, value), true;
    if (type->kind == LANCE_BOOL && value.size == 1)
        return builder_bools(out, 1, value.data, 0), true;
    if (value.size != type_row_bytes(type) || value.size == 0) return contradiction(err);
    memcpy(builder_fixed(out, 1), value.data, value.size);
    return true;
}

static bool value_find(const Page *page, Bytes layout, bool text, Arena *arena, Bytes *value,
                       bool *present, Err *err) {
    WireField field;
    Bytes buffer;
    *present = true;
    if (wire_find(layout, 6, &field)) return *value = field.bytes, true;
    *present = page->buffer_count == 1 || page->buffer_count == 3;
    if (!*present) return true;
    return page_buffer(page, 0, arena, &buffer, err) && value_buffer_read(buffer, text, value, err);
}

bool constant_decode(const Page *page, Bytes layout, uint64_t from, size_t count, Builder *out,
                     Err *err) {
    OWNED(arena_close) Arena arena = {0};
    const uint8_t *levels = NULL;
    Bytes value = {0};
    bool nullable, present;
    if (page->buffer_count > 3) return contradiction(err);
    if (!layers_check(layout, 5, &arena, &nullable, err) ||
        !value_find(page, layout, out->offsets != NULL, &arena, &value, &present, err))
        return false;
    if (!present) return builder_nulls(out, count), true;
    if ((uint64_t)count * value.size > LANCE_BUFFER_MAX)
        return err_set(err, LH_TOO_BIG, "%zu constants of %zu bytes at once", count, value.size);
    if (page->buffer_count >= 2 &&
        !levels_read(page, layout, page->buffer_count - 1, &arena, &levels, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        uint64_t row = from + i;
        bool null = levels && (levels[row * 2] || levels[row * 2 + 1]);
        if (!value_add(value, null, out, err)) return false;
    }
    return true;
}
