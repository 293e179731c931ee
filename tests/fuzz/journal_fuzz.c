/* Any bytes as a journal: whole records, then an end or a torn tail; framing them again gives the
 * same bytes. */
#include "base/base.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Bytes rest = {data, size}, payload;
    OWNED(text_close) Text again = {0};
    while (frame_next(&rest, &payload) == FRAME_RECORD) frame_add(&again, payload);
    assert(again.len == size - rest.size && (!again.len || !memcmp(again.data, data, again.len)));
    return 0;
}
