#include "kit/kit.h"
#include "net/net.h"

static Err err;

TEST("percent escapes are undone once, and bad ones refused") {
    OWNED(arena_close) Arena arena = {0};
    Str out;
    CHECK_OK(url_decode(STR("a%20b+c%2Fd%252e"), &arena, &out, &err));
    CHECK_STR(out, "a b+c/d%2e");
    static const char *const bad[] = {"%", "%1", "a%zz", "%0", "%00", "%-1"};
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK(!url_decode(str_from(bad[i]), &arena, &out, &err) && err.kind == LH_INVALID);
}

TEST("what is encoded decodes to itself, every byte but NUL") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text all = {0}, encoded = {0}, path = {0};
    Str back;
    for (int c = 1; c < 256; c++) text_add_byte(&all, (char)c);
    url_encode(&encoded, text_str(&all));
    CHECK_OK(url_decode(text_str(&encoded), &arena, &back, &err));
    CHECK(str_equal(back, text_str(&all)));
    url_encode_path(&path, STR("a b/\xc3\xa9?#&"));
    CHECK_STR(text_str(&path), "a%20b/%C3%A9%3F%23%26");
}

TEST("a query string gives its pairs in order, a plus is a space") {
    OWNED(arena_close) Arena arena = {0};
    Str rest = STR("a=1&&b=x+y%26z&c&=d"), name, value;
    static const char *const wanted[] = {"a", "1", "b", "x y&z", "c", "", "", "d"};
    for (size_t i = 0; i < COUNT(wanted); i += 2) {
        CHECK(url_query_next(&rest, &arena, &name, &value, &err));
        CHECK_STR(name, wanted[i]);
        CHECK_STR(value, wanted[i + 1]);
    }
    CHECK(!url_query_next(&rest, &arena, &name, &value, &err) && err.kind == LH_OK);
    rest = STR("a=%zz");
    CHECK(!url_query_next(&rest, &arena, &name, &value, &err) && err.kind == LH_INVALID);
}
