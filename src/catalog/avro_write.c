/* Writing Avro containers. Schemas are constants of manifest.c, so that nothing here parses. */
#include "catalog/avro.h"

#include "base/base.h"

#include <assert.h>
#include <string.h>
#include <zlib.h>

#define BLOCK_SIZE (64 * 1024) /* encoded rows before a block is closed */
#define LEVEL 6

void avro_long(Text *out, int64_t value) {
    uint64_t zigzag = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    for (; zigzag > 127; zigzag >>= 7) text_add_byte(out, (char)(zigzag | 128));
    text_add_byte(out, (char)zigzag);
}

void avro_bytes(Text *out, Str value) {
    avro_long(out, (int64_t)value.len);
    text_add(out, value);
}

void avro_null(Text *out) {
    avro_long(out, 0);
}

void avro_some(Text *out) {
    avro_long(out, 1);
}

static void sync_add(AvroWriter *writer) {
    text_add(&writer->out, (Str){(char *)writer->sync, sizeof writer->sync});
}

/* avro.codec is always written: some readers take its absence for gzip. */
void avro_begin(AvroWriter *writer, Str schema, const AvroMeta *meta, size_t count) {
    *writer = (AvroWriter){0};
    uint64_t sync[2] = {random_u64(), random_u64()};
    memcpy(writer->sync, sync, sizeof sync);
    text_add(&writer->out, (Str){"Obj\1", 4});
    avro_long(&writer->out, (int64_t)count + 2);
    avro_bytes(&writer->out, STR("avro.schema"));
    avro_bytes(&writer->out, schema);
    avro_bytes(&writer->out, STR("avro.codec"));
    avro_bytes(&writer->out, STR("deflate"));
    for (size_t i = 0; i < count; i++) {
        avro_bytes(&writer->out, str_from(meta[i].name));
        avro_bytes(&writer->out, meta[i].value);
    }
    avro_long(&writer->out, 0);
    sync_add(writer);
}

/* Raw deflate: window bits of -15 leave out zlib's header and checksum. */
static void deflate_add(Text *out, Str data) {
    z_stream stream = {0};
    int rc = deflateInit2(&stream, LEVEL, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
    assert(rc == Z_OK);
    uLong bound = deflateBound(&stream, data.len);
    OWNED(text_close) Text packed = {0};
    stream.next_in = (Bytef *)data.data;
    stream.avail_in = (uInt)data.len;
    stream.next_out = (Bytef *)text_reserve(&packed, bound);
    stream.avail_out = (uInt)bound;
    rc = deflate(&stream, Z_FINISH);
    assert(rc == Z_STREAM_END);
    packed.len = stream.total_out;
    deflateEnd(&stream);
    avro_bytes(out, text_str(&packed));
}

static void block_end(AvroWriter *writer) {
    if (writer->rows == 0) return;
    avro_long(&writer->out, writer->rows);
    deflate_add(&writer->out, text_str(&writer->block));
    sync_add(writer);
    text_clear(&writer->block);
    writer->rows = 0;
}

void avro_row_end(AvroWriter *writer) {
    writer->rows++;
    if (writer->block.len >= BLOCK_SIZE) block_end(writer);
}

void avro_finish(AvroWriter *writer) {
    block_end(writer);
}

void avro_writer_close(AvroWriter *writer) {
    text_close(&writer->out);
    text_close(&writer->block);
}
