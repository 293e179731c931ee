/* A deletion file of a Lance table, as Roaring and as Arrow: any bytes are read or refused, no
 * number is out of range, and what was read is written again and then reads the same. */
#include "lance/deletion.h"

#include <stdlib.h>

#define LIMIT 1000000

static void check_set(const NumberSet *set) {
    OWNED(set_close) NumberSet again = {0};
    OWNED(text_close) Text bytes = {0};
    Err err = {0};
    uint32_t value, seen = 0;
    for (uint64_t at = 0; set_next(set, at, &value); at = (uint64_t)value + 1, seen++)
        if (value >= LIMIT || !set_has(set, value)) abort();
    if (seen != set->count) abort();
    roaring_write(set, &bytes);
    if (!roaring_read(text_bytes(&bytes), LIMIT, &again, &err) || again.count != set->count)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Err err = {0};
    OWNED(set_close) NumberSet bitmap = {0};
    OWNED(set_close) NumberSet arrow = {0};
    if (roaring_read((Bytes){data, size}, LIMIT, &bitmap, &err)) check_set(&bitmap);
    if (deletion_arrow_read((Bytes){data, size}, LIMIT, &arrow, &err)) check_set(&arrow);
    return 0;
}
