#include "kit/kit.h"

TEST("until cuts at the first stop and moves on") {
    Str rest = STR("a/b//c");
    CHECK_STR(str_until(&rest, '/'), "a");
    CHECK_STR(str_until(&rest, '/'), "b");
    CHECK_STR(str_until(&rest, '/'), "");
    CHECK_STR(str_until(&rest, '/'), "c");
    CHECK_INT(rest.len, 0);
}

TEST("numbers are read whole or not at all") {
    uint64_t u;
    int64_t i;
    double r;
    CHECK(str_to_u64(STR("18446744073709551615"), &u) && u == UINT64_MAX);
    CHECK(!str_to_u64(STR("18446744073709551616"), &u));
    CHECK(!str_to_u64(STR("+1"), &u) && !str_to_u64(STR(""), &u) && !str_to_u64(STR("1 "), &u));
    CHECK(str_to_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN);
    CHECK(!str_to_i64(STR("9223372036854775808"), &i) && !str_to_i64(STR("-"), &i));
    CHECK(str_to_real(STR("1e3"), &r) && r == 1000);
    CHECK(!str_to_real(STR("inf"), &r) && !str_to_real(STR("0x10"), &r));
    CHECK(!str_to_real(STR("1.5x"), &r) && !str_to_real(STR(" 1"), &r));
}

TEST("only well-formed UTF-8 passes") {
    CHECK(str_is_utf8(STR("gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80")));
    CHECK(!str_is_utf8(STR("\xC0\x80")));         /* overlong */
    CHECK(!str_is_utf8(STR("\xED\xA0\x80")));     /* surrogate */
    CHECK(!str_is_utf8(STR("\xF4\x90\x80\x80"))); /* beyond U+10FFFF */
    CHECK(!str_is_utf8(STR("\xE2\x82")));         /* cut short */
}

TEST("the edit distance counts single letters") {
    CHECK_INT(str_distance(STR("alcie"), STR("alice")), 2);
    CHECK_INT(str_distance(STR(""), STR("abc")), 3);
    CHECK_INT(str_distance(STR("same"), STR("same")), 0);
}

TEST("comparison is by bytes, the shorter first") {
    CHECK(str_compare(STR("a"), STR("ab")) < 0);
    CHECK(str_compare(STR("b"), STR("ab")) > 0);
    CHECK(str_compare(STR("\xC3"), STR("z")) > 0);
    CHECK(str_compare(STR(""), (Str){0}) == 0);
}
