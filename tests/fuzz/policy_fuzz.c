/* Any bytes as the tree that the policy walks, and the statement that it belongs to (up to the
 * first NUL): refused with a reason, or a text to run that holds no more than names made longer. */
#include "query/engine.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(text_close) Text out = {0};
    Str ast = {(const char *)data, size}, sql = str_until(&ast, '\0');
    Shape shape = {0};
    Err err = {0};
    if (policy_walk(ast, sql, &out, &shape, &err)) {
        assert(out.len <= sql.len + 64 * 512 + ast.len);
        return 0;
    }
    assert((err.kind == LH_DENIED || err.kind == LH_INVALID) && err.message[0] && err_word(&err));
    return 0;
}
