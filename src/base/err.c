#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const words[LH_KIND_COUNT] = {
    [LH_OK] = "ok",
    [LH_INVALID] = "invalid_request",
    [LH_UNKNOWN_USER] = "unauthorized",
    [LH_DENIED] = "forbidden",
    [LH_MISSING] = "not_found",
    [LH_METHOD] = "method_not_allowed",
    [LH_CONFLICT] = "conflict",
    [LH_NO_LENGTH] = "length_required",
    [LH_PRECONDITION] = "precondition_failed",
    [LH_TOO_BIG] = "too_large",
    [LH_MEDIA_TYPE] = "unsupported_media_type",
    [LH_RANGE] = "range_not_satisfiable",
    [LH_IMPOSSIBLE] = "unprocessable",
    [LH_BUSY] = "too_many_requests",
    [LH_CANCELLED] = "cancelled",
    [LH_BUG] = "internal_error",
    [LH_CORRUPT] = "corrupt",
    [LH_OFFLINE] = "unavailable",
    [LH_TIMEOUT] = "timeout",
    [LH_FULL] = "no_space",
};

const char *err_word(const Err *err) {
    return err->code ? err->code : words[err->kind];
}

static bool err_format(Err *err, ErrKind kind, const char *code, const char *format, va_list args) {
    char message[sizeof err->message]; /* the arguments may point into err->message */
    vsnprintf(message, sizeof message, format, args);
    *err = (Err){.kind = kind, .code = code};
    memcpy(err->message, message, sizeof message);
    return false;
}

bool err_set(Err *err, ErrKind kind, const char *format, ...) {
    va_list args;
    va_start(args, format);
    err_format(err, kind, NULL, format, args);
    va_end(args);
    return false;
}

bool err_code(Err *err, ErrKind kind, const char *code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    err_format(err, kind, code, format, args);
    va_end(args);
    return false;
}

static ErrKind kind_of_errno(int number) {
    switch (number) {
    case ENOENT:
        return LH_MISSING;
    case ENOSPC:
    case EDQUOT:
        return LH_FULL;
    case EACCES:
    case EPERM:
    case EROFS:
        return LH_DENIED;
    case EEXIST:
        return LH_CONFLICT;
    default:
        return LH_OFFLINE;
    }
}

bool err_errno(Err *err, const char *format, ...) {
    int number = errno;
    va_list args;
    va_start(args, format);
    err_format(err, kind_of_errno(number), NULL, format, args);
    va_end(args);
    size_t len = strlen(err->message);
    char reason[128];
    snprintf(err->message + len, sizeof err->message - len, ": %s",
             strerror_r(number, reason, sizeof reason));
    return false;
}

bool err_while(Err *err, const char *format, ...) {
    char before[sizeof err->message], after[sizeof err->message];
    va_list args;
    va_start(args, format);
    vsnprintf(before, sizeof before, format, args);
    va_end(args);
    memcpy(after, err->message, sizeof after);
    snprintf(err->message, sizeof err->message, "%.200s: %.290s", before, after);
    return false;
}
