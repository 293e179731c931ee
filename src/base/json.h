/* JSON, read into a tree in an arena and written into a Text.
 *
 * Reading is strict RFC 8259 (UTF-8 checked, one document, depth at most JSON_DEPTH_MAX, a member
 * named twice is refused). Integers of 64 bits stay exact. Source: simdjson behind
 * json_simdjson.cc. Strings of a tree live in its arena. Thread rule: a tree is immutable once
 * read. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/text.h"

#define JSON_DEPTH_MAX 256

typedef enum JsonKind {
    JSON_NULL,
    JSON_FLAG,
    JSON_INT,  /* fits int64_t */
    JSON_UINT, /* above INT64_MAX */
    JSON_REAL,
    JSON_TEXT,
    JSON_ARRAY,
    JSON_OBJECT,
    JSON_FLOATS /* an array too, of numbers: json_read_floats */
} JsonKind;

typedef struct Json Json;
struct Json {
    JsonKind kind;
    Str name; /* of a member, inside an object */
    union {
        bool flag;
        int64_t integer;
        uint64_t natural;
        double real;
        Str text;
        struct {
            union {
                Json *items; /* elements or members, in document order */
                const float *floats;
            };
            size_t len;
        };
    };
};

bool json_read(Str text, Arena *arena, const Json **out, Err *err); /* LH_INVALID names the place */
/* The same, in about half of the time where nearly all of the text is an array of numbers under
 * this name in the root: that may then be JSON_FLOATS, each number rounded to a float. member may
 * be NULL. */
bool json_read_floats(Str text, const char *member, Arena *arena, const Json **out, Err *err);
/* Of an array or JSON_FLOATS, list->len of them, infinite beyond a float's range; false: there is
 * something else than numbers. */
bool json_floats(const Json *list, float *out);
const Json *json_get(const Json *object,
                     const char *name);           /* NULL: no such member, or not an object */
bool json_number(const Json *value, double *out); /* of any number kind */
const char *json_kind_name(JsonKind kind);
/* Typed shortcuts for documents that we wrote ourselves: the fallback when missing or another kind.
 */
Str json_get_text(const Json *object, const char *name, Str fallback);
int64_t json_get_int(const Json *object, const char *name, int64_t fallback);
bool json_get_flag(const Json *object, const char *name, bool fallback);

/* Writing: commas are put where they belong. jw_name before each value inside an object.
 *     JsonWriter w = {.out = &text};
 *     jw_object(&w); jw_name(&w, "rows"); jw_int(&w, 3); jw_end(&w);
 */
typedef struct JsonWriter {
    Text *out;
    bool comma; /* a value was written at this level */
    uint8_t depth;
    char close[JSON_DEPTH_MAX];
} JsonWriter;

void jw_object(JsonWriter *w);
void jw_array(JsonWriter *w);
void jw_end(JsonWriter *w); /* closes the innermost object or array */
void jw_name(JsonWriter *w, const char *name);
void jw_name_str(JsonWriter *w, Str name);
void jw_text(JsonWriter *w, Str text);         /* invalid UTF-8 becomes U+FFFD */
void jw_cstr(JsonWriter *w, const char *text); /* NULL writes null */
void jw_print(JsonWriter *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void jw_int(JsonWriter *w, int64_t value);
void jw_uint(JsonWriter *w, uint64_t value);
void jw_real(JsonWriter *w, double value); /* shortest that reads back; not finite: null */
void jw_float(JsonWriter *w, float value); /* the same for 32 bits */
void jw_flag(JsonWriter *w, bool value);
void jw_null(JsonWriter *w);
void jw_json(JsonWriter *w, const Json *value); /* a whole tree */
void jw_raw(JsonWriter *w, Str json);           /* text that is JSON already */
/* name and value in one line, for the common case */
void jw_member_text(JsonWriter *w, const char *name, Str text);
void jw_member_int(JsonWriter *w, const char *name, int64_t value);
void jw_member_real(JsonWriter *w, const char *name, double value);
void jw_member_tenths(JsonWriter *w, const char *name, double value); /* what was measured */
void jw_member_flag(JsonWriter *w, const char *name, bool value);
void jw_member_time(JsonWriter *w, const char *name, int64_t unix_ms); /* RFC 3339; 0 is null */
void json_escape(Text *out, Str text); /* the quoted form, without a writer */
