/* Text as a borrowed slice: a pointer and a length, never NUL-terminated, never owned. Only base
 * calls strlen. Functions here are pure and thread safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Str {
    const char *data;
    size_t len;
} Str;

#define STR(literal) ((Str){"" literal, sizeof(literal) - 1})
#define SHOW(str) (int)(str).len, (str).data /* for "%.*s" */

Str str_from(const char *text); /* of a NUL-terminated string; NULL gives the empty Str */
bool str_equal(Str a, Str b);
bool str_is(Str a, const char *text);
bool str_equal_nocase(Str a, Str b); /* ASCII letters fold */
int str_compare(Str a, Str b);       /* memcmp order, shorter first */
bool str_starts(Str text, Str prefix);
bool str_ends(Str text, Str suffix);
bool str_find(Str text, Str part, size_t *at);   /* first occurrence */
Str str_slice(Str text, size_t from, size_t to); /* [from, to), clamped */
Str str_trim(Str text);                          /* ASCII white space at both ends */
/* What stands before the first `stop`, or all; *rest moves past the stop. */
Str str_until(Str *rest, char stop);
/* Decimal, the whole text, no sign for u64; false when malformed or out of range. */
bool str_to_u64(Str text, uint64_t *out);
bool str_to_i64(Str text, int64_t *out);
bool str_to_real(Str text, double *out);
bool str_is_utf8(Str text); /* well-formed, no surrogates, no overlong forms */
/* Damerau-free edit distance, for "did you mean"; lengths beyond 64 count as far apart. */
size_t str_distance(Str a, Str b);
