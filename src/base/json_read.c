/* Builds the tree from the parser's events. The count that comes with each `open` lets a
 * container's elements lie in one array; simdjson saturates counts at 2^24 - 1, so larger ones
 * grow. */
#include "base/json.h"
#include "base/json_simdjson.h"
#include "base/owned.h"

#include <stdlib.h>
#include <string.h>

typedef struct Level {
    Json *container;
    size_t cap;
} Level;

typedef struct Builder {
    Arena *arena;
    Err *err;
    Json root;
    Str name;
    int depth;
    bool refused;
    Level levels[JSON_DEPTH_MAX + 2];
} Builder;

static Json *builder_add(Builder *b, JsonKind kind) {
    Json *slot = &b->root;
    if (b->depth > 0) {
        Level *level = &b->levels[b->depth - 1];
        Json *container = level->container;
        if (container->len == level->cap) {
            Json *larger = arena_array(b->arena, Json, level->cap * 2);
            memcpy(larger, container->items, container->len * sizeof *larger);
            container->items = larger;
            level->cap *= 2;
        }
        slot = &container->items[container->len++];
    }
    slot->kind = kind;
    slot->name = b->name;
    b->name = (Str){0};
    return slot;
}

static void on_open(void *context, JsonKind kind, size_t count) {
    Builder *b = context;
    Json *container = builder_add(b, kind);
    container->len = 0;
    container->items = count ? arena_array(b->arena, Json, count) : NULL;
    b->levels[b->depth++] = (Level){container, count};
}

static int compare_names(const void *a, const void *b) {
    return str_compare(*(const Str *)a, *(const Str *)b);
}

/* Sorted, because a pairwise look would take for ever over a million members from outside. */
static const Str *name_twice(Builder *b, const Json *object) {
    Str *names = arena_array(b->arena, Str, object->len);
    for (size_t i = 0; i < object->len; i++) names[i] = object->items[i].name;
    qsort(names, object->len, sizeof *names, compare_names);
    for (size_t i = 1; i < object->len; i++)
        if (str_equal(names[i - 1], names[i])) return &names[i];
    return NULL;
}

static bool on_close(void *context) {
    Builder *b = context;
    const Json *container = b->levels[--b->depth].container;
    if (container->kind != JSON_OBJECT || container->len < 2) return true;
    const Str *twice = name_twice(b, container);
    if (!twice) return true;
    b->refused = true;
    return err_code(b->err, LH_INVALID, "invalid_json", "member '%.*s' is there twice",
                    (int)MIN(twice->len, 100), twice->data);
}

static void on_name(void *context, const char *text, size_t len) {
    Builder *b = context;
    b->name = arena_copy(b->arena, (Str){text, len});
}

static void on_text(void *context, const char *text, size_t len) {
    Builder *b = context;
    builder_add(b, JSON_TEXT)->text = arena_copy(b->arena, (Str){text, len});
}
static void on_integer(void *context, int64_t v) {
    builder_add(context, JSON_INT)->integer = v;
}
static void on_natural(void *context, uint64_t v) {
    builder_add(context, JSON_UINT)->natural = v;
}
static void on_real(void *context, double v) {
    builder_add(context, JSON_REAL)->real = v;
}
static void on_flag(void *context, bool v) {
    builder_add(context, JSON_FLAG)->flag = v;
}
static void on_null(void *context) {
    builder_add(context, JSON_NULL);
}

bool json_read(Str text, Arena *arena, const Json **out, Err *err) {
    Builder b = {.arena = arena, .err = err};
    JsonVisitor visit = {.context = &b,
                         .open = on_open,
                         .close = on_close,
                         .name = on_name,
                         .text = on_text,
                         .integer = on_integer,
                         .natural = on_natural,
                         .real = on_real,
                         .flag = on_flag,
                         .null = on_null};
    const char *why = json_simdjson_read(text.data ? text.data : "", text.len, &visit);
    if (why && b.refused) return false;
    if (why && !*why)
        return err_code(err, LH_INVALID, "invalid_json", "JSON is nested deeper than %d levels",
                        JSON_DEPTH_MAX);
    if (why) return err_code(err, LH_INVALID, "invalid_json", "not valid JSON: %s", why);
    Json *root = arena_new(arena, Json);
    *root = b.root;
    *out = root;
    return true;
}

const Json *json_get(const Json *object, const char *name) {
    Str wanted = str_from(name);
    if (!object || object->kind != JSON_OBJECT) return NULL;
    for (size_t i = 0; i < object->len; i++)
        if (str_equal(object->items[i].name, wanted)) return &object->items[i];
    return NULL;
}

bool json_number(const Json *value, double *out) {
    if (value->kind == JSON_INT)
        *out = (double)value->integer;
    else if (value->kind == JSON_UINT)
        *out = (double)value->natural;
    else if (value->kind == JSON_REAL)
        *out = value->real;
    else
        return false;
    return true;
}

const char *json_kind_name(JsonKind kind) {
    static const char *const names[] = {"null",       "true or false", "an integer",
                                        "an integer", "a number",      "a text",
                                        "an array",   "an object",     "an array"};
    return names[kind];
}

Str json_get_text(const Json *object, const char *name, Str fallback) {
    const Json *value = json_get(object, name);
    return value && value->kind == JSON_TEXT ? value->text : fallback;
}

int64_t json_get_int(const Json *object, const char *name, int64_t fallback) {
    const Json *value = json_get(object, name);
    return value && value->kind == JSON_INT ? value->integer : fallback;
}

bool json_get_flag(const Json *object, const char *name, bool fallback) {
    const Json *value = json_get(object, name);
    return value && value->kind == JSON_FLAG ? value->flag : fallback;
}
