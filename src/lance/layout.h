/* Page layouts of file versions 2.1 and 2.2 (decode_layout.c). Internal to lance. */
#pragma once

#include "lance/codec.h"
#include "lance/page.h"

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
