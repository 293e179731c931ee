/* Any bytes as a key: refused with a word, or a path that stays where it belongs: no segment that
 * climbs, is empty or is the server's own. */
#include "storage/storage.h"

#include "base/base.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Err err = {0};
    Str key = {(const char *)data, size};
    if (!key_check(key, &err)) {
        assert(err.kind == LH_INVALID && err.message[0] && str_is(str_from(err.code), "bad_key"));
        return 0;
    }
    assert(size >= 1 && size <= STORE_KEY_MAX && !memchr(data, 0, size) && str_is_utf8(key));
    assert(data[0] != '/' && data[size - 1] != '/');
    Str rest = key, first = str_until(&rest, '/');
    assert(!str_is(first, ".lakehouse"));
    for (rest = key; rest.len > 0;) {
        Str segment = str_until(&rest, '/');
        assert(segment.len > 0 && !str_is(segment, ".") && !str_is(segment, ".."));
    }
    return 0;
}
