#include "cli/table.h"
#include "kit/kit.h"

#include <stdlib.h>

static Arena arena;

static Str printed(const char *json, const char *columns) {
    const Json *value;
    Err err;
    char *data;
    size_t size;
    if (!json_read(str_from(json), &arena, &value, &err)) abort();
    FILE *to = open_memstream(&data, &size);
    if (value->kind == JSON_ARRAY)
        print_list(&arena, value, columns, to);
    else
        print_object(&arena, value, NULL, to);
    fclose(to);
    Str text = arena_copy(&arena, (Str){data, size});
    free(data);
    return text;
}

TEST("numbers stand at the right, text at the left, and nothing trails") {
    CHECK_STR(printed("[{\"name\":\"a\",\"rows\":5},{\"name\":\"long\",\"rows\":12345}]", NULL),
              "name   rows\n"
              "----  -----\n"
              "a         5\n"
              "long  12345\n");
}

TEST("columns are those named, in their order, but for what no row has") {
    CHECK_STR(printed("[{\"a\":1,\"b\":\"x\",\"size\":2048},{\"a\":2,\"b\":null,\"size\":3}]",
                      "b,size,nothing"),
              "b     size\n"
              "-  -------\n"
              "x  2.0 KiB\n"
              "       3 B\n");
    CHECK_STR(printed("[]", "a,b"), "a  b\n-  -\n");
}

TEST("cells are aligned by what they take on a screen") {
    CHECK_INT(text_width(STR("\xE6\x97\xA5\xE6\x9C\xAC")), 4); /* two wide characters */
    CHECK_INT(text_width(STR("e\xCC\x81")), 1);                /* a letter and its accent */
    CHECK_STR(printed("[{\"a\":\"\xE6\x97\xA5\",\"b\":\"x\"},{\"a\":\"abc\",\"b\":\"y\"}]", NULL),
              "a    b\n"
              "---  -\n"
              "\xE6\x97\xA5   x\n"
              "abc  y\n");
}

TEST("data cannot steer the terminal") {
    Str text = printed("[{\"a\":\"\\u001b[2Jx\\u009b1m\\ny\"}]", NULL);
    CHECK(!memchr(text.data, 27, text.len));
    CHECK(str_ends(text, STR(" [2Jx  1m y\n")));
    CHECK_INT(text_width(STR("\xff\xfe")), 2);
}

TEST("an object shows its members, then its lists") {
    CHECK_STR(printed("{\"name\":\"d\",\"size\":1048576,\"list\":[{\"x\":1}],\"kind\":{\"kind\":"
                      "\"email\"}}",
                      NULL),
              "name  d\n"
              "size  1.0 MiB\n"
              "kind  email\n"
              "\n"
              "list\n"
              "x\n"
              "-\n"
              "1\n");
    arena_close(&arena);
}
