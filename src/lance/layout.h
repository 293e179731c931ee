/* Page layouts of file versions 2.1 and 2.2: reading them (decode_*.c), writing them (encode_*.c).
 * Internal to lance. */
#pragma once

#include "lance/codec.h"
#include "lance/page.h"

#include <string.h>

enum { LAYOUT_MINIBLOCK = 1, LAYOUT_CONSTANT = 2, LAYOUT_FULLZIP = 3 };
enum { LAYER_VALID = 1, LAYER_NULLABLE = 3 };

/* Adds decoded rows [from, to) to the builder, null where `levels` (u16 each, or NULL) is not 0. */
bool values_add(const Values *values, const uint8_t *levels, size_t from, size_t to, Builder *out,
                Err *err);
/* Whether the layout's layers are those of a column that is not nested: [1] or [3]. */
bool layers_check(Bytes layout, uint32_t number, Arena *arena, bool *nullable, Err *err);

bool miniblock_decode(const Page *page, Bytes layout, uint64_t from, size_t count, Builder *out,
                      Err *err);
bool fullzip_decode(const Page *page, Bytes layout, uint64_t from, size_t count, Builder *out,
                    Err *err);
bool constant_decode(const Page *page, Bytes layout, uint64_t from, size_t count, Builder *out,
                     Err *err);

/* Writing: a page's values, of which some are no nulls. */
typedef struct PageIn {
    const LanceType *type;
    const LanceColumn *column;
    size_t rows, nulls;
} PageIn;
void miniblock_encode(const PageIn *in, Arena *arena, PageOut *out);
void fullzip_encode(const PageIn *in, Arena *arena, PageOut *out);
/* Parts of a PageLayout, as the message `number`. */
void layout_put_flat(Text *out, uint32_t number, uint64_t bits);
void layout_put_values(Text *out, uint32_t number, const LanceType *type); /* Flat or Variable */
void layout_put_layers(Text *out, uint32_t number, bool nulls);
/* The lowest `width` bytes; returns width. */
static inline size_t number_put(uint8_t *out, uint64_t value, size_t width) {
    memcpy(out, &value, width);
    return width;
}
uint32_t layout_offset_bits(const LanceType *type); /* of a text column; also of a text's length */
