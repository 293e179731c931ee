#include "base/option.h"

#include "base/owned.h"

#include <stdio.h>
#include <string.h>

const Option *option_find(const Option *options, Str name) {
    for (const Option *option = options; option->name; option++)
        if (str_is(name, option->name)) return option;
    return NULL;
}

const char *options_floats(const Option *options) {
    for (const Option *option = options; option->name; option++)
        if (option->type == LH_FLOATS) return option->name;
    return NULL;
}

const char *option_nearest(const Option *options, Str name) {
    const char *best = NULL;
    size_t best_distance = MAX(name.len / 3, 2) + 1; /* two letters swapped count as two */
    for (const Option *option = options; option->name; option++) {
        size_t distance = str_distance(name, str_from(option->name));
        if (distance < best_distance) best_distance = distance, best = option->name;
    }
    return best;
}

bool option_is_required(const Option *option) {
    return option->fallback == REQUIRED;
}

void options_defaults(const Option *options, void *out) {
    Err err;
    for (const Option *option = options; option->name; option++)
        if (option->fallback && !option_is_required(option))
            option_set(option, str_from(option->fallback), out, &err);
}

static bool check_number(const Option *option, double value, Err *err) {
    if (option->min == 0 && option->max == 0) return true;
    if (value >= option->min && value <= option->max) return true;
    return err_code(err, LH_INVALID, "out_of_range",
                    "'%s' must be between %.15g and %.15g, not %.15g", option->name, option->min,
                    option->max, value);
}

static bool check_choice(const Option *option, Str value, Err *err) {
    Str rest = str_from(option->choices);
    if (!option->choices) return true;
    while (rest.len)
        if (str_equal(str_until(&rest, '|'), value)) return true;
    return err_set(err, LH_INVALID, "'%s' must be one of %s, not '%.*s'", option->name,
                   option->choices, (int)MIN(value.len, 60), value.data);
}

static bool wrong_type(const Option *option, const char *given, Err *err) {
    static const char *const wanted[] = {
        [LH_TEXT] = "a text",   [LH_FLAG] = "true or false", [LH_INT] = "an integer",
        [LH_REAL] = "a number", [LH_JSON] = "JSON",          [LH_FLOATS] = "a list of numbers"};
    return err_code(err, LH_INVALID, "wrong_type", "'%s' must be %s, not %s", option->name,
                    wanted[option->type], given);
}

static bool read_json(const Option *option, const Json *value, void *out, Err *err) {
    char *field = (char *)out + option->offset;
    double real;
    switch (option->type) {
    case LH_FLOATS:
        if (value->kind != JSON_ARRAY && value->kind != JSON_FLOATS) break;
        return *(const Json **)field = value, true;
    case LH_JSON:
        return *(const Json **)field = value, true;
    case LH_TEXT:
        if (value->kind != JSON_TEXT) break;
        return check_choice(option, value->text, err) && (*(Str *)field = value->text, true);
    case LH_FLAG:
        if (value->kind != JSON_FLAG) break;
        return *(bool *)field = value->flag, true;
    case LH_INT:
        if (value->kind != JSON_INT) break;
        return check_number(option, (double)value->integer, err) &&
               (*(int64_t *)field = value->integer, true);
    case LH_REAL:
        if (!json_number(value, &real)) break;
        return check_number(option, real, err) && (*(double *)field = real, true);
    }
    return wrong_type(option, json_kind_name(value->kind), err);
}

bool option_set(const Option *option, Str value, void *out, Err *err) {
    char *field = (char *)out + option->offset;
    int64_t integer;
    double real;
    switch (option->type) {
    case LH_JSON:
    case LH_FLOATS:
        return err_set(err, LH_INVALID, "'%s' cannot be given as text", option->name);
    case LH_TEXT:
        return check_choice(option, value, err) && (*(Str *)field = value, true);
    case LH_FLAG:
        if (str_is(value, "true") || str_is(value, "1")) return *(bool *)field = true, true;
        if (str_is(value, "false") || str_is(value, "0")) return *(bool *)field = false, true;
        break;
    case LH_INT:
        if (!str_to_i64(value, &integer)) break;
        return check_number(option, (double)integer, err) && (*(int64_t *)field = integer, true);
    case LH_REAL:
        if (!str_to_real(value, &real)) break;
        return check_number(option, real, err) && (*(double *)field = real, true);
    }
    char given[80];
    int len = (int)MIN(value.len, 60);
    snprintf(given, sizeof given, "'%.*s'", len, value.data ? value.data : "");
    return wrong_type(option, given, err);
}

static bool unknown_member(const Option *options, Str name, Err *err) {
    const char *near = option_nearest(options, name);
    int len = (int)MIN(name.len, 80);
    if (near)
        return err_code(err, LH_INVALID, "unknown_field",
                        "unknown field '%.*s'; did you mean '%s'?", len, name.data, near);
    return err_code(err, LH_INVALID, "unknown_field", "unknown field '%.*s'", len, name.data);
}

bool options_read(const Option *options, const Json *object, void *out, Err *err) {
    if (object->kind != JSON_OBJECT)
        return err_code(err, LH_INVALID, "wrong_type", "expected a JSON object, not %s",
                        json_kind_name(object->kind));
    for (size_t i = 0; i < object->len; i++)
        if (!option_find(options, object->items[i].name))
            return unknown_member(options, object->items[i].name, err);
    options_defaults(options, out);
    for (const Option *option = options; option->name; option++) {
        const Json *value = json_get(object, option->name);
        if (value && value->kind == JSON_NULL && option->type != LH_JSON) value = NULL;
        if (!value && option_is_required(option))
            return err_code(err, LH_INVALID, "missing_field", "'%s' is missing: %s", option->name,
                            option->help);
        if (value && !read_json(option, value, out, err)) return false;
    }
    return true;
}
