#include "query/flatbuffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void flat_close(Flat *flat) {
    free(flat->data);
    *flat = (Flat){0};
}

Bytes flat_bytes(const Flat *flat) {
    return (Bytes){flat->data + flat->cap - flat->len, flat->len};
}

static void flat_grow(Flat *flat, size_t more) {
    size_t cap = MAX(flat->cap * 2, 1024);
    while (cap < flat->len + more) cap *= 2;
    uint8_t *data = malloc(cap);
    if (!data) abort();
    if (flat->len) memcpy(data + cap - flat->len, flat->data + flat->cap - flat->len, flat->len);
    free(flat->data);
    flat->data = data;
    flat->cap = cap;
}

void flat_put(Flat *flat, const void *data, size_t size) {
    if (size == 0) return;
    if (flat->cap - flat->len < size) flat_grow(flat, size);
    flat->len += size;
    memcpy(flat->data + flat->cap - flat->len, data, size);
}

void flat_align(Flat *flat, size_t alignment, size_t extra) {
    static const uint8_t zeros[8];
    assert(alignment <= sizeof zeros);
    flat_put(flat, zeros, (alignment - (flat->len + extra) % alignment) % alignment);
}

static uint32_t put_scalar(Flat *flat, const void *value, size_t size) {
    flat_align(flat, size, size);
    flat_put(flat, value, size);
    return (uint32_t)flat->len;
}

uint32_t flat_u8(Flat *flat, uint8_t value) {
    return put_scalar(flat, &value, sizeof value);
}

uint32_t flat_u16(Flat *flat, uint16_t value) {
    return put_scalar(flat, &value, sizeof value);
}

uint32_t flat_u32(Flat *flat, uint32_t value) {
    return put_scalar(flat, &value, sizeof value);
}

uint32_t flat_u64(Flat *flat, uint64_t value) {
    return put_scalar(flat, &value, sizeof value);
}

uint32_t flat_ref(Flat *flat, uint32_t target) {
    flat_align(flat, 4, 4);
    return flat_u32(flat, (uint32_t)flat->len + 4 - target);
}

uint32_t flat_string(Flat *flat, Str text) {
    flat_align(flat, 4, text.len + 1);
    flat_put(flat, "", 1);
    flat_put(flat, text.data, text.len);
    return flat_u32(flat, (uint32_t)text.len);
}

uint32_t flat_vector_end(Flat *flat, size_t count) {
    return flat_u32(flat, (uint32_t)count);
}

uint32_t flat_refs(Flat *flat, const uint32_t *targets, size_t count) {
    flat_align(flat, 4, 0);
    for (size_t i = count; i-- > 0;) flat_ref(flat, targets[i]);
    return flat_vector_end(flat, count);
}

void flat_table(Flat *flat) {
    memset(flat->slots, 0, sizeof flat->slots);
    flat->slot_count = 0;
    flat->table_start = (uint32_t)flat->len;
}

void flat_slot(Flat *flat, uint32_t slot, uint32_t offset) {
    assert(slot < FLAT_SLOTS_MAX);
    flat->slots[slot] = offset;
    flat->slot_count = MAX(flat->slot_count, slot + 1);
}

/* The table begins with the distance to its vtable, which is written just before it. */
uint32_t flat_table_end(Flat *flat) {
    uint16_t vtable[FLAT_SLOTS_MAX + 2];
    uint32_t table = flat_u32(flat, 0);
    vtable[0] = (uint16_t)(4 + 2 * flat->slot_count);
    vtable[1] = (uint16_t)(table - flat->table_start);
    for (uint32_t i = 0; i < flat->slot_count; i++)
        vtable[2 + i] = (uint16_t)(flat->slots[i] ? table - flat->slots[i] : 0);
    flat_put(flat, vtable, vtable[0]);
    int32_t distance = (int32_t)(flat->len - table);
    memcpy(flat->data + flat->cap - table, &distance, sizeof distance);
    return table;
}

void flat_finish(Flat *flat, uint32_t root) {
    flat_align(flat, 8, 4);
    flat_ref(flat, root);
}
