/* Any text: decoded it holds no NUL and encodes back to the same; as a query string its pairs come
 * to an end. */
#include "base/base.h"
#include "net/net.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text encoded = {0};
    Str text = arena_copy(&arena, (Str){(const char *)data, size}), once, again, name, value;
    Err err = {0};
    if (url_decode(text, &arena, &once, &err)) {
        if (!memchr(text.data, 0, text.len)) assert(!once.len || !memchr(once.data, 0, once.len));
        url_encode(&encoded, once);
        if (!once.len || !memchr(once.data, 0, once.len)) {
            assert(url_decode(text_str(&encoded), &arena, &again, &err));
            assert(str_equal(once, again));
        }
    }
    for (Str rest = text; url_query_next(&rest, &arena, &name, &value, &err);)
        assert(rest.len < text.len && name.len + value.len <= size);
    return 0;
}
