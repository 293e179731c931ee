/* The S3 backend against OpenStack Swift, a server that knows no conditional writes. */
#define CONTRACT_ETAG_OF_BYTES
#include "storage/store_contract.h"

#include "kit/s3.h"

static Store *contract_store(void) {
    return kit_s3_store(kit_s3("swift"), "contract");
}

TEST("an object in parts goes up, and comes down as it was") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    size_t size = (17 << 20) + 1;
    uint8_t *data = arena_alloc(&arena, size);
    Bytes back;
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)((i * 2654435761u) >> 23);
    CHECK_OK(store_write(store, STR("big"), (Bytes){data, size}, NULL, &err));
    CHECK_OK(store_read(store, STR("big"), size, &arena, &back, &err));
    CHECK(back.size == size && memcmp(back.data, data, size) == 0);
}
