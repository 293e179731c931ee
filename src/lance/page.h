/* Pages: what a column of a data file is made of, how a page's values are written, and the builder
 * that every decoder fills. Internal to lance.
 *
 * Decoders are told rows [from, from + count) of a page, whose rows the caller has checked, and
 * add exactly `count` rows to the builder or fail: LH_CORRUPT for bytes that contradict each other,
 * LH_IMPOSSIBLE for what they do not know. */
#pragma once

#include "lance/data_file.h"
#include "lance/manifest.h"
#include "lance/source.h"

#define PAGE_BUFFERS_MAX 64
#define ENCODING_DEPTH_MAX 8
#define ARRAY_URL "/lance.encodings.ArrayEncoding" /* of a page's encoding in 2.0 */
#define LAYOUT_URL "/lance.encodings21.PageLayout" /* in 2.1 and 2.2 */

typedef struct Page {
    const ByteSource *source;
    uint64_t first_row, rows;
    size_t buffer_count;
    const uint64_t *offsets, *sizes; /* of its buffers, within the file */
    Bytes encoding;                  /* an ArrayEncoding (2.0) or a PageLayout (2.1, 2.2) */
    bool structural;                 /* a PageLayout */
    bool wide_chunks;                /* file version 2.2 */
} Page;

/* `size` bytes from `from` of a buffer; LH_CORRUPT when there are not so many. */
bool page_bytes(const Page *page, uint64_t buffer, uint64_t from, uint64_t size, Arena *arena,
                Bytes *out, Err *err);
bool page_buffer(const Page *page, uint64_t buffer, Arena *arena, Bytes *out, Err *err); /* all */

typedef struct Builder {
    const LanceType *type;
    Arena *arena;
    size_t rows, len; /* room, and how many are there */
    bool borrow;      /* the page's bytes may be pointed at: all rows come from one page */
    const uint8_t *borrowed;
    uint8_t *values, *validity, *items;
    uint64_t *offsets;
    size_t bytes_len, bytes_cap; /* of texts, in values */
} Builder;

bool builder_open(Builder *builder, const LanceType *type, size_t rows, Arena *arena, Err *err);
void builder_finish(Builder *builder, LanceColumn *out);
/* Room for the values of `count` rows more of fixed width in whole bytes; counts them. */
uint8_t *builder_fixed(Builder *builder, size_t count);
/* The same from bytes that lie ready: borrowed where that is allowed and they are aligned. */
void builder_fixed_from(Builder *builder, size_t count, Bytes values);
void builder_bools(Builder *builder, size_t count, const uint8_t *bits, uint64_t from);
void builder_text(Builder *builder, Bytes value); /* one row */
/* Rows that lie one after the other in `bytes`, which begin at the first of count + 1 offsets. */
void builder_texts(Builder *builder, const uint8_t *bytes, const uint64_t *offsets, size_t count);
/* For who repeats texts: whether there is room for more of them. */
bool builder_texts_fit(const Builder *builder, Err *err);
void builder_nulls(Builder *builder, size_t count);
/* Rows that are there already: null where the bit is 0. */
void builder_validity(Builder *builder, size_t row, size_t count, const uint8_t *bits,
                      uint64_t from);
void builder_set_null(Builder *builder, size_t row);
/* Items of vectors from item `at` of the builder on. */
void builder_items(Builder *builder, uint64_t at, uint64_t count, const uint8_t *bits,
                   uint64_t from);
void builder_copy(Builder *builder, const LanceColumn *from, size_t row);
uint32_t type_row_bytes(const LanceType *type); /* of fixed width in whole bytes; else 0 */
bool type_is_text(const LanceType *type);       /* bytes of any length */

/* decode_array.c: ArrayEncoding of 2.0. */
bool array_decode(const Page *page, uint64_t from, size_t count, Builder *out, Err *err);
bool array_describe(Bytes encoding, Text *out);
/* decode_layout.c: PageLayout of 2.1 and 2.2. */
bool layout_decode(const Page *page, uint64_t from, size_t count, Builder *out, Err *err);
bool layout_describe(Bytes layout, Text *out);

/* page_write.c */
#define PAGE_OUT_BUFFERS 3
typedef struct PageOut {
    uint32_t minor; /* of the file's version, 2.0 to 2.2 */
    Bytes buffers[PAGE_OUT_BUFFERS];
    size_t buffer_count;
    Text encoding; /* an ArrayEncoding (2.0) or a PageLayout */
} PageOut;
/* Buffers are the column's own or from the arena. */
bool page_encode(const LanceType *type, const LanceColumn *values, size_t rows, Arena *arena,
                 PageOut *out, Err *err);
/* What every encoder needs. */
size_t page_add(PageOut *out, Bytes buffer); /* its number */
size_t page_nulls(const uint8_t *validity, uint64_t count);
/* Without the bits behind the end, which the caller may have left as they were. */
Bytes page_bitmap(const void *bits, uint64_t count, Arena *arena);
static inline Str page_text(const LanceColumn *values, size_t row) { /* empty for a null */
    return lance_is_null(values, row) ? STR("") : lance_text(values, row);
}
/* encode_array.c, encode_layout.c */
void array_encode(const LanceType *type, const LanceColumn *values, size_t rows, Arena *arena,
                  PageOut *out);
void layout_encode(const LanceType *type, const LanceColumn *values, size_t rows, Arena *arena,
                   PageOut *out);

bool lance_unsupported(Err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
