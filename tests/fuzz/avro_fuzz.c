/* Any bytes as an Avro container: read or refused, never beyond the input. */
#include "catalog/avro.h"

#include "base/base.h"

#include <assert.h>

typedef struct Seen {
    uint64_t values, rows, sum;
} Seen;

static bool see_value(void *context, int32_t id, const AvroValue *value, Err *err) {
    Seen *seen = context;
    (void)id, (void)err;
    seen->values++;
    for (size_t i = 0; i < value->bytes.len; i++) seen->sum += (uint8_t)value->bytes.data[i];
    return true;
}

static bool see_row(void *context, Err *err) {
    (void)err;
    ((Seen *)context)->rows++;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Seen seen = {0};
    AvroVisitor visitor = {&seen, see_value, see_row};
    Err err = {0};
    if (!avro_read((Bytes){data, size}, &visitor, &err))
        assert((err.kind == LH_CORRUPT || err.kind == LH_IMPOSSIBLE) && err.message[0]);
    return 0;
}
