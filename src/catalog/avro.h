/* Avro object container files (https://avro.apache.org/docs/1.11.1/specification/), as far as
 * Iceberg uses them. Own, because the packaged C library drops the field ids and the file metadata
 * that make a container a manifest. Internal to catalog.
 *
 *     "Obj\1" | metadata map: avro.schema, avro.codec, ... | 16 bytes sync
 *     blocks:  rows | size | rows, encoded one after the other, deflated | sync
 */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/text.h"

#define AVRO_FILE_MAX (256u << 20)
#define AVRO_BLOCK_MAX (64u << 20) /* of one block, inflated */
#define AVRO_SYNC_SIZE 16
#define AVRO_DEPTH_MAX 32
#define AVRO_NODES_MAX 4096 /* in a schema */

typedef struct AvroMeta {
    const char *name;
    Str value;
} AvroMeta;

/* Writing: rows are encoded into `block` and ended one by one. Codec deflate. */
typedef struct AvroWriter {
    Text out, block;
    int64_t rows;
    uint8_t sync[AVRO_SYNC_SIZE];
} AvroWriter;

void avro_begin(AvroWriter *writer, Str schema, const AvroMeta *meta, size_t count);
void avro_row_end(AvroWriter *writer);
void avro_finish(AvroWriter *writer); /* the file is in writer->out */
void avro_writer_close(AvroWriter *writer);

void avro_long(Text *out, int64_t value); /* int and long */
void avro_bytes(Text *out, Str value);    /* bytes and string */
void avro_null(Text *out);                /* of an optional value: ["null", T] */
void avro_some(Text *out);                /* what follows is the T */

/* Reading: one call for every value, with the field id that the schema gives it (-1: none). The
 * ids of a manifest are unique, so that one switch fills a struct. */
typedef struct AvroValue {
    int64_t integer; /* boolean, int, long */
    Str bytes;       /* bytes, string, fixed */
    bool null;
} AvroValue;
typedef struct AvroVisitor {
    void *context;
    bool (*value)(void *context, int32_t id, const AvroValue *value, Err *err);
    bool (*row)(void *context, Err *err); /* after the last value of a row */
} AvroVisitor;

/* LH_CORRUPT when it is no container, or not whole; the visitor's own errors pass through. */
bool avro_read(Bytes file, const AvroVisitor *visitor, Err *err);
