/* Any rows behind the headers that real manifests have, so that the fuzzer need not invent a
 * schema; and any bytes at all. What is read is written again and must read back the same. */
#include "catalog/avro.h"
#include "catalog/manifest.h"
#include "catalog/metadata.h"

#include "base/base.h"

#include <assert.h>
#include <string.h>

static Field field = {.id = 1, .name = STR("a"), .type = {.kind = TYPE_LONG}};
static const Schema schema = {.fields = &field, .len = 1};

/* The header of a file of ours, its codec changed to null of the same length, and one block. */
static void put_behind_header(Text *out, const Text *ours, const uint8_t *data, size_t size) {
    uint8_t rows = size ? data[0] : 0;
    Bytes body = size ? (Bytes){data + 1, size - 1} : (Bytes){data, 0};
    size_t codec, header = ours->len;
    text_add(out, (Str){ours->data, header});
    assert(str_find(text_str(out),
                    STR("\x0e"
                        "deflate"),
                    &codec));
    OWNED(text_close) Text tail = {0};
    text_add(&tail, str_slice(text_str(out), codec + 8, out->len));
    out->len = codec;
    avro_bytes(out, STR("null"));
    text_add(out, text_str(&tail));
    avro_long(out, rows);
    avro_bytes(out, str_of(body));
    text_add(out, str_slice(text_str(ours), header - AVRO_SYNC_SIZE, header));
}

static void check_entries(Bytes file, Arena *arena) {
    OWNED(text_close) Text again = {0};
    ManifestFile row = {.sequence = 3, .snapshot_id = 4}, new_row;
    ManifestEntry *entries, *twice;
    size_t count, count_again;
    Err err = {0};
    if (!manifest_read(file, &row, true, arena, &entries, &count, &err)) {
        assert(err.message[0]);
        return;
    }
    ManifestTarget target = {&schema, 4, 3};
    manifest_write(&target, entries, count, &again, &new_row);
    assert(manifest_read(text_bytes(&again), &row, true, arena, &twice, &count_again, &err));
    assert(count == count_again);
    for (size_t i = 0; i < count; i++)
        assert(str_equal(entries[i].path, twice[i].path) && entries[i].rows == twice[i].rows);
}

static void check_list(Bytes file, Arena *arena) {
    ManifestFile *rows;
    size_t count;
    Err err = {0};
    if (!manifest_list_read(file, arena, &rows, &count, &err)) assert(err.message[0]);
}

static void check_metadata(Str text) {
    OWNED(metadata_close) Metadata metadata = {0};
    OWNED(metadata_close) Metadata again = {0};
    OWNED(text_close) Text out = {0};
    Err err = {0};
    if (!metadata_read(text, &metadata, &err)) return;
    metadata_write(&metadata, &out);
    assert(metadata_read(text_str(&out), &again, &err));
    assert(again.snapshot_count == metadata.snapshot_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text ours = {0};
    OWNED(text_close) Text file = {0};
    ManifestFile row;
    ManifestTarget target = {&schema, 4, 3};
    check_entries((Bytes){data, size}, &arena);
    check_list((Bytes){data, size}, &arena);
    check_metadata((Str){(const char *)data, size});
    manifest_write(&target, NULL, 0, &ours, &row);
    put_behind_header(&file, &ours, data, size);
    check_entries(text_bytes(&file), &arena);
    text_clear(&ours);
    text_clear(&file);
    manifest_list_write(4, -1, 3, NULL, 0, &ours);
    put_behind_header(&file, &ours, data, size);
    check_list(text_bytes(&file), &arena);
    return 0;
}
