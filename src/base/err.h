/* What went wrong: a kind for programs, a code for clients, a message for the person reading.
 *
 * A function that can fail returns bool and takes an Err * last; on failure every out parameter is
 * untouched. Each function here returns false so that `return err_set(...)` is the whole statement.
 * Messages: lower case, no full stop, the thing in quotes, never a secret. Thread rule: an Err
 * belongs to the caller's stack. */
#pragma once

#include "base/str.h"

#include <stdbool.h>

typedef enum ErrKind {
    LH_OK,
    LH_INVALID,      /* 400 malformed */
    LH_UNKNOWN_USER, /* 401 no or wrong key */
    LH_DENIED,       /* 403 */
    LH_MISSING,      /* 404 */
    LH_METHOD,       /* 405 */
    LH_CONFLICT,     /* 409 conflicts with what exists */
    LH_NO_LENGTH,    /* 411 */
    LH_PRECONDITION, /* 412 */
    LH_TOO_BIG,      /* 413 */
    LH_MEDIA_TYPE,   /* 415 */
    LH_RANGE,        /* 416 */
    LH_IMPOSSIBLE,   /* 422 well-formed but impossible */
    LH_BUSY,         /* 429 */
    LH_CANCELLED,    /* 499 the client went away, or a job was cancelled */
    LH_BUG,          /* 500 */
    LH_CORRUPT,      /* 500 bytes on disk are not what we wrote */
    LH_OFFLINE,      /* 503 a backend is out of reach */
    LH_TIMEOUT,      /* 504 */
    LH_FULL,         /* 507 no space left */
    LH_KIND_COUNT
} ErrKind;

typedef struct Err {
    ErrKind kind;
    const char *code; /* stable snake_case word, static storage; NULL: the kind's own word */
    char message[496];
} Err;

/* `return err_set(err, LH_MISSING, "no bucket named '%.*s'", SHOW(name));` */
bool err_set(Err *err, ErrKind kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same with a code of its own: err_code(err, LH_MISSING, "bucket_not_found", ...). */
bool err_code(Err *err, ErrKind kind, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Adds ": No such file or directory"; the kind follows errno (ENOENT is LH_MISSING, ENOSPC is
 * LH_FULL, EACCES is LH_DENIED, else LH_OFFLINE). */
bool err_errno(Err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "format: " before the message that is there: what failed before why. */
bool err_while(Err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The word for clients: err->code, or the kind's own ("not_found", "invalid_request", ...). */
const char *err_word(const Err *err);
