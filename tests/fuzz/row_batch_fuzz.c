/* Any bytes as a batch of rows, the checksum made right: refused, or read without leaving the bytes
 * and written again as they were. */
#include "vector/row_batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void repair(uint8_t *bytes, size_t size) {
    RowBatchHeader header;
    memcpy(&header, bytes, sizeof header);
    memcpy(header.magic, "LHROWS\0", sizeof header.magic);
    header.version = 1;
    uint32_t crc = crc32c(0, (Bytes){(uint8_t *)&header, offsetof(RowBatchHeader, crc)});
    header.crc = crc32c(crc, (Bytes){bytes + sizeof header, size - sizeof header});
    memcpy(bytes, &header, sizeof header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text again = {0};
    RowBatch batch;
    Err err = {0};
    uint8_t *bytes = malloc(size + 1); /* of its own size, so that a step beyond is seen */
    assert(bytes);
    memcpy(bytes, data, size);
    if (size >= sizeof(RowBatchHeader)) repair(bytes, size);
    if (row_batch_decode((Bytes){bytes, size}, &arena, &batch, &err)) {
        row_batch_encode(&batch, &again);
        assert(again.len == size && row_batch_size(&batch) == size);
        assert(memcmp(again.data + sizeof(RowBatchHeader), bytes + sizeof(RowBatchHeader),
                      size - sizeof(RowBatchHeader)) == 0);
    }
    free(bytes);
    return 0;
}
