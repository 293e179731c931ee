#include "base/text.h"

#include "base/owned.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_close(Text *text) {
    free(text->data);
    *text = (Text){0};
}

void text_clear(Text *text) {
    text->len = 0;
}

char *text_reserve(Text *text, size_t more) {
    if (text->cap - text->len < more) {
        assert(more < (size_t)1 << 46);
        text->cap = MAX(MAX(text->cap * 2, text->len + more), 256);
        text->data = realloc(text->data, text->cap);
        if (!text->data) abort();
    }
    return text->data + text->len;
}

void text_add(Text *text, Str part) {
    if (part.len == 0) return;
    memcpy(text_reserve(text, part.len), part.data, part.len);
    text->len += part.len;
}

void text_add_byte(Text *text, char byte) {
    *text_reserve(text, 1) = byte;
    text->len++;
}

void text_print(Text *text, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    text_reserve(text, 128);
    int len = vsnprintf(text->data + text->len, text->cap - text->len, format, args);
    assert(len >= 0);
    if ((size_t)len >= text->cap - text->len) {
        text_reserve(text, (size_t)len + 1);
        vsnprintf(text->data + text->len, text->cap - text->len, format, again);
    }
    text->len += (size_t)len;
    va_end(again);
    va_end(args);
}
