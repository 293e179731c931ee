#include "kit/kit.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

static uint64_t state = 42;
static uint64_t next(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 11;
}

static const Json *read(Arena *arena, const char *text) {
    const Json *value = NULL;
    Err err = {0};
    CHECK_OK(json_read_floats(str_from(text), "vector", arena, &value, &err));
    return value;
}

static bool is_apart(const char *text) {
    OWNED(arena_close) Arena arena = {0};
    return json_get(read(&arena, text), "vector")->kind == JSON_FLOATS;
}

TEST("the numbers of the member come as floats, the others as they do") {
    OWNED(arena_close) Arena arena = {0};
    const Json *v =
        read(&arena, " { \"k\" : 10,\"vector\": [ 1,-2.5 ,3e2,\n0.0, 1E-3] , \"a\":[7]}");
    const Json *vector = json_get(v, "vector");
    CHECK(vector->kind == JSON_FLOATS && vector->len == 5);
    const float wanted[] = {1, -2.5F, 300, 0, 0.001F};
    CHECK(!memcmp(vector->floats, wanted, sizeof wanted));
    CHECK_INT(json_get(v, "k")->integer, 10);
    CHECK_INT(json_get(v, "a")->items[0].integer, 7);
    CHECK_INT(v->len, 3);
}

TEST("only the root's own member is read apart") {
    CHECK(is_apart("{\"vector\":[1]}"));
    CHECK(is_apart("{\"q\":\"\\\"vector\\\"\",\"vector\":[1]}"));
    CHECK(is_apart("{\"mode\":\"vector\",\"vector\":[1]}"));
    CHECK(!is_apart("{\"a\":{\"vector\":[1]},\"vector\":[2]}"));
    CHECK(!is_apart("{\"a\":[{}],\"vector\":[2]}"));
    OWNED(arena_close) Arena arena = {0};
    const Json *v = read(&arena, "{\"q\":\"x ,\\\"vector\\\":[1]\",\"vector\":[2]}");
    CHECK(json_get(v, "vector")->items[0].integer == 2);
    CHECK(!json_get(read(&arena, "{\"a\":{\"vector\":[1]}}"), "vector"));
}

TEST("nothing behind the document is overlooked, NUL neither") {
    OWNED(arena_close) Arena arena = {0};
    const Json *value;
    Err err = {0};
    Str text = STR("{\"vector\":[1]}\0");
    CHECK(!json_read_floats(text, "vector", &arena, &value, &err));
}

TEST("what is refused without is refused with the same words") {
    static const char *const wrong[] = {
        "",
        "{\"vector\":[1,]}",
        "{\"vector\":[01]}",
        "{\"vector\":[1.]}",
        "{\"vector\":[.5]}",
        "{\"vector\":[1e]}",
        "{\"vector\":[+1]}",
        "{\"vector\":[--1]}",
        "{\"vector\":[1",
        "{\"vector\":[1 2]}",
        "{\"vector\":[1e999]}",
        "{\"vector\":[NaN]}",
        "{\"vector\":[1]",
        "{\"vector\":[1]}}",
        "{\"vector\" [1]}",
        "{\"vector\":[1],\"vector\":[1]}",
        "{\"vector\":[1],\"\\u0076ector\":[1]}",
        "{\"a ,\"vector\":[1]}",
        "\"{\",\"vector\":[1]",
        "{\"vector\":[123456789012345678901234567890]}",
        "{\"vector\":[-12345678901234567890]}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        OWNED(arena_close) Arena arena = {0};
        const Json *value;
        Err with = {0}, without = {0};
        CHECK(!json_read_floats(str_from(wrong[i]), "vector", &arena, &value, &with));
        CHECK(!json_read(str_from(wrong[i]), &arena, &value, &without));
        CHECK_STR(str_from(with.message), without.message);
    }
}

/* As clients write them: with as few digits as tell floats or doubles apart, or so many more. */
static void print_number(char *out, size_t size) {
    static const char *const formats[] = {"%.9g", "%.17g", "%.6f", "%.8e", "%.3f", "%.0f", "%.20f"};
    double value = ((double)next() * 0x1p-53 - 0.5);
    for (uint64_t scale = next() % 12; scale > 6; scale--) value *= next() % 2 ? 1e3 : 1e-4;
    if (next() % 2) value = (float)value;
    snprintf(out, size, formats[next() % 7], value);
}

TEST("numbers are those of the whole reader, rounded to floats, however they are written") {
    size_t apart = 0, all = 200000;
    for (size_t i = 0; i < all; i++) {
        OWNED(arena_close) Arena arena = {0};
        char number[400], text[450];
        const Json *whole = NULL;
        float wanted, found;
        Err err = {0};
        print_number(number, sizeof number);
        snprintf(text, sizeof text, "{\"vector\":[%s]}", number);
        CHECK_OK(json_read(str_from(text), &arena, &whole, &err));
        const Json *vector = json_get(read(&arena, text), "vector");
        CHECK(json_floats(json_get(whole, "vector"), &wanted) && json_floats(vector, &found));
        if (found != wanted) kit_fail(__FILE__, __LINE__, "%s is %.9g", number, (double)found);
        apart += vector->kind == JSON_FLOATS;
    }
    CHECK(apart > all * 9 / 10);
}

TEST("numbers on the edge between two floats, and beyond their range, are left to the reader") {
    CHECK(is_apart("{\"vector\":[16777216]}") && !is_apart("{\"vector\":[16777217]}"));
    CHECK(!is_apart("{\"vector\":[0.50000002980232238769531250]}"));
    CHECK(!is_apart("{\"vector\":[1e-39]}") && !is_apart("{\"vector\":[1e39]}"));
    CHECK(is_apart("{\"vector\":[1e-37]}") && is_apart("{\"vector\":[3.4e38]}"));
    OWNED(arena_close) Arena arena = {0};
    float found[3];
    const Json *v = read(&arena, "{\"vector\":[16777217,16777219,1e39]}");
    CHECK(json_floats(json_get(v, "vector"), found));
    CHECK(found[0] == 16777216 && found[1] == 16777220 && found[2] > FLT_MAX);
}

TEST("what is no number is said to be none") {
    OWNED(arena_close) Arena arena = {0};
    float out[2];
    CHECK(!json_floats(json_get(read(&arena, "{\"vector\":[1,\"2\"]}"), "vector"), out));
    CHECK(!json_floats(json_get(read(&arena, "{\"vector\":[null]}"), "vector"), out));
}

TEST("floats are written as the array they were") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text out = {0};
    jw_json(&(JsonWriter){.out = &out}, read(&arena, "{\"vector\":[0.1,2,-3e7],\"k\":1}"));
    CHECK_STR(text_str(&out), "{\"vector\":[0.1,2,-3e+07],\"k\":1}");
}
