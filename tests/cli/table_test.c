#include "cli/table.h"
#include "kit/kit.h"

#include <pty.h>
#include <stdlib.h>
#include <unistd.h>

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

TEST("what is missing leaves a column of numbers one, and no space at a line's end") {
    CHECK_STR(
        printed("[{\"n\":1,\"t\":\"x\"},{\"n\":null,\"t\":null},{\"n\":10,\"t\":null}]", NULL),
        " n  t\n"
        "--  -\n"
        " 1  x\n"
        "\n"
        "10\n");
}

TEST("on a terminal the widest cells are cut so that a row fits its width") {
    enum { WIDTH = 40 };
    struct winsize size = {.ws_row = 24, .ws_col = WIDTH};
    const Json *list;
    Err err;
    char output[4096];
    int master, slave;
    CHECK_OK(
        json_read(STR("[{\"id\":7,\"long\":\"a text that is much longer than the screen is wide, "
                      "\xC3\xA9\xC3\xA9\",\"other\":\"also longer than fits on one line\"}]"),
                  &arena, &list, &err));
    CHECK(openpty(&master, &slave, NULL, NULL, &size) == 0);
    FILE *to = fdopen(slave, "w");
    print_list(&arena, list, NULL, to);
    fclose(to);
    ssize_t n = read(master, output, sizeof output);
    close(master);
    CHECK(n > 0);
    Str rest = {output, (size_t)n};
    for (size_t at; rest.len > 0;) {
        Str line = str_trim(str_until(&rest, '\n'));
        CHECK(text_width(line) <= WIDTH);
        if (str_starts(line, STR("7"))) CHECK(str_find(line, STR("\xE2\x80\xA6"), &at));
    }
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
