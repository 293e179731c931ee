/* Protocol Buffers' wire format (https://protobuf.dev/programming-guides/encoding), as far as Lance
 * uses it: messages as a walk over fields, every length checked against the bytes there are.
 *
 *     WireField field;
 *     for (WireReader reader = wire_read(bytes); wire_next(&reader, &field);)
 *         if (field.number == 3) version = field.value;
 *
 * Whether the message was whole is asked once, after the walk: wire_whole(&reader, "...", err).
 * A field of another wire type than expected reads as 0 or as no bytes. Thread rule: none, all is
 * in the caller's hands. Internal to lance. */
#pragma once

#include "base/base.h"

typedef enum WireType {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5
} WireType;

typedef struct WireField {
    uint32_t number;
    WireType type;
    uint64_t value; /* of numbers; 0 for WIRE_BYTES */
    Bytes bytes;    /* of WIRE_BYTES: a text, a message, packed numbers; else empty */
    Bytes raw;      /* key and all, to be carried over verbatim */
} WireField;

typedef struct WireReader {
    const uint8_t *at, *end;
    bool bad;
} WireReader;

static inline WireReader wire_read(Bytes message) {
    return (WireReader){message.data, message.data ? message.data + message.size : NULL, false};
}
bool wire_next(WireReader *reader, WireField *out); /* false at the end, or where it is malformed */
/* After the walk: LH_CORRUPT "<what> is not a protobuf message" when it ended early. */
bool wire_whole(const WireReader *reader, const char *what, Err *err);
/* The last field of that number; false when there is none (or the message is malformed before). */
bool wire_find(Bytes message, uint32_t number, WireField *out);

/* Repeated numbers, packed or not. */
typedef struct WireNumbers {
    uint64_t *items;
    size_t len, cap;
} WireNumbers;
bool wire_numbers(const WireField *field, Arena *arena, WireNumbers *out, Err *err);
static inline Str wire_text(const WireField *field) {
    return str_of(field->bytes);
}

/* Writing. A number 0 or empty bytes are written all the same: leaving defaults out is the
 * caller's business (wire_put_nonzero). */
void wire_put(Text *out, uint32_t number, uint64_t value);
void wire_put_nonzero(Text *out, uint32_t number, uint64_t value);
void wire_put_double(Text *out, uint32_t number, double value);
void wire_put_bytes(Text *out, uint32_t number, Bytes value);
void wire_put_text(Text *out, uint32_t number, Str value);
void wire_put_packed(Text *out, uint32_t number, const uint64_t *values, size_t count);
/* A message inside: begin, fields, end. */
size_t wire_begin(Text *out, uint32_t number);
void wire_end(Text *out, size_t begun);
/* google.protobuf.Any: {1: type_url, 2: value} */
void wire_put_any(Text *out, uint32_t number, Str type_url, Bytes value);
