/* Any bytes: refused with a message, or a tree that is written and read back to the same text. */
#include "base/base.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text once = {0}, twice = {0};
    const Json *value, *again;
    Err err = {0};
    if (!json_read((Str){(const char *)data, size}, &arena, &value, &err)) {
        assert(err.kind == LH_INVALID && err.message[0]);
        return 0;
    }
    jw_json(&(JsonWriter){.out = &once}, value);
    assert(json_read(text_str(&once), &arena, &again, &err));
    jw_json(&(JsonWriter){.out = &twice}, again);
    assert(str_equal(text_str(&once), text_str(&twice)));
    return 0;
}
