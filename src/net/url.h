/* Percent-encoding and query strings (RFC 3986). Pure and thread safe. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/text.h"

/* Decodes %XX once; `+` stays a plus. LH_INVALID on a bad escape or an encoded NUL. */
bool url_decode(Str text, Arena *arena, Str *out, Err *err);
void url_encode(Text *out, Str text);      /* all but unreserved characters */
void url_encode_path(Text *out, Str text); /* the same, `/` kept */
/* Takes the next `name=value` off *rest, both decoded (`+` is a space here); false with err->kind
 * LH_OK at the end. */
bool url_query_next(Str *rest, Arena *arena, Str *name, Str *value, Err *err);
