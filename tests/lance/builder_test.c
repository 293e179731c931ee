/* The column that decoders fill. */
#include "kit/kit.h"
#include "lance/page.h"

TEST("a text of no bytes has an address, though it is the first") {
    OWNED(arena_close) Arena arena = {0};
    Builder builder;
    LanceColumn column;
    Err err;
    LanceType type = lance_type(STR("string"));
    CHECK_OK(builder_open(&builder, &type, 2, &arena, &err));
    builder_text(&builder, (Bytes){0});
    CHECK(builder.values); /* to which offsets are added */
    builder_text(&builder, bytes_of(STR("x")));
    builder_finish(&builder, &column);
    CHECK_STR(lance_text(&column, 0), "");
    CHECK_STR(lance_text(&column, 1), "x");
}
