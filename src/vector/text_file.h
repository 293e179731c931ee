/* Internal to the text index: its file, see text_index.h. */
#pragma once

#include "vector/text_index.h"

#define TEXT_MAGIC "LHTEXT\0\0"
#define TEXT_VERSION 1

typedef enum TextSection {
    TEXT_LENGTHS,
    TEXT_HASHES,
    TEXT_ENDS,
    TEXT_COUNTS,
    TEXT_POSTINGS,
    TEXT_SECTIONS
} TextSection;

typedef struct TextHeader {
    char magic[8];
    uint32_t version, unused;
    uint64_t rows, terms, postings_size;
    double words; /* of all rows */
    uint64_t offsets[TEXT_SECTIONS];
    uint32_t sections_crc; /* of all that follows the header */
    uint32_t crc;          /* of all before it */
} TextHeader;

static inline uint32_t text_header_crc(const TextHeader *header) {
    return crc32c(0, (Bytes){(const uint8_t *)header, offsetof(TextHeader, crc)});
}
