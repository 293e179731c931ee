/* Reading Avro containers: the schema becomes a tree of nodes, and rows are decoded along it. The
 * bytes may be anybody's: each length is checked against what is left, a count against the bytes
 * that its items need at least, a block against AVRO_BLOCK_MAX while it is inflated, and depth. */
#include "catalog/avro.h"

#include "base/base.h"

#include <string.h>
#include <zlib.h>

typedef enum AvroKind {
    AVRO_NULL,
    AVRO_BOOLEAN,
    AVRO_INT,
    AVRO_LONG,
    AVRO_FLOAT,
    AVRO_DOUBLE,
    AVRO_BYTES,
    AVRO_STRING,
    AVRO_FIXED,
    AVRO_RECORD,
    AVRO_ARRAY,
    AVRO_MAP,
    AVRO_UNION,
    AVRO_ENUM,
    AVRO_KIND_COUNT
} AvroKind;

static const char *const kind_names[AVRO_KIND_COUNT] = {
    "null",   "boolean", "int",    "long",  "float", "double", "bytes",
    "string", "fixed",   "record", "array", "map",   "union",  "enum"};

typedef struct AvroNode AvroNode;
struct AvroNode {
    AvroKind kind;
    int32_t id;
    size_t size;  /* of a fixed */
    size_t least; /* bytes that a value takes at least */
    AvroNode **children;
    size_t len;
};

typedef struct AvroReader {
    const AvroVisitor *visitor;
    Arena arena;
    AvroNode *root;
    size_t nodes;
    Str schema, codec;
    const uint8_t *sync;
    Bytes rest;
} AvroReader;

static bool corrupt(Err *err, const char *what) {
    err_set(err, LH_CORRUPT, "not a readable Avro file: %s", what);
    return false;
}

static void avro_reader_close(AvroReader *reader) {
    arena_close(&reader->arena);
}

/* Bytes and numbers. */

static bool take(Bytes *rest, uint64_t size, const uint8_t **out, Err *err) {
    if (size > rest->size) return corrupt(err, "it ends too early");
    *out = rest->data;
    *rest = (Bytes){rest->data + size, rest->size - size};
    return true;
}

static bool take_long(Bytes *rest, int64_t *out, Err *err) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        const uint8_t *byte;
        if (shift > 63) return corrupt(err, "a number has more than 64 bits");
        if (!take(rest, 1, &byte, err)) return false;
        value |= (uint64_t)(*byte & 127) << shift;
        if (!(*byte & 128)) break;
    }
    *out = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
    return true;
}

static bool take_bytes(Bytes *rest, Str *out, Err *err) {
    int64_t size;
    const uint8_t *data;
    if (!take_long(rest, &size, err)) return false;
    if (size < 0) return corrupt(err, "a length is negative");
    if (!take(rest, (uint64_t)size, &data, err)) return false;
    *out = (Str){(const char *)data, (size_t)size};
    return true;
}

/* The count that opens a block of an array or a map; a negative one is followed by a byte count
 * that we do not need. 0 ends the whole. */
static bool take_count(Bytes *rest, size_t least, int64_t *out, Err *err) {
    int64_t count, ignored;
    if (!take_long(rest, &count, err)) return false;
    if (count < 0) {
        if (count == INT64_MIN || !take_long(rest, &ignored, err))
            return corrupt(err, "a count is malformed");
        count = -count;
    }
    if (count > 0 && (least == 0 || (uint64_t)count > rest->size / least))
        return corrupt(err, "a count is larger than what follows");
    *out = count;
    return true;
}

/* The schema. */

static AvroNode *node_from(AvroReader *reader, const Json *json, int depth, Err *err);

static AvroNode *node_new(AvroReader *reader, AvroKind kind, size_t len, Err *err) {
    if (++reader->nodes > AVRO_NODES_MAX || len > AVRO_NODES_MAX)
        return corrupt(err, "its schema is too large"), NULL;
    AvroNode *node = arena_new(&reader->arena, AvroNode);
    *node = (AvroNode){.kind = kind, .id = -1, .len = len};
    node->children = arena_array(&reader->arena, AvroNode *, len + 1);
    return node;
}

static int32_t json_id(const Json *json, const char *name) {
    int64_t id = json_get_int(json, name, -1);
    return id >= 0 && id <= INT32_MAX ? (int32_t)id : -1;
}

/* An optional field is a union: its id belongs to the branch that is there. */
static void node_set_id(AvroNode *node, int32_t id) {
    node->id = id;
    if (node->kind != AVRO_UNION) return;
    for (size_t i = 0; i < node->len; i++)
        if (node->children[i]->id < 0) node->children[i]->id = id;
}

static AvroNode *union_from(AvroReader *reader, const Json *json, int depth, Err *err) {
    AvroNode *node = node_new(reader, AVRO_UNION, json->len, err);
    if (!node) return NULL;
    node->least = 1;
    for (size_t i = 0; i < json->len; i++)
        if (!(node->children[i] = node_from(reader, &json->items[i], depth + 1, err))) return NULL;
    return node;
}

static AvroNode *record_from(AvroReader *reader, const Json *json, int depth, Err *err) {
    const Json *fields = json_get(json, "fields");
    if (!fields || fields->kind != JSON_ARRAY)
        return corrupt(err, "a record of its schema has no fields"), NULL;
    AvroNode *node = node_new(reader, AVRO_RECORD, fields->len, err);
    if (!node) return NULL;
    for (size_t i = 0; i < fields->len; i++) {
        const Json *field = &fields->items[i];
        AvroNode *child = node_from(reader, json_get(field, "type"), depth + 1, err);
        if (!child) return NULL;
        node_set_id(child, json_id(field, "field-id"));
        node->children[i] = child;
        node->least += child->least;
    }
    return node;
}

static AvroNode *array_from(AvroReader *reader, const Json *json, AvroKind kind, int depth,
                            Err *err) {
    bool map = kind == AVRO_MAP;
    AvroNode *node = node_new(reader, kind, 1, err);
    if (!node) return NULL;
    AvroNode *item = node_from(reader, json_get(json, map ? "values" : "items"), depth + 1, err);
    if (!item) return NULL;
    if (item->kind != AVRO_RECORD)
        node_set_id(item, json_id(json, map ? "value-id" : "element-id"));
    node->children[0] = item;
    node->least = 1;
    return node;
}

static AvroNode *plain_from(AvroReader *reader, const Json *json, AvroKind kind, Err *err) {
    static const uint8_t least[AVRO_KIND_COUNT] = {
        [AVRO_BOOLEAN] = 1, [AVRO_INT] = 1,   [AVRO_LONG] = 1,   [AVRO_FLOAT] = 4,
        [AVRO_DOUBLE] = 8,  [AVRO_BYTES] = 1, [AVRO_STRING] = 1, [AVRO_ENUM] = 1};
    AvroNode *node = node_new(reader, kind, 0, err);
    if (!node) return NULL;
    node->least = least[kind];
    if (kind == AVRO_FIXED) {
        int64_t size = json_get_int(json, "size", -1);
        if (size < 0 || size > AVRO_BLOCK_MAX)
            return corrupt(err, "a fixed type of its schema has a bad size"), NULL;
        node->size = node->least = (size_t)size;
    }
    return node;
}

static AvroNode *node_from(AvroReader *reader, const Json *json, int depth, Err *err) {
    if (!json || depth > AVRO_DEPTH_MAX)
        return corrupt(err, "its schema is malformed or too deep"), NULL;
    if (json->kind == JSON_ARRAY) return union_from(reader, json, depth, err);
    const Json *type = json->kind == JSON_OBJECT ? json_get(json, "type") : json;
    if (type && type->kind != JSON_TEXT) return node_from(reader, type, depth + 1, err);
    for (int kind = 0; type && kind < AVRO_KIND_COUNT; kind++) {
        if (!str_is(type->text, kind_names[kind])) continue;
        if (kind == AVRO_RECORD) return record_from(reader, json, depth, err);
        if (kind == AVRO_ARRAY || kind == AVRO_MAP)
            return array_from(reader, json, (AvroKind)kind, depth, err);
        if (kind != AVRO_UNION) return plain_from(reader, json, (AvroKind)kind, err);
    }
    return corrupt(err, "its schema has a type that Iceberg does not use"), NULL;
}

/* Rows. */

static bool decode(AvroReader *reader, const AvroNode *node, Bytes *rest, int depth, Err *err);

static bool visit(AvroReader *reader, const AvroNode *node, AvroValue value, Err *err) {
    return reader->visitor->value(reader->visitor->context, node->id, &value, err);
}

static bool decode_size(AvroReader *reader, const AvroNode *node, size_t size, Bytes *rest,
                        Err *err) {
    const uint8_t *data;
    if (!take(rest, size, &data, err)) return false;
    return visit(reader, node,
                 (AvroValue){
                     .bytes = {(const char *)data, size}
    },
                 err);
}

static bool decode_items(AvroReader *reader, const AvroNode *node, Bytes *rest, int depth,
                         Err *err) {
    const AvroNode *item = node->children[0];
    size_t least = item->least + (node->kind == AVRO_MAP);
    int64_t count;
    Str name;
    for (;;) {
        if (!take_count(rest, least, &count, err)) return false;
        if (count == 0) return true;
        for (; count > 0; count--) {
            if (node->kind == AVRO_MAP && !take_bytes(rest, &name, err)) return false;
            if (!decode(reader, item, rest, depth + 1, err)) return false;
        }
    }
}

static bool decode_union(AvroReader *reader, const AvroNode *node, Bytes *rest, int depth,
                         Err *err) {
    int64_t branch;
    if (!take_long(rest, &branch, err)) return false;
    if (branch < 0 || (uint64_t)branch >= node->len)
        return corrupt(err, "a value has a branch that its type lacks");
    return decode(reader, node->children[branch], rest, depth + 1, err);
}

static bool decode(AvroReader *reader, const AvroNode *node, Bytes *rest, int depth, Err *err) {
    AvroValue value = {0};
    const uint8_t *byte;
    if (depth > 2 * AVRO_DEPTH_MAX) return corrupt(err, "it is nested too deeply");
    switch (node->kind) {
    case AVRO_NULL:
        return visit(reader, node, (AvroValue){.null = true}, err);
    case AVRO_BOOLEAN:
        if (!take(rest, 1, &byte, err)) return false;
        return visit(reader, node, (AvroValue){.integer = *byte != 0}, err);
    case AVRO_INT:
    case AVRO_LONG:
    case AVRO_ENUM:
        return take_long(rest, &value.integer, err) && visit(reader, node, value, err);
    case AVRO_FLOAT:
        return decode_size(reader, node, 4, rest, err);
    case AVRO_DOUBLE:
        return decode_size(reader, node, 8, rest, err);
    case AVRO_FIXED:
        return decode_size(reader, node, node->size, rest, err);
    case AVRO_BYTES:
    case AVRO_STRING:
        return take_bytes(rest, &value.bytes, err) && visit(reader, node, value, err);
    case AVRO_UNION:
        return decode_union(reader, node, rest, depth, err);
    case AVRO_ARRAY:
    case AVRO_MAP:
        return decode_items(reader, node, rest, depth, err);
    case AVRO_RECORD:
        for (size_t i = 0; i < node->len; i++)
            if (!decode(reader, node->children[i], rest, depth + 1, err)) return false;
        return true;
    default:
        return corrupt(err, "an unknown type");
    }
}

/* The container. */

static bool read_header(AvroReader *reader, Err *err) {
    const uint8_t *magic;
    int64_t count;
    if (!take(&reader->rest, 4, &magic, err)) return false;
    if (memcmp(magic, "Obj\1", 4) != 0) return corrupt(err, "it does not begin with 'Obj\\1'");
    do {
        if (!take_count(&reader->rest, 2, &count, err)) return false;
        for (int64_t i = 0; i < count; i++) {
            Str name, value;
            if (!take_bytes(&reader->rest, &name, err) || !take_bytes(&reader->rest, &value, err))
                return false;
            if (str_is(name, "avro.schema")) reader->schema = value;
            if (str_is(name, "avro.codec")) reader->codec = value;
        }
    } while (count > 0);
    return take(&reader->rest, AVRO_SYNC_SIZE, &reader->sync, err);
}

static bool read_schema(AvroReader *reader, Err *err) {
    const Json *json;
    if (!json_read(reader->schema, &reader->arena, &json, err))
        return corrupt(err, "its schema is not JSON");
    reader->root = node_from(reader, json, 0, err);
    return reader->root != NULL;
}

static bool inflate_block(Str packed, Text *out, Err *err) {
    z_stream stream = {0};
    int rc = inflateInit2(&stream, -15);
    if (rc != Z_OK) return err_set(err, LH_BUG, "cannot start inflating");
    text_clear(out);
    stream.next_in = (Bytef *)packed.data;
    stream.avail_in = (uInt)packed.len;
    while (rc == Z_OK && out->len <= AVRO_BLOCK_MAX) {
        size_t room = MAX(packed.len * 4, (size_t)4096);
        room = MIN(room, (size_t)1 << 20);
        stream.next_out = (Bytef *)text_reserve(out, room);
        stream.avail_out = (uInt)room;
        rc = inflate(&stream, Z_NO_FLUSH);
        out->len += room - stream.avail_out;
    }
    inflateEnd(&stream);
    if (out->len > AVRO_BLOCK_MAX)
        return err_set(err, LH_CORRUPT, "an Avro block inflates to more than %u bytes",
                       AVRO_BLOCK_MAX);
    return rc == Z_STREAM_END || corrupt(err, "a block does not inflate");
}

static bool read_rows(AvroReader *reader, int64_t rows, Bytes block, Err *err) {
    if (rows < 0 || (rows > 0 && reader->root->least == 0) ||
        (rows > 0 && (uint64_t)rows > block.size / reader->root->least))
        return corrupt(err, "a block has more rows than bytes for them");
    for (int64_t i = 0; i < rows; i++)
        if (!decode(reader, reader->root, &block, 0, err) ||
            !reader->visitor->row(reader->visitor->context, err))
            return false;
    return block.size == 0 || corrupt(err, "a block has bytes behind its last row");
}

static bool read_blocks(AvroReader *reader, Err *err) {
    OWNED(text_close) Text inflated = {0};
    bool deflated = str_is(reader->codec, "deflate");
    if (!deflated && reader->codec.len && !str_is(reader->codec, "null"))
        return err_set(err, LH_IMPOSSIBLE,
                       "an Avro file with codec '%.*s'; null and deflate are read",
                       (int)MIN(reader->codec.len, (size_t)40), reader->codec.data);
    while (reader->rest.size > 0) {
        int64_t rows;
        Str block;
        const uint8_t *sync;
        if (!take_long(&reader->rest, &rows, err) || !take_bytes(&reader->rest, &block, err) ||
            !take(&reader->rest, AVRO_SYNC_SIZE, &sync, err))
            return false;
        if (memcmp(sync, reader->sync, AVRO_SYNC_SIZE) != 0)
            return corrupt(err, "a block is not followed by the sync mark");
        if (deflated && !inflate_block(block, &inflated, err)) return false;
        if (!read_rows(reader, rows, bytes_of(deflated ? text_str(&inflated) : block), err))
            return false;
    }
    return true;
}

bool avro_read(Bytes file, const AvroVisitor *visitor, Err *err) {
    OWNED(avro_reader_close) AvroReader reader = {.visitor = visitor, .rest = file};
    if (file.size > AVRO_FILE_MAX)
        return err_set(err, LH_TOO_BIG, "an Avro file of %zu bytes; at most %u are read", file.size,
                       AVRO_FILE_MAX);
    return read_header(&reader, err) && read_schema(&reader, err) && read_blocks(&reader, err);
}
