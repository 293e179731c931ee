/* Between json.c and the C++ parser: a visitor. `open` gives the element count before the elements;
 * `close` may refuse (false) and then says why itself. */
#pragma once

#include "base/json.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct JsonVisitor {
    void *context;
    void (*open)(void *context, JsonKind kind, size_t count);
    bool (*close)(void *context);
    void (*name)(void *context, const char *text, size_t len);
    void (*text)(void *context, const char *text, size_t len);
    void (*integer)(void *context, int64_t value);
    void (*natural)(void *context, uint64_t value);
    void (*real)(void *context, double value);
    void (*flag)(void *context, bool value);
    void (*null)(void *context);
} JsonVisitor;

/* NULL on success, else what was wrong ("" when the visitor refused or it is nested too deeply). */
const char *json_simdjson_read(const char *text, size_t len, const JsonVisitor *visit);

bool json_simdjson_is_utf8(const char *text, size_t len);

#ifdef __cplusplus
}
#endif
