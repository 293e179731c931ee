/* Functions whose result grows with a number that they are given: a statement of fifty bytes could
 * ask for terabytes. They take constants up to a bound. */
#include "query/engine.h"

#include <ctype.h>

#define GROWTH_MAX 1000 /* repeat, lpad, ... */
#define REPLACEMENT_MAX 100
#define LIST_MAX 100000 /* each argument of range() as a list */
#define WIDTH_DIGITS_MAX 4

static bool is_one_of(Str name, const char *const *list) {
    for (; *list; list++)
        if (str_equal_nocase(name, str_from(*list))) return true;
    return false;
}

static bool is_constant_upto(const Json *argument, int64_t max) {
    if (!str_is(json_get_text(argument, "type", (Str){0}), "VALUE_CONSTANT")) return false;
    const Json *constant = json_get(argument, "value");
    const Json *value = json_get(constant, "value");
    if (json_get_flag(constant, "is_null", false)) return true;
    return value && value->kind == JSON_INT && value->integer <= max && value->integer >= -max;
}

/* Which argument makes the result grow. */
static const struct Growth {
    const char *name;
    size_t argument;
} growths[] = {
    {"repeat",          1},
    {"lpad",            1},
    {"rpad",            1},
    {"list_resize",     1},
    {"array_resize",    1},
    {"bitstring",       1},
    {"to_base",         2},
    {"bar",             3},
    {"equi_width_bins", 2},
};

static Str check_growth(Str name, const Json *arguments, Arena *arena) {
    for (size_t i = 0; i < COUNT(growths); i++) {
        if (!str_equal_nocase(name, str_from(growths[i].name))) continue;
        if (growths[i].argument >= arguments->len) return (Str){0};
        if (!is_constant_upto(&arguments->items[growths[i].argument], GROWTH_MAX))
            return arena_print(arena, "%.*s() takes a constant count of at most %d here",
                               SHOW(name), GROWTH_MAX);
    }
    return (Str){0};
}

static Str check_replacement(Str name, const Json *arguments, Arena *arena) {
    static const char *const replacing[] = {"replace", "regexp_replace", NULL};
    if (!is_one_of(name, replacing) || arguments->len < 3) return (Str){0};
    const Json *value = json_get(json_get(&arguments->items[2], "value"), "value");
    if (!value || value->kind != JSON_TEXT || value->text.len <= REPLACEMENT_MAX) return (Str){0};
    return arena_print(arena, "%.*s() takes a replacement of at most %d bytes", SHOW(name),
                       REPLACEMENT_MAX);
}

static Str check_list(Str name, const Json *arguments, Arena *arena) {
    static const char *const lists[] = {"range", "generate_series", NULL};
    if (!is_one_of(name, lists)) return (Str){0};
    for (size_t i = 0; i < arguments->len; i++)
        if (!is_constant_upto(&arguments->items[i], LIST_MAX))
            return arena_print(
                arena,
                "%.*s() as a list takes constants up to %d; as a table, FROM %.*s(...), "
                "it takes any",
                SHOW(name), LIST_MAX, SHOW(name));
    return (Str){0};
}

/* '%9d' is fine, '%999999999d' is a gigabyte. */
static Str check_format(Str name, const Json *arguments, Arena *arena) {
    static const char *const formats[] = {"printf", "format", NULL};
    if (!is_one_of(name, formats) || arguments->len == 0) return (Str){0};
    const Json *value = json_get(json_get(&arguments->items[0], "value"), "value");
    if (!value || value->kind != JSON_TEXT)
        return arena_print(arena, "%.*s() takes a constant format", SHOW(name));
    size_t digits = 0;
    for (size_t i = 0; i < value->text.len; i++) {
        char c = value->text.data[i];
        digits = isdigit((unsigned char)c) ? digits + 1 : 0;
        /* a width from an argument: %*d, {:{}} */
        bool dynamic = c == '*' || (c == '{' && i > 0 && value->text.data[i - 1] == ':');
        if (digits > WIDTH_DIGITS_MAX || dynamic)
            return arena_print(arena, "%.*s() takes widths of up to %d digits", SHOW(name),
                               WIDTH_DIGITS_MAX);
    }
    return (Str){0};
}

Str growth_refusal(Str name, const Json *arguments, bool as_list, Arena *arena) {
    Str why = check_growth(name, arguments, arena);
    if (!why.len) why = check_format(name, arguments, arena);
    if (!why.len) why = check_replacement(name, arguments, arena);
    if (!why.len && as_list) why = check_list(name, arguments, arena);
    return why;
}
