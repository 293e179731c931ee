/* A manifest of a Lance table: any bytes are read or refused; what was read is written again and
 * then reads the same. */
#include "lance/commit.h"

#include <stdlib.h>

static void check_again(const Manifest *manifest) {
    OWNED(text_close) Text bytes = {0};
    OWNED(arena_close) Arena arena = {0};
    Manifest again;
    Err err = {0};
    lance_manifest_write(manifest, manifest->transaction, &bytes);
    if (!lance_manifest_read(text_bytes(&bytes), &arena, &again, &err)) abort();
    if (again.version != manifest->version || again.fragment_count != manifest->fragment_count ||
        again.index_count != manifest->index_count || again.schema.len != manifest->schema.len ||
        !str_equal(str_of(again.rest), str_of(manifest->rest)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(arena_close) Arena arena = {0};
    Manifest manifest;
    Transaction transaction;
    Err err = {0};
    if (size > 0 && transaction_read((Bytes){data, size}, &transaction, &err))
        (void)operation_name(transaction.kind);
    if (!lance_manifest_read((Bytes){data, size}, &arena, &manifest, &err)) return 0;
    (void)manifest_check_readable(&manifest, &err);
    (void)manifest_rows(&manifest);
    for (size_t i = 0; i < manifest.fragment_count; i++)
        if (manifest_fragment(&manifest, manifest.fragments[i].id) != &manifest.fragments[i])
            abort();
    if (*manifest.file_version) check_again(&manifest);
    return 0;
}
