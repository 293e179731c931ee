/* A growing buffer of bytes that owns its memory. Growth cannot fail. Thread rule: one at a time.
 */
#pragma once

#include "base/bytes.h"

#include <stdarg.h>

typedef struct Text {
    char *data;
    size_t len, cap;
} Text;

void text_close(Text *text);
void text_clear(Text *text);                 /* len 0, keeps the memory */
char *text_reserve(Text *text, size_t more); /* room for `more` bytes at the end; returns the end */
void text_add(Text *text, Str part);
void text_add_byte(Text *text, char byte);
void text_print(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline Str text_str(const Text *text) {
    return (Str){text->data, text->len};
}
static inline Bytes text_bytes(const Text *text) {
    return bytes_of(text_str(text));
}
