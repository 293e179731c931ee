/* Schema and record batches as encapsulated messages: FlatBuffers metadata (Schema.fbs,
 * Message.fbs), then the buffers, each padded to 8 bytes. */
#include "query/arrow.h"

#include "query/flatbuffer.h"

#include <stdio.h>
#include <stdlib.h>

#define VERSION_V5 4
#define HEADER_SCHEMA 1
#define HEADER_BATCH 3
#define NULLABLE 2
#define DEPTH_MAX 64

/* Tags of the union Type in Schema.fbs. */
enum {
    TYPE_TAG_NULL = 1,
    TAG_INT = 2,
    TAG_FLOAT = 3,
    TAG_BINARY = 4,
    TAG_UTF8 = 5,
    TAG_BOOL = 6,
    TAG_DECIMAL = 7,
    TAG_DATE = 8,
    TAG_TIME = 9,
    TAG_TIMESTAMP = 10,
    TAG_INTERVAL = 11,
    TAG_LIST = 12,
    TAG_STRUCT = 13,
    TAG_FIXED_BINARY = 15,
    TAG_FIXED_LIST = 16,
    TAG_MAP = 17,
    TAG_LARGE_BINARY = 19,
    TAG_LARGE_UTF8 = 20,
    TAG_LARGE_LIST = 21
};

static uint32_t empty_type(Flat *flat) {
    flat_table(flat);
    return flat_table_end(flat);
}

static uint32_t int_type(Flat *flat, uint32_t width, bool is_signed) {
    flat_table(flat);
    flat_slot(flat, 0, flat_u32(flat, width));
    flat_slot(flat, 1, flat_u8(flat, is_signed));
    return flat_table_end(flat);
}

static uint32_t unit_type(Flat *flat, uint16_t unit) { /* float precision, date unit */
    flat_table(flat);
    flat_slot(flat, 0, flat_u16(flat, unit));
    return flat_table_end(flat);
}

static uint32_t width_type(Flat *flat, uint32_t width) { /* fixed binary, fixed list */
    flat_table(flat);
    flat_slot(flat, 0, flat_u32(flat, width));
    return flat_table_end(flat);
}

static uint16_t time_unit(char letter) {
    return letter == 's' ? 0 : letter == 'm' ? 1 : letter == 'u' ? 2 : 3;
}

static uint32_t time_type(Flat *flat, char letter) {
    uint16_t unit = time_unit(letter);
    flat_table(flat);
    flat_slot(flat, 0, flat_u16(flat, unit));
    flat_slot(flat, 1, flat_u32(flat, unit < 2 ? 32 : 64));
    return flat_table_end(flat);
}

static uint32_t timestamp_type(Flat *flat, const char *format) { /* "tsu:UTC" */
    uint32_t zone = format[4] ? flat_string(flat, str_from(format + 4)) : 0;
    flat_table(flat);
    flat_slot(flat, 0, flat_u16(flat, time_unit(format[2])));
    if (zone) flat_slot(flat, 1, flat_ref(flat, zone));
    return flat_table_end(flat);
}

static uint32_t decimal_type(Flat *flat, const char *format) { /* "d:12,2" or "d:12,2,128" */
    int precision = 38, scale = 0, width = 128;
    sscanf(format, "d:%d,%d,%d", &precision, &scale, &width);
    flat_table(flat);
    flat_slot(flat, 0, flat_u32(flat, (uint32_t)precision));
    flat_slot(flat, 1, flat_u32(flat, (uint32_t)scale));
    flat_slot(flat, 2, flat_u32(flat, (uint32_t)width));
    return flat_table_end(flat);
}

static uint8_t temporal(Flat *flat, const char *format, uint32_t *type) {
    if (format[1] == 'd') return *type = unit_type(flat, format[2] == 'm'), TAG_DATE;
    if (format[1] == 't') return *type = time_type(flat, format[2]), TAG_TIME;
    if (format[1] == 's') return *type = timestamp_type(flat, format), TAG_TIMESTAMP;
    return 0; /* intervals and durations */
}

static uint8_t nested(Flat *flat, const char *format, uint32_t *type) {
    if (format[1] == 'w')
        return *type = width_type(flat, (uint32_t)atoi(format + 3)), TAG_FIXED_LIST;
    *type = empty_type(flat);
    switch (format[1]) {
    case 'l':
        return TAG_LIST;
    case 'L':
        return TAG_LARGE_LIST;
    case 's':
        return TAG_STRUCT;
    case 'm':
        return TAG_MAP;
    default:
        return 0;
    }
}

/* The union's tag and its table; 0 for a type that is not written. */
static uint8_t type_of(Flat *flat, const char *format, uint32_t *type) {
    static const struct {
        char letter;
        uint8_t tag, width;
        bool is_signed;
    } ints[] = {
        {'c', TAG_INT, 8,  1},
        {'C', TAG_INT, 8,  0},
        {'s', TAG_INT, 16, 1},
        {'S', TAG_INT, 16, 0},
        {'i', TAG_INT, 32, 1},
        {'I', TAG_INT, 32, 0},
        {'l', TAG_INT, 64, 1},
        {'L', TAG_INT, 64, 0}
    };
    static const struct {
        char letter;
        uint8_t tag;
    } plain[] = {
        {'n', TYPE_TAG_NULL   },
        {'b', TAG_BOOL        },
        {'u', TAG_UTF8        },
        {'z', TAG_BINARY      },
        {'U', TAG_LARGE_UTF8  },
        {'Z', TAG_LARGE_BINARY}
    };
    for (size_t i = 0; i < COUNT(ints); i++)
        if (format[0] == ints[i].letter)
            return *type = int_type(flat, ints[i].width, ints[i].is_signed), TAG_INT;
    for (size_t i = 0; i < COUNT(plain); i++)
        if (format[0] == plain[i].letter) return *type = empty_type(flat), plain[i].tag;
    switch (format[0]) {
    case 'f':
        return *type = unit_type(flat, 1), TAG_FLOAT;
    case 'g':
        return *type = unit_type(flat, 2), TAG_FLOAT;
    case 'd':
        return *type = decimal_type(flat, format), TAG_DECIMAL;
    case 'w':
        return *type = width_type(flat, (uint32_t)atoi(format + 2)), TAG_FIXED_BINARY;
    case 't':
        return temporal(flat, format, type);
    case '+':
        return nested(flat, format, type);
    default:
        return 0;
    }
}

static bool not_written(const struct ArrowSchema *schema, Err *err) {
    return err_code(err, LH_IMPOSSIBLE, "arrow_type",
                    "column '%s' has a type that Arrow streams of ours do not carry: cast it to "
                    "VARCHAR",
                    schema->name ? schema->name : "");
}

static bool write_fields(Flat *flat, const struct ArrowSchema *parent, int depth, uint32_t *vector,
                         Err *err);

static bool write_field(Flat *flat, const struct ArrowSchema *schema, int depth, uint32_t *out,
                        Err *err) {
    uint32_t children, type = 0;
    if (depth == DEPTH_MAX || schema->dictionary) return not_written(schema, err);
    if (!write_fields(flat, schema, depth + 1, &children, err)) return false;
    uint8_t tag = type_of(flat, schema->format, &type);
    if (!tag) return not_written(schema, err);
    uint32_t name = flat_string(flat, str_from(schema->name ? schema->name : ""));
    flat_table(flat);
    flat_slot(flat, 0, flat_ref(flat, name));
    flat_slot(flat, 3, flat_ref(flat, type));
    flat_slot(flat, 5, flat_ref(flat, children));
    flat_slot(flat, 1, flat_u8(flat, (schema->flags & NULLABLE) != 0));
    flat_slot(flat, 2, flat_u8(flat, tag));
    *out = flat_table_end(flat);
    return true;
}

static bool write_fields(Flat *flat, const struct ArrowSchema *parent, int depth, uint32_t *vector,
                         Err *err) {
    uint32_t *fields = malloc(((size_t)parent->n_children + 1) * sizeof *fields);
    bool ok = true;
    if (!fields) abort();
    for (int64_t i = 0; ok && i < parent->n_children; i++)
        ok = write_field(flat, parent->children[i], depth, &fields[i], err);
    if (ok) *vector = flat_refs(flat, fields, (size_t)parent->n_children);
    free(fields);
    return ok;
}

static void write_message(Flat *flat, uint8_t kind, uint32_t header, uint64_t body_size,
                          Text *out) {
    flat_table(flat);
    flat_slot(flat, 3, flat_u64(flat, body_size));
    flat_slot(flat, 2, flat_ref(flat, header));
    flat_slot(flat, 0, flat_u16(flat, VERSION_V5));
    flat_slot(flat, 1, flat_u8(flat, kind));
    flat_finish(flat, flat_table_end(flat));
    Bytes bytes = flat_bytes(flat);
    uint32_t prefix[2] = {UINT32_MAX, (uint32_t)bytes.size};
    text_add(out, (Str){(const char *)prefix, sizeof prefix});
    text_add(out, str_of(bytes));
}

bool arrow_write_schema(const struct ArrowSchema *schema, Text *out, Err *err) {
    OWNED(flat_close) Flat flat = {0};
    uint32_t fields;
    if (!write_fields(&flat, schema, 0, &fields, err)) return false;
    flat_table(&flat);
    flat_slot(&flat, 1, flat_ref(&flat, fields));
    flat_slot(&flat, 0, flat_u16(&flat, 0)); /* little-endian */
    write_message(&flat, HEADER_SCHEMA, flat_table_end(&flat), 0, out);
    return true;
}

/* What a batch's metadata lists: a node for each array, its buffers in order. */
typedef struct Node {
    int64_t length, nulls;
} Node;
typedef struct Piece {
    int64_t offset, size;
    const void *data;
} Piece;
typedef struct Layout {
    Text nodes, pieces;
    int64_t body_size;
} Layout;

static void layout_close(Layout *layout) {
    text_close(&layout->nodes);
    text_close(&layout->pieces);
}

static void add_piece(Layout *layout, const void *data, int64_t size) {
    Piece piece = {layout->body_size, data ? size : 0, data};
    text_add(&layout->pieces, (Str){(const char *)&piece, sizeof piece});
    layout->body_size += (piece.size + 7) / 8 * 8;
}

static int64_t count_nulls(const struct ArrowArray *array) {
    const uint8_t *bits = array->n_buffers > 0 ? array->buffers[0] : NULL;
    int64_t nulls = 0;
    if (array->null_count >= 0 || !bits) return MAX(array->null_count, 0);
    for (int64_t i = 0; i < array->length; i++) nulls += !(bits[i / 8] >> (i % 8) & 1);
    return nulls;
}

/* Bytes of one value of a type with values of one size; 0 for the others. */
static int64_t value_size(const char *format) {
    int precision, scale, bits = 128;
    switch (format[0]) {
    case 'c':
    case 'C':
        return 1;
    case 's':
    case 'S':
        return 2;
    case 'i':
    case 'I':
    case 'f':
        return 4;
    case 'l':
    case 'L':
    case 'g':
        return 8;
    case 'd':
        sscanf(format, "d:%d,%d,%d", &precision, &scale, &bits);
        return bits / 8;
    case 'w':
        return atoi(format + 2);
    case 't':
        if (format[1] == 'd') return format[2] == 'D' ? 4 : 8;
        return format[1] == 't' && time_unit(format[2]) < 2 ? 4 : 8;
    default:
        return 0;
    }
}

static bool lay_out(Layout *layout, const struct ArrowSchema *schema,
                    const struct ArrowArray *array, Err *err);

static bool lay_out_children(Layout *layout, const struct ArrowSchema *schema,
                             const struct ArrowArray *array, Err *err) {
    for (int64_t i = 0; i < schema->n_children; i++)
        if (!lay_out(layout, schema->children[i], array->children[i], err)) return false;
    return true;
}

/* DuckDB's arrays begin at offset 0, which is all that is written. */
static bool lay_out(Layout *layout, const struct ArrowSchema *schema,
                    const struct ArrowArray *array, Err *err) {
    const char *format = schema->format;
    int64_t n = array->length, nulls = count_nulls(array);
    Node node = {n, format[0] == 'n' ? n : nulls};
    if (array->offset) return err_set(err, LH_BUG, "an Arrow array begins within another");
    text_add(&layout->nodes, (Str){(const char *)&node, sizeof node});
    if (format[0] == 'n') return true;
    add_piece(layout, nulls ? array->buffers[0] : NULL, (n + 7) / 8);
    if (format[0] == 'b') {
        add_piece(layout, array->buffers[1], (n + 7) / 8);
    } else if (format[0] == 'u' || format[0] == 'z') {
        const int32_t *ends = array->buffers[1];
        add_piece(layout, ends, (n + 1) * (int64_t)sizeof *ends);
        add_piece(layout, array->buffers[2], n ? ends[n] : 0);
    } else if (format[0] == 'U' || format[0] == 'Z') {
        const int64_t *ends = array->buffers[1];
        add_piece(layout, ends, (n + 1) * (int64_t)sizeof *ends);
        add_piece(layout, array->buffers[2], n ? ends[n] : 0);
    } else if (format[0] == '+') {
        if (format[1] == 'l' || format[1] == 'm') add_piece(layout, array->buffers[1], (n + 1) * 4);
        if (format[1] == 'L') add_piece(layout, array->buffers[1], (n + 1) * 8);
        return lay_out_children(layout, schema, array, err);
    } else {
        add_piece(layout, array->buffers[1], n * value_size(format));
    }
    return true;
}

static uint32_t write_pieces(Flat *flat, const Layout *layout) {
    const Piece *pieces = (const Piece *)layout->pieces.data;
    size_t count = layout->pieces.len / sizeof *pieces;
    flat_align(flat, 8, 0);
    for (size_t i = count; i-- > 0;) {
        flat_put(flat, &pieces[i].size, 8);
        flat_put(flat, &pieces[i].offset, 8);
    }
    return flat_vector_end(flat, count);
}

static uint32_t write_nodes(Flat *flat, const Layout *layout) {
    const Node *nodes = (const Node *)layout->nodes.data;
    size_t count = layout->nodes.len / sizeof *nodes;
    flat_align(flat, 8, 0);
    for (size_t i = count; i-- > 0;) {
        flat_put(flat, &nodes[i].nulls, 8);
        flat_put(flat, &nodes[i].length, 8);
    }
    return flat_vector_end(flat, count);
}

static void write_body(const Layout *layout, Text *out) {
    static const char zeros[8];
    const Piece *pieces = (const Piece *)layout->pieces.data;
    for (size_t i = 0; i < layout->pieces.len / sizeof *pieces; i++) {
        text_add(out, (Str){pieces[i].data, (size_t)pieces[i].size});
        text_add(out, (Str){zeros, (size_t)((8 - pieces[i].size % 8) % 8)});
    }
}

bool arrow_write_batch(const struct ArrowSchema *schema, const struct ArrowArray *batch, Text *out,
                       Err *err) {
    OWNED(layout_close) Layout layout = {0};
    OWNED(flat_close) Flat flat = {0};
    if (!lay_out_children(&layout, schema, batch, err)) return false;
    uint32_t pieces = write_pieces(&flat, &layout), nodes = write_nodes(&flat, &layout);
    flat_table(&flat);
    flat_slot(&flat, 0, flat_u64(&flat, (uint64_t)batch->length));
    flat_slot(&flat, 1, flat_ref(&flat, nodes));
    flat_slot(&flat, 2, flat_ref(&flat, pieces));
    write_message(&flat, HEADER_BATCH, flat_table_end(&flat), (uint64_t)layout.body_size, out);
    write_body(&layout, out);
    return true;
}

void arrow_write_end(Text *out) {
    static const uint32_t end[2] = {UINT32_MAX, 0};
    text_add(out, (Str){(const char *)end, sizeof end});
}
