/* Tables of named, typed, documented values. The same rows parse a JSON body, a query string, a
 * configuration section and a command line, print --help and make the OpenAPI document, so that
 * these cannot disagree.
 *
 *     static const Option search_options[] = {
 *         {"index", LH_TEXT, AT(Search, index), REQUIRED, "index to search"},
 *         {"k",     LH_INT,  AT(Search, k),     "10",     "hits to return", .min = 1, .max =
 * 10000}, {0}};
 *
 * A member that no row names is refused (LH_INVALID, with the nearest name as a hint). A fallback
 * of NULL leaves the field as it was. Text and Json fields point into what was read. */
#pragma once

#include "base/json.h"

typedef enum OptionType {
    LH_TEXT,   /* Str */
    LH_FLAG,   /* bool */
    LH_INT,    /* int64_t */
    LH_REAL,   /* double */
    LH_JSON,   /* const Json *, any value; JSON sources only */
    LH_FLOATS, /* const Json *, a list that json_floats reads; JSON sources only */
} OptionType;

typedef struct Option {
    const char *name;
    OptionType type;
    size_t offset;
    const char *fallback; /* as written by a user; REQUIRED: refused when missing */
    const char *help;
    double min, max;     /* numbers; both 0: no bound */
    const char *choices; /* text: "json|ndjson|csv"; NULL: any */
} Option;

#define AT(Type, field) offsetof(Type, field)
#define REQUIRED ((const char *)1)

/* Fallbacks for every row into *out (which the caller zeroed), REQUIRED ones left alone. */
void options_defaults(const Option *options, void *out);
/* An object's members over the defaults. */
bool options_read(const Option *options, const Json *object, void *out, Err *err);
/* One value written as text: a query parameter, an environment variable, a flag. */
bool option_set(const Option *option, Str value, void *out, Err *err);
/* The name of the first of LH_FLOATS, or NULL. */
const char *options_floats(const Option *options);
const Option *option_find(const Option *options, Str name);
/* The nearest name for "did you mean '%s'?", or NULL. */
const char *option_nearest(const Option *options, Str name);
bool option_is_required(const Option *option);
