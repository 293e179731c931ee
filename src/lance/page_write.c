/* Writing a page: what both kinds of page need of a column's values, and which kind it is. */
#include "lance/page.h"

#include <string.h>

size_t page_add(PageOut *out, Bytes buffer) {
    out->buffers[out->buffer_count] = buffer;
    return out->buffer_count++;
}

size_t page_nulls(const uint8_t *validity, uint64_t count) {
    size_t valid = 0, whole = (size_t)(count / 8);
    if (!validity) return 0;
    for (size_t i = 0; i < whole; i++) valid += (size_t)__builtin_popcount(validity[i]);
    for (uint64_t i = (uint64_t)whole * 8; i < count; i++) valid += lance_bit(validity, i);
    return (size_t)count - valid;
}

Bytes page_bitmap(const void *bits, uint64_t count, Arena *arena) {
    size_t size = (size_t)((count + 7) / 8);
    uint8_t *copy = arena_alloc(arena, size);
    memcpy(copy, bits, size);
    if (count % 8) copy[size - 1] &= (uint8_t)((1u << count % 8) - 1);
    return (Bytes){copy, size};
}

static bool texts_check(const LanceColumn *values, size_t rows, Err *err) {
    for (size_t i = 0; i < rows; i++) {
        if (values->offsets[i + 1] < values->offsets[i])
            return err_set(err, LH_INVALID, "the offsets of a text column go backwards");
        if (page_text(values, i).len > LANCE_BUFFER_MAX)
            return err_set(err, LH_TOO_BIG, "a value of %zu bytes in row %zu, at most %u are kept",
                           page_text(values, i).len, i, LANCE_BUFFER_MAX);
    }
    return true;
}

bool page_encode(const LanceType *type, const LanceColumn *values, size_t rows, Arena *arena,
                 PageOut *out, Err *err) {
    if (type->kind == LANCE_OTHER)
        return lance_unsupported(err, "values of type '%.*s' cannot be written",
                                 SHOW(type->logical));
    if (type_is_text(type) && !texts_check(values, rows, err)) return false;
    if (out->minor == 0)
        array_encode(type, values, rows, arena, out);
    else
        layout_encode(type, values, rows, arena, out);
    return true;
}
