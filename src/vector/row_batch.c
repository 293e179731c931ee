#include "vector/row_batch.h"

#include <math.h>
#include <string.h>

#define MAGIC "LHROWS\0\0"
#define VERSION 1

static uint32_t batch_crc(const RowBatchHeader *header, Bytes rest) {
    uint32_t crc = crc32c(0, (Bytes){(const uint8_t *)header, offsetof(RowBatchHeader, crc)});
    return crc32c(crc, rest);
}

static size_t strings_size(const RowBatch *batch) {
    size_t size = 0;
    for (size_t i = 0; i < batch->delete_count; i++) size += batch->deletes[i].len;
    for (size_t i = 0; i < batch->put_count; i++)
        size += batch->puts[i].doc_id.len + batch->puts[i].text.len;
    return size;
}

static size_t fixed_size(uint64_t deletes, uint64_t puts, uint64_t dimensions) {
    return deletes * sizeof(uint32_t) + puts * (dimensions * sizeof(float) + sizeof(RowPutHeader));
}

size_t row_batch_size(const RowBatch *batch) {
    return sizeof(RowBatchHeader) + strings_size(batch) +
           fixed_size(batch->delete_count, batch->put_count, batch->dimensions);
}

static void add(Text *out, const void *data, size_t size) {
    text_add(out, (Str){data, size});
}

static void add_content(const RowBatch *batch, Text *out) {
    for (size_t i = 0; i < batch->put_count; i++)
        add(out, batch->puts[i].vector, batch->dimensions * sizeof(float));
    for (size_t i = 0; i < batch->delete_count; i++)
        add(out, &(uint32_t){(uint32_t)batch->deletes[i].len}, sizeof(uint32_t));
    for (size_t i = 0; i < batch->put_count; i++) {
        const RowPut *put = &batch->puts[i];
        const RowPutHeader header = {(uint32_t)put->doc_id.len, (uint32_t)put->text.len,
                                     put->chunk};
        add(out, &header, sizeof header);
    }
    for (size_t i = 0; i < batch->delete_count; i++) text_add(out, batch->deletes[i]);
    for (size_t i = 0; i < batch->put_count; i++) {
        text_add(out, batch->puts[i].doc_id);
        text_add(out, batch->puts[i].text);
    }
}

void row_batch_encode(const RowBatch *batch, Text *out) {
    size_t at = out->len;
    RowBatchHeader header = {.magic = MAGIC,
                             .version = VERSION,
                             .dimensions = (uint32_t)batch->dimensions,
                             .first = batch->first,
                             .last = batch->last,
                             .delete_count = (uint32_t)batch->delete_count,
                             .put_count = (uint32_t)batch->put_count,
                             .strings_size = strings_size(batch)};
    add(out, &header, sizeof header);
    add_content(batch, out);
    Bytes rest = {(const uint8_t *)out->data + at + sizeof header, out->len - at - sizeof header};
    header.crc = batch_crc(&header, rest);
    memcpy(out->data + at, &header, sizeof header);
}

/* ---- Reading ---- */

static bool damaged(Err *err) {
    return err_set(err, LH_CORRUPT, "the rows are damaged");
}

static bool check_header(const RowBatchHeader *header, Bytes data, Err *err) {
    if (memcmp(header->magic, MAGIC, sizeof header->magic) != 0) return damaged(err);
    if (header->version != VERSION)
        return err_set(err, LH_IMPOSSIBLE, "the rows have format %u and this program reads %d",
                       header->version, VERSION);
    size_t content = data.size - sizeof *header;
    bool ok = header->first > 0 && header->first <= header->last &&
              header->dimensions <= ROW_BATCH_DIMENSIONS_MAX && header->strings_size <= content &&
              (header->put_count == 0 || header->dimensions > 0) &&
              fixed_size(header->delete_count, header->put_count, header->dimensions) ==
                  content - header->strings_size &&
              header->crc == batch_crc(header, (Bytes){data.data + sizeof *header, content});
    return ok || damaged(err);
}

static bool all_finite(const float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i])) return false;
    return true;
}

static bool take_string(Bytes *strings, size_t len, Str *out) {
    if (len > strings->size) return false;
    *out = (Str){(const char *)strings->data, len};
    *strings = (Bytes){strings->data + len, strings->size - len};
    return true;
}

static bool take_strings(const uint8_t *lengths, Bytes strings, RowBatch *batch) {
    RowPutHeader header;
    uint32_t len;
    for (size_t i = 0; i < batch->delete_count; i++, lengths += sizeof len) {
        memcpy(&len, lengths, sizeof len);
        if (len == 0 || !take_string(&strings, len, &batch->deletes[i])) return false;
    }
    for (size_t i = 0; i < batch->put_count; i++, lengths += sizeof header) {
        memcpy(&header, lengths, sizeof header);
        batch->puts[i].chunk = header.chunk;
        if (header.id_len == 0 || !take_string(&strings, header.id_len, &batch->puts[i].doc_id) ||
            !take_string(&strings, header.text_len, &batch->puts[i].text))
            return false;
    }
    return strings.size == 0;
}

bool row_batch_decode(Bytes data, Arena *arena, RowBatch *out, Err *err) {
    RowBatchHeader header;
    if (data.size < sizeof header || data.size > ROW_BATCH_SIZE_MAX) return damaged(err);
    memcpy(&header, data.data, sizeof header);
    if (!check_header(&header, data, err)) return false;
    size_t floats = (size_t)header.put_count * header.dimensions;
    RowBatch batch = {.first = header.first,
                      .last = header.last,
                      .dimensions = header.dimensions,
                      .deletes = arena_array(arena, Str, header.delete_count + 1),
                      .delete_count = header.delete_count,
                      .puts = arena_array(arena, RowPut, header.put_count + 1),
                      .put_count = header.put_count};
    float *vectors = arena_array(arena, float, floats + 1);
    memcpy(vectors, data.data + sizeof header, floats * sizeof *vectors);
    for (size_t i = 0; i < batch.put_count; i++)
        batch.puts[i].vector = vectors + i * header.dimensions;
    Bytes strings = {data.data + data.size - header.strings_size, header.strings_size};
    if (!all_finite(vectors, floats) ||
        !take_strings(data.data + sizeof header + floats * sizeof *vectors, strings, &batch))
        return damaged(err);
    *out = batch;
    return true;
}
