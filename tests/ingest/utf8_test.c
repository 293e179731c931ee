#include "ingest/parts.h"
#include "kit/kit.h"

static Err err;

static bool check(Str text, size_t step) {
    Utf8 utf8 = {0};
    for (; text.len; text = str_slice(text, step, text.len))
        if (!utf8_add(&utf8, bytes_of(str_slice(text, 0, step)), &err)) return false;
    return utf8_end(&utf8, &err);
}

TEST("well-formed text passes wherever it is cut") {
    Str text = STR("plain text of more than eight bytes, gr\xc3\xbc\xc3\x9f, \xe2\x82\xac, "
                   "\xf0\x9f\x98\x80 and more plain text behind it");
    for (size_t step = 1; step <= text.len; step++) CHECK_OK(check(text, step));
}

TEST("the first bad byte is named by its offset, wherever the text is cut") {
    static const struct {
        Str text;
        const char *place;
    } bad[] = {
        {STR("abcdefghij\xff"),              "byte 10 "     },
        {STR("caf\xe9 au lait, in Latin-1"), "byte 3 "      },
        {STR("\xc3\xbc\xc3"),                "byte 2 "      },
        {STR("x\xed\xa0\x80"),               "byte 1 "      },
        {STR("x\xc0\x80"),                   "byte 1 "      },
        {STR("12345678\x80"),                "byte 8 "      },
        {STR("a\0b"),                        "byte 1 is NUL"}
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        for (size_t step = 1; step <= bad[i].text.len; step++) {
            CHECK(!check(bad[i].text, step));
            CHECK(err.kind == LH_INVALID && !strcmp(err_word(&err), "invalid_utf8"));
            if (!strstr(err.message, bad[i].place))
                kit_fail(__FILE__, __LINE__, "'%s' lacks '%s'", err.message, bad[i].place);
        }
}
