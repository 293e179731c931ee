#include "kit/kit.h"

#include <math.h>

static Arena arena;
static Err err;

static const Json *read_ok(const char *text) {
    const Json *value = NULL;
    CHECK_OK(json_read(str_from(text), &arena, &value, &err));
    return value;
}

static bool refused(const char *text) {
    const Json *value;
    return !json_read(str_from(text), &arena, &value, &err) && err.kind == LH_INVALID;
}

TEST("integers of 64 bits stay exact") {
    const Json *v = read_ok("[9007199254740993,-9223372036854775808,18446744073709551615,1.0]");
    CHECK(v->items[0].kind == JSON_INT && v->items[0].integer == 9007199254740993);
    CHECK(v->items[1].integer == INT64_MIN);
    CHECK(v->items[2].kind == JSON_UINT && v->items[2].natural == UINT64_MAX);
    CHECK(v->items[3].kind == JSON_REAL);
}

TEST("members are found by name and keep their order") {
    const Json *v = read_ok("{\"b\":{\"c\":[true,null]},\"a\":\"x\\u0000y\"}");
    CHECK_STR(v->items[0].name, "b");
    CHECK_INT(json_get(v, "a")->text.len, 3);
    CHECK(json_get(json_get(v, "b"), "c")->items[0].flag);
    CHECK(!json_get(v, "d") && !json_get(json_get(v, "a"), "d"));
}

TEST("malformed documents are refused") {
    CHECK(refused("") && refused("{") && refused("[1,]") && refused("{\"a\":1}x") &&
          refused("nul"));
    CHECK(refused("[01]") && refused("[1e999]") && refused("[123456789012345678901234567890]"));
    CHECK(refused("[\"\xC0\x80\"]") && refused("[NaN]") && refused("{'a':1}") &&
          refused("[\"\t\"]"));
}

TEST("a member named twice is refused by name") {
    CHECK(refused("{\"a\":{\"x\":1,\"y\":2,\"x\":3}}"));
    CHECK(strstr(err.message, "'x'"));
}

TEST("nesting is bounded") {
    char deep[2 * 600 + 1] = "";
    memset(deep, '[', 600);
    memset(deep + 600, ']', 600);
    CHECK(refused(deep));
    memset(deep, '[', 200);
    memset(deep + 200, ']', 200);
    deep[400] = 0;
    read_ok(deep);
}

TEST("an array longer than the parser's count field is read whole") {
    OWNED(text_close) Text text = {0};
    size_t count = (1 << 24) + 5;
    text_add_byte(&text, '[');
    for (size_t i = 0; i < count; i++) text_add(&text, i ? STR(",1") : STR("1"));
    text_add_byte(&text, ']');
    OWNED(arena_close) Arena own = {0};
    const Json *value;
    CHECK_OK(json_read(text_str(&text), &own, &value, &err));
    CHECK_INT(value->len, count);
}

TEST("what is written reads back the same") {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    jw_object(&w);
    jw_member_text(&w, "quote\"d", STR("tab\there \xE2\x82\xAC \x01 bad \xFF end"));
    jw_member_real(&w, "tenth", 0.1);
    jw_member_real(&w, "nan", NAN);
    jw_name(&w, "list"), jw_array(&w), jw_int(&w, INT64_MIN), jw_uint(&w, UINT64_MAX), jw_end(&w);
    jw_end(&w);
    const Json *v = read_ok(arena_cstr(&arena, text_str(&text)));
    CHECK_STR(json_get(v, "quote\"d")->text, "tab\there \xE2\x82\xAC \x01 bad \xEF\xBF\xBD end");
    CHECK(json_get(v, "tenth")->real == 0.1 && json_get(v, "nan")->kind == JSON_NULL);
    CHECK(json_get(v, "list")->items[0].integer == INT64_MIN);
    OWNED(text_close) Text again = {0};
    JsonWriter copy = {.out = &again};
    jw_json(&copy, v);
    CHECK(str_equal(text_str(&again), text_str(&text)));
    arena_close(&arena);
}

TEST("a 32-bit number is written as short as it reads back") {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    const float values[] = {0.1f, 1.0f / 3, -2.5e-30f, 16777216, NAN};
    jw_array(&w);
    for (size_t i = 0; i < COUNT(values); i++) jw_float(&w, values[i]);
    jw_end(&w);
    CHECK_STR(text_str(&text), "[0.1,0.33333334,-2.5e-30,16777216,null]");
}

TEST("what was measured is written to the tenth, and what is no number as null") {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    jw_object(&w);
    jw_member_tenths(&w, "qps", 1234.5678901);
    jw_member_tenths(&w, "p50_us", 41.96);
    jw_member_tenths(&w, "none", NAN);
    jw_end(&w);
    CHECK_STR(text_str(&text), "{\"qps\":1234.6,\"p50_us\":42,\"none\":null}");
}
TEST("minus zero stays a real number") {
    OWNED(text_close) Text text = {0};
    jw_json(&(JsonWriter){.out = &text}, read_ok("[-0.0,-0e5]"));
    CHECK_STR(text_str(&text), "[-0.0,-0.0]");
}
