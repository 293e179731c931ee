/* How values are compressed in pages of file versions 2.1 and 2.2: CompressiveEncoding, a tree that
 * is read once a page, and what each node makes of bytes. Every decoder takes bytes and their
 * length and says LH_CORRUPT before it reads or writes beyond what is there. Source: lance's
 * encodings_v2_1.proto; FastLanes (Afroozeh and Boncz, VLDB 2023) for the order of packed bits;
 * FSST (Boncz, Neumann, Leis, VLDB 2020). Thread rule: none, all is in the caller's hands. Internal
 * to lance. */
#pragma once

#include "base/base.h"

#define CODEC_VALUES_MAX (1u << 26) /* of a dictionary, or of a chunk */

typedef enum CodecKind {
    CODEC_NONE = 0,
    CODEC_FLAT = 1,
    CODEC_VARIABLE = 2,
    CODEC_OUT_OF_LINE = 4,
    CODEC_INLINE = 5,
    CODEC_FSST = 6,
    CODEC_RLE = 8,
    CODEC_SPLIT = 9,
    CODEC_GENERAL = 10,
    CODEC_VECTOR = 11,
} CodecKind;
typedef enum GeneralScheme { SCHEME_LZ4 = 1, SCHEME_ZSTD = 2 } GeneralScheme;

typedef struct Codec Codec;
struct Codec {
    CodecKind kind;
    uint32_t bits;      /* FLAT, INLINE, OUT_OF_LINE: of a value; VARIABLE: of an offset */
    const Codec *inner; /* of what it wraps: packed words, values of runs, items */
    Bytes symbols;      /* FSST */
    GeneralScheme scheme;
    uint64_t items; /* VECTOR: in a value */
    bool item_validity;
};
/* LH_IMPOSSIBLE names what is not read. */
bool codec_read(Bytes message, Arena *arena, const Codec **out, Err *err);
void codec_describe(const Codec *codec, Text *out);

/* Decoded values: of fixed width, or with offsets. */
typedef struct Values {
    size_t count;
    uint64_t bits;           /* of a value; 0: bytes of any length */
    const uint8_t *fixed;    /* bits 1: a bitmap */
    const uint8_t *items;    /* validity of the items of vectors, or NULL */
    const uint64_t *offsets; /* count + 1, ascending, within bytes */
    const uint8_t *bytes;
} Values;

/* The value buffers of one chunk of a mini-block page. */
bool codec_chunk(const Codec *codec, const Bytes *buffers, size_t buffer_count, size_t count,
                 Arena *arena, Values *out, Err *err);
/* One run of bytes that stands alone: levels, dictionaries. */
bool codec_block(const Codec *codec, Bytes data, size_t count, Arena *arena, Values *out, Err *err);
/* One value of any length that is compressed for itself: VARIABLE, FSST or GENERAL. */
bool codec_value(const Codec *codec, Bytes data, Arena *arena, Bytes *out, Err *err);

/* decode_bitpack.c. `bits` is 8, 16, 32 or 64; *out has count values of so many bits. */
bool bitpack_inline(Bytes data, uint32_t bits, size_t count, Arena *arena, const uint8_t **out,
                    Err *err);
bool bitpack_out_of_line(Bytes data, uint32_t bits, uint32_t packed_bits, size_t count,
                         Arena *arena, const uint8_t **out, Err *err);

/* decode_fsst.c */
typedef struct FsstTable {
    bool active;
    uint32_t count;
    const uint8_t *symbols, *lengths;
} FsstTable;
bool fsst_table(Bytes table, FsstTable *out, Err *err);
/* At most 8 bytes of text a byte of data: the caller reserves so much. */
bool fsst_expand(const FsstTable *table, Bytes data, uint8_t *out, size_t *size, Err *err);
