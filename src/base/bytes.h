/* Binary data as a borrowed slice. */
#pragma once

#include "base/str.h"

typedef struct Bytes {
    const uint8_t *data;
    size_t size;
} Bytes;

static inline Bytes bytes_of(Str text) {
    return (Bytes){(const uint8_t *)text.data, text.len};
}
static inline Str str_of(Bytes bytes) {
    return (Str){(const char *)bytes.data, bytes.size};
}
