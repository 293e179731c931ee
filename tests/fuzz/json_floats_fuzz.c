/* Any bytes: a body read with the floats of its vector apart is the body read as any other. */
#include "base/base.h"

#include <assert.h>
#include <string.h>

static void check_same(const Json *floats, const Json *array) {
    OWNED(arena_close) Arena arena = {0};
    float *wanted = arena_array(&arena, float, array->len + 1);
    assert(array->kind == JSON_ARRAY && array->len == floats->len);
    assert(json_floats(array, wanted));
    for (size_t i = 0; i < array->len; i++) assert(floats->floats[i] == wanted[i]);
}

static void check_members(const Json *apart, const Json *whole) {
    OWNED(text_close) Text one = {0}, other = {0};
    assert(apart->kind == whole->kind && apart->len == whole->len);
    for (size_t i = 0; i < apart->len; i++) {
        assert(str_equal(apart->items[i].name, whole->items[i].name));
        if (apart->items[i].kind == JSON_FLOATS) {
            check_same(&apart->items[i], &whole->items[i]);
            continue;
        }
        jw_json(&(JsonWriter){.out = &one}, &apart->items[i]);
        jw_json(&(JsonWriter){.out = &other}, &whole->items[i]);
    }
    assert(str_equal(text_str(&one), text_str(&other)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(arena_close) Arena arena = {0};
    const Json *apart, *whole;
    Err err = {0}, err_apart = {0};
    Str text = {(const char *)data, size};
    bool ok = json_read(text, &arena, &whole, &err);
    assert(json_read_floats(text, "v", &arena, &apart, &err_apart) == ok);
    if (!ok)
        assert(!strcmp(err.message, err_apart.message));
    else if (whole->kind == JSON_OBJECT || whole->kind == JSON_ARRAY)
        check_members(apart, whole);
    return 0;
}
