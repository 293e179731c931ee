/* Any bytes as a column: its name up to the first NUL, then a value a line. A verdict stays within
 * what was added. */
#include "ingest/ingest.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(pii_close) PiiColumn *column = NULL;
    Str rest = {(const char *)data, size}, name = str_until(&rest, '\0');
    Err err;
    int64_t added = 0;
    if (!pii_open(name, &column, &err)) return 0;
    for (; rest.len; added++) pii_add(column, str_until(&rest, '\n'));
    PiiVerdict verdict = pii_verdict(column);
    assert(verdict.sampled <= added && verdict.matched <= verdict.sampled);
    assert(verdict.confidence >= 0 && verdict.confidence <= 1);
    assert((verdict.kind != NULL) == (verdict.confidence > 0));
    assert(!verdict.kind || verdict.matched > 0);
    return 0;
}
