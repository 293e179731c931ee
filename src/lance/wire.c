/* Protocol Buffers' wire format: see wire.h. */
#include "lance/wire.h"

#include <string.h>

#define VARINT_BYTES_MAX 10

static bool varint_read(WireReader *reader, uint64_t *out) {
    uint64_t value = 0;
    for (int i = 0; i < VARINT_BYTES_MAX && reader->at < reader->end; i++) {
        uint8_t byte = *reader->at++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) return *out = value, true;
    }
    return false;
}

static bool fixed_read(WireReader *reader, size_t size, uint64_t *out) {
    if ((size_t)(reader->end - reader->at) < size) return false;
    *out = 0;
    memcpy(out, reader->at, size);
    reader->at += size;
    return true;
}

static bool bytes_read(WireReader *reader, Bytes *out) {
    uint64_t size;
    if (!varint_read(reader, &size) || size > (uint64_t)(reader->end - reader->at)) return false;
    *out = (Bytes){reader->at, (size_t)size};
    reader->at += size;
    return true;
}

static bool content_read(WireReader *reader, WireField *out) {
    switch (out->type) {
    case WIRE_VARINT:
        return varint_read(reader, &out->value);
    case WIRE_FIXED64:
        return fixed_read(reader, 8, &out->value);
    case WIRE_FIXED32:
        return fixed_read(reader, 4, &out->value);
    case WIRE_BYTES:
        return bytes_read(reader, &out->bytes);
    }
    return false; /* groups were never part of proto3 */
}

bool wire_next(WireReader *reader, WireField *out) {
    const uint8_t *start = reader->at;
    uint64_t key;
    if (reader->bad || reader->at == reader->end) return false;
    *out = (WireField){0};
    if (varint_read(reader, &key) && key >> 3 > 0 && key >> 3 < 1u << 29) {
        out->number = (uint32_t)(key >> 3);
        out->type = (WireType)(key & 7);
        if (content_read(reader, out)) {
            out->raw = (Bytes){start, (size_t)(reader->at - start)};
            return true;
        }
    }
    reader->bad = true;
    return false;
}

bool wire_whole(const WireReader *reader, const char *what, Err *err) {
    return !reader->bad || err_set(err, LH_CORRUPT, "%s is not a protobuf message", what);
}

bool wire_find(Bytes message, uint32_t number, WireField *out) {
    WireField field;
    bool found = false;
    for (WireReader reader = wire_read(message); wire_next(&reader, &field);)
        if (field.number == number) *out = field, found = true;
    return found;
}

static void number_add(Arena *arena, WireNumbers *out, uint64_t value) {
    if (out->len == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 8;
        uint64_t *items = arena_array(arena, uint64_t, cap);
        if (out->len) memcpy(items, out->items, out->len * sizeof *items);
        out->items = items;
        out->cap = cap;
    }
    out->items[out->len++] = value;
}

bool wire_numbers(const WireField *field, Arena *arena, WireNumbers *out, Err *err) {
    if (field->type != WIRE_BYTES) return number_add(arena, out, field->value), true;
    WireReader reader = wire_read(field->bytes);
    for (uint64_t value; reader.at < reader.end;) {
        if (!varint_read(&reader, &value))
            return err_set(err, LH_CORRUPT, "packed numbers end in the middle of one");
        number_add(arena, out, value);
    }
    return true;
}

/* Writing. */

static size_t varint_bytes(uint8_t out[VARINT_BYTES_MAX], uint64_t value) {
    size_t size = 0;
    for (; value > 0x7f; value >>= 7) out[size++] = (uint8_t)(value | 0x80);
    out[size++] = (uint8_t)value;
    return size;
}

static void varint_put(Text *out, uint64_t value) {
    uint8_t bytes[VARINT_BYTES_MAX];
    size_t size = varint_bytes(bytes, value);
    text_add(out, (Str){(const char *)bytes, size});
}

void wire_put(Text *out, uint32_t number, uint64_t value) {
    varint_put(out, (uint64_t)number << 3 | WIRE_VARINT);
    varint_put(out, value);
}

void wire_put_nonzero(Text *out, uint32_t number, uint64_t value) {
    if (value) wire_put(out, number, value);
}

void wire_put_double(Text *out, uint32_t number, double value) {
    varint_put(out, (uint64_t)number << 3 | WIRE_FIXED64);
    text_add(out, (Str){(const char *)&value, sizeof value});
}

void wire_put_bytes(Text *out, uint32_t number, Bytes value) {
    varint_put(out, (uint64_t)number << 3 | WIRE_BYTES);
    varint_put(out, value.size);
    text_add(out, str_of(value));
}

void wire_put_text(Text *out, uint32_t number, Str value) {
    wire_put_bytes(out, number, bytes_of(value));
}

size_t wire_begin(Text *out, uint32_t number) {
    varint_put(out, (uint64_t)number << 3 | WIRE_BYTES);
    return out->len;
}

/* The length stands before what it counts, so that the content moves up to make room for it. */
void wire_end(Text *out, size_t begun) {
    uint8_t bytes[VARINT_BYTES_MAX];
    size_t size = varint_bytes(bytes, out->len - begun), content = out->len - begun;
    text_reserve(out, size);
    memmove(out->data + begun + size, out->data + begun, content);
    memcpy(out->data + begun, bytes, size);
    out->len += size;
}

void wire_put_packed(Text *out, uint32_t number, const uint64_t *values, size_t count) {
    if (count == 0) return;
    size_t begun = wire_begin(out, number);
    for (size_t i = 0; i < count; i++) varint_put(out, values[i]);
    wire_end(out, begun);
}

void wire_put_any(Text *out, uint32_t number, Str type_url, Bytes value) {
    size_t begun = wire_begin(out, number);
    wire_put_text(out, 1, type_url);
    wire_put_bytes(out, 2, value);
    wire_end(out, begun);
}
