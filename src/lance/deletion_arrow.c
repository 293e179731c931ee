/* Deleted offsets as LanceDB writes them up to 5,000: an Arrow IPC file
 * (https://arrow.apache.org/docs/format/Columnar.html) with one record batch of one UInt32 column
 * without nulls, in any order. Read only: this file walks the FlatBuffers of its footer and of its
 * one message (https://flatbuffers.dev/internals), every step checked.
 *
 *     "ARROW1" ... u32 0xffffffff, i32 length, Message, body ... Footer, i32 length, "ARROW1"
 */
#include "lance/decompress.h"
#include "lance/deletion.h"
#include "lance/page.h"

#include <string.h>

#define MAGIC "ARROW1"
#define MAGIC_SIZE 6
#define BLOCK_SIZE 24
#define BUFFER_ENTRY_SIZE 16

enum { FOOTER_BATCHES = 3, MESSAGE_HEADER = 2 };
enum { BATCH_LENGTH = 0, BATCH_BUFFERS = 2, BATCH_COMPRESSION = 3, COMPRESSION_CODEC = 0 };
enum { CODEC_LZ4_FRAME = 0, CODEC_ZSTD = 1 };

static bool corrupt(Err *err) {
    return err_set(err, LH_CORRUPT, "a deletion file is not an Arrow file of row offsets");
}

static bool get(Bytes data, uint64_t at, void *out, size_t size) {
    if (at > data.size || size > data.size - at) return false;
    memcpy(out, data.data + at, size);
    return true;
}

/* Where a reference at `at` leads. */
static bool flat_follow(Bytes data, uint64_t at, uint64_t *out) {
    uint32_t offset;
    if (!get(data, at, &offset, sizeof offset)) return false;
    *out = at + offset;
    return *out < data.size;
}

/* Where a slot of a table lies; *out 0 when the table does not have it. */
static bool flat_slot_at(Bytes data, uint64_t table, uint32_t slot, uint64_t *out) {
    int32_t back;
    uint16_t size, offset = 0;
    *out = 0;
    if (!get(data, table, &back, sizeof back)) return false;
    int64_t vtable = (int64_t)table - back;
    if (vtable < 0 || !get(data, (uint64_t)vtable, &size, sizeof size)) return false;
    if (4 + 2 * slot + 2 > size) return true;
    if (!get(data, (uint64_t)vtable + 4 + 2 * slot, &offset, sizeof offset)) return false;
    if (offset) *out = table + offset;
    return true;
}

static bool flat_child(Bytes data, uint64_t table, uint32_t slot, uint64_t *out) {
    uint64_t at;
    return flat_slot_at(data, table, slot, &at) && at != 0 && flat_follow(data, at, out);
}

typedef struct Block {
    int64_t offset;
    int32_t metadata_size;
    int64_t body_size;
} Block;

static bool block_find(Bytes file, Block *out) {
    int32_t length;
    uint64_t root, vector;
    uint32_t count;
    if (file.size < 2 * MAGIC_SIZE + 4 || memcmp(file.data, MAGIC, MAGIC_SIZE) != 0 ||
        memcmp(file.data + file.size - MAGIC_SIZE, MAGIC, MAGIC_SIZE) != 0 ||
        !get(file, file.size - MAGIC_SIZE - 4, &length, sizeof length) || length <= 0 ||
        (uint64_t)length > file.size - MAGIC_SIZE - 4)
        return false;
    Bytes footer = {file.data + (file.size - MAGIC_SIZE - 4 - (size_t)length), (size_t)length};
    if (!flat_follow(footer, 0, &root) || !flat_child(footer, root, FOOTER_BATCHES, &vector) ||
        !get(footer, vector, &count, sizeof count) || count != 1 ||
        !get(footer, vector + 4, &out->offset, 8) ||
        !get(footer, vector + 4 + 8, &out->metadata_size, 4) ||
        !get(footer, vector + 4 + BLOCK_SIZE - 8, &out->body_size, 8))
        return false;
    uint64_t offset = (uint64_t)out->offset, body = (uint64_t)out->body_size;
    return out->offset >= 0 && out->metadata_size > 8 && out->body_size >= 0 &&
           offset <= file.size && (uint64_t)out->metadata_size <= file.size - offset &&
           body <= file.size - offset - (uint64_t)out->metadata_size;
}

typedef struct Values {
    int64_t rows;
    Bytes data; /* as it lies in the body */
    bool compressed;
    uint8_t codec;
} Values;

/* The last buffer of the batch holds the values. */
static bool values_find(Bytes file, const Block *block, Values *out) {
    Bytes metadata = {file.data + block->offset + 8, (size_t)block->metadata_size - 8};
    Bytes body = {file.data + block->offset + block->metadata_size, (size_t)block->body_size};
    uint64_t root, batch, rows_at, vector, compression_at, compression, codec_at;
    uint32_t count;
    int64_t buffer[2];
    if (!flat_follow(metadata, 0, &root) || !flat_child(metadata, root, MESSAGE_HEADER, &batch) ||
        !flat_slot_at(metadata, batch, BATCH_LENGTH, &rows_at) ||
        (rows_at && !get(metadata, rows_at, &out->rows, 8)) ||
        !flat_child(metadata, batch, BATCH_BUFFERS, &vector) ||
        !get(metadata, vector, &count, sizeof count) || count == 0 || count > 16 ||
        !get(metadata, vector + 4 + (uint64_t)(count - 1) * BUFFER_ENTRY_SIZE, buffer, 16) ||
        !flat_slot_at(metadata, batch, BATCH_COMPRESSION, &compression_at))
        return false;
    if (buffer[0] < 0 || buffer[1] < 0 || (uint64_t)buffer[0] > body.size ||
        (uint64_t)buffer[1] > body.size - (uint64_t)buffer[0])
        return false;
    out->data = (Bytes){body.data + buffer[0], (size_t)buffer[1]};
    out->compressed = compression_at != 0;
    if (!out->compressed) return true;
    return flat_follow(metadata, compression_at, &compression) &&
           flat_slot_at(metadata, compression, COMPRESSION_CODEC, &codec_at) &&
           (!codec_at || get(metadata, codec_at, &out->codec, 1));
}

/* A compressed buffer begins with its length before, or -1 when it was left as it was. */
static bool values_expand(Values *values, Arena *arena, Err *err) {
    int64_t length;
    if (!values->compressed || values->data.size == 0) return true;
    if (!get(values->data, 0, &length, sizeof length)) return corrupt(err);
    Bytes rest = {values->data.data + 8, values->data.size - 8};
    if (length == -1) return values->data = rest, true;
    if (length < 0) return corrupt(err);
    if (values->codec == CODEC_ZSTD)
        return zstd_expand(rest, (uint64_t)length, arena, &values->data, err);
    if (values->codec == CODEC_LZ4_FRAME)
        return lz4_frame_expand(rest, (uint64_t)length, arena, &values->data, err);
    return lance_unsupported(err, "a deletion file is compressed by codec %u", values->codec);
}

bool deletion_arrow_read(Bytes file, uint64_t limit, NumberSet *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(set_close) NumberSet set = {0};
    Block block = {0};
    Values values = {0};
    if (!block_find(file, &block) || !values_find(file, &block, &values)) return corrupt(err);
    if (!values_expand(&values, &arena, err)) return false;
    if (values.rows < 0 || (uint64_t)values.rows > values.data.size / sizeof(uint32_t))
        return corrupt(err);
    for (int64_t i = 0; i < values.rows; i++) {
        uint32_t value;
        memcpy(&value, values.data.data + (size_t)i * sizeof value, sizeof value);
        if (value >= MIN(limit, SET_VALUES_MAX))
            return err_set(err, LH_CORRUPT, "row %u is deleted in a fragment of %llu", value,
                           (unsigned long long)limit);
        set_add(&set, value);
    }
    *out = set;
    set = (NumberSet){0};
    return true;
}
