/* A builder of FlatBuffers (https://flatbuffers.dev/internals) as far as Arrow's messages need
 * them: tables of scalars and references, vectors, strings. Buffers grow from their end to their
 * beginning, so that what is referred to is written first; an offset is the distance from the end.
 * Thread rule: one thread. */
#pragma once

#include "base/base.h"

#define FLAT_SLOTS_MAX 8

typedef struct Flat {
    uint8_t *data;
    size_t cap, len; /* the content is the last len bytes of data */
    uint32_t slots[FLAT_SLOTS_MAX], slot_count, table_start;
} Flat;

void flat_close(Flat *flat);
Bytes flat_bytes(const Flat *flat);
/* Pads so that after `extra` more bytes the content is aligned. */
void flat_align(Flat *flat, size_t alignment, size_t extra);
void flat_put(Flat *flat, const void *data, size_t size);
/* Each returns the offset of what it wrote. */
uint32_t flat_u8(Flat *flat, uint8_t value);
uint32_t flat_u16(Flat *flat, uint16_t value);
uint32_t flat_u32(Flat *flat, uint32_t value);
uint32_t flat_u64(Flat *flat, uint64_t value);
uint32_t flat_ref(Flat *flat, uint32_t target);
uint32_t flat_string(Flat *flat, Str text);
uint32_t flat_refs(Flat *flat, const uint32_t *targets, size_t count); /* a vector of references */
uint32_t flat_vector_end(Flat *flat, size_t count); /* after the elements, last one first */
/* A table: begin, write each scalar or reference and name its slot, end. */
void flat_table(Flat *flat);
void flat_slot(Flat *flat, uint32_t slot, uint32_t offset);
uint32_t flat_table_end(Flat *flat);
void flat_finish(Flat *flat, uint32_t root); /* the size is then a multiple of 8 */
