/* Any bytes as a head and, after it, as a chunked body: nothing outside of the input is touched,
 * and what is decided about the whole is decided the same way when it comes in two pieces. */
#include "base/base.h"
#include "net/http_parse.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(Str part, Str whole) {
    return part.len == 0 ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static void check_head(Str in) {
    HttpHead head, again;
    HttpRefusal why = {0}, other = {0};
    size_t used = 0, ignored;
    HeadResult result = http_head_read(in, &head, &used, &why);
    if (result == HEAD_REFUSED) assert(why.status >= 400 && why.reason);
    if (result != HEAD_WHOLE) return;
    assert(used <= in.len && used <= HTTP_HEAD_SIZE_MAX && !(head.chunked && head.has_length));
    assert(head.path.len > 0 && head.path.data[0] == '/' && head.length >= 0);
    assert(inside(head.path, in) && inside(head.query, in));
    for (size_t i = 0; i < head.header_count; i++)
        assert(inside(head.headers[i].name, in) && inside(head.headers[i].value, in));
    for (size_t cut = 0; cut < used; cut += 1 + used / 16)
        assert(http_head_read(str_slice(in, 0, cut), &again, &ignored, &other) == HEAD_PART);
}

/* A copy of exactly its size, so that reading one byte too far is seen. */
static bool decode(Bytes in, HttpChunks *chunks, Text *out) {
    uint8_t *copy = malloc(in.size + 1);
    Bytes rest = {memcpy(copy, in.size ? in.data : (const uint8_t *)"", in.size), in.size}, data;
    bool ok = true;
    while (ok && rest.size > 0 && chunks->state != CHUNK_DONE) {
        ok = http_chunks_read(chunks, &rest, &data);
        text_add(out, str_of(data));
    }
    free(copy);
    return ok;
}

static void check_chunks(Bytes in) {
    OWNED(text_close) Text whole = {0}, torn = {0};
    HttpChunks one = {0}, two = {0};
    bool ok = decode(in, &one, &whole), same = true;
    size_t cut = in.size / 3;
    same = decode((Bytes){in.data, cut}, &two, &torn) &&
           decode((Bytes){in.data + cut, in.size - cut}, &two, &torn);
    assert(ok == same && one.state == two.state);
    if (ok) assert(str_equal(text_str(&whole), text_str(&torn)) && whole.len <= in.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = malloc(size + 1);
    memcpy(copy, data, size);
    check_head((Str){copy, size});
    free(copy);
    check_chunks((Bytes){data, size});
    return 0;
}
