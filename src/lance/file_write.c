/* Writing a data file, in a stream: pages go out as they come, what describes them is kept until
 * the end (data_file.h draws the container). */
#include "lance/page.h"
#include "lance/wire.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER_ALIGNMENT 64
#define COLUMN_ENCODING STR("/lance.encodings.ColumnEncoding")

typedef struct Place {
    uint64_t offset, size;
} Place;

typedef struct ColumnDraft {
    Text pages; /* of its ColumnMetadata */
    uint64_t rows;
} ColumnDraft;

struct LanceFileWriter {
    ObjectWriter *object;
    const LanceSchema *schema;
    uint32_t minor; /* of its version */
    ColumnDraft *columns;
    Text metadata; /* of the schema, encoded */
    Place *buffers;
    size_t buffer_count; /* without the descriptor */
    uint64_t offset;
    Arena arena;
};

bool lance_file_create(Store *store, Str key, uint32_t minor, const LanceSchema *schema,
                       LanceFileWriter **out, Err *err) {
    OWNED(lance_file_discard) LanceFileWriter *writer = calloc(1, sizeof *writer);
    if (!writer) abort();
    writer->schema = schema;
    writer->minor = minor;
    writer->columns = arena_array(&writer->arena, ColumnDraft, schema->len);
    if (schema->len > LANCE_COLUMNS_MAX)
        return err_set(err, LH_TOO_BIG, "a table has at most %d columns, not %zu",
                       LANCE_COLUMNS_MAX, schema->len);
    const PutCondition fresh = {.if_absent = true, .lazy = true};
    if (!store_create(store, key, &fresh, &writer->object, err)) return false;
    *out = TAKE(writer);
    return true;
}

void lance_file_discard(LanceFileWriter **out) {
    LanceFileWriter *writer = *out;
    if (!writer) return;
    for (size_t i = 0; i < writer->schema->len; i++) text_close(&writer->columns[i].pages);
    text_close(&writer->metadata);
    free(writer->buffers);
    writer_close(&writer->object);
    arena_close(&writer->arena);
    free(writer);
    *out = NULL;
}

void lance_file_meta(LanceFileWriter *writer, Str name, Bytes value) {
    size_t begun = wire_begin(&writer->metadata, 5);
    wire_put_text(&writer->metadata, 1, name);
    wire_put_bytes(&writer->metadata, 2, value);
    wire_end(&writer->metadata, begun);
}

static bool put(LanceFileWriter *writer, Bytes data, Err *err) {
    if (!writer_write(writer->object, data, err)) return false;
    writer->offset += data.size;
    return true;
}

static bool put_buffer(LanceFileWriter *writer, Bytes data, Place *out, Err *err) {
    static const uint8_t padding[BUFFER_ALIGNMENT];
    size_t gap = (size_t)(-writer->offset % BUFFER_ALIGNMENT);
    if (gap && !put(writer, (Bytes){padding, gap}, err)) return false;
    *out = (Place){writer->offset, data.size};
    return data.size == 0 || put(writer, data, err);
}

/* {2: direct {1: Any}}, as an Encoding in the message `number`. */
static void put_encoding(Text *out, uint32_t number, Str type_url, Bytes value) {
    size_t encoding = wire_begin(out, number), direct = wire_begin(out, 2);
    wire_put_any(out, 1, type_url, value);
    wire_end(out, direct);
    wire_end(out, encoding);
}

static void page_describe(ColumnDraft *column, const PageOut *page, const Place *places,
                          size_t rows) {
    uint64_t numbers[PAGE_OUT_BUFFERS];
    Text *out = &column->pages;
    size_t begun = wire_begin(out, 2);
    for (size_t i = 0; i < page->buffer_count; i++) numbers[i] = places[i].offset;
    wire_put_packed(out, 1, numbers, page->buffer_count);
    for (size_t i = 0; i < page->buffer_count; i++) numbers[i] = places[i].size;
    wire_put_packed(out, 2, numbers, page->buffer_count);
    wire_put(out, 3, rows);
    put_encoding(out, 4, page->minor ? STR(LAYOUT_URL) : STR(ARRAY_URL),
                 text_bytes(&page->encoding));
    wire_put_nonzero(out, 5, column->rows); /* the number of its first row */
    wire_end(out, begun);
}

static bool page_put(LanceFileWriter *writer, ColumnDraft *column, const PageOut *page, size_t rows,
                     Err *err) {
    Place places[PAGE_OUT_BUFFERS];
    for (size_t i = 0; i < page->buffer_count; i++)
        if (!put_buffer(writer, page->buffers[i], &places[i], err)) return false;
    page_describe(column, page, places, rows);
    column->rows += rows;
    return true;
}

bool lance_file_page(LanceFileWriter *writer, size_t column, const LanceColumn *values, size_t rows,
                     Err *err) {
    OWNED(arena_close) Arena arena = {0};
    PageOut page = {.minor = writer->minor};
    const LanceField *field = &writer->schema->fields[column];
    if (rows == 0) return true;
    bool ok = page_encode(&field->type, values, rows, &arena, &page, err) &&
              page_put(writer, &writer->columns[column], &page, rows, err);
    text_close(&page.encoding);
    return ok || err_while(err, "column '%.*s'", SHOW(field->name));
}

bool lance_file_add_buffer(LanceFileWriter *writer, Bytes data, uint32_t *number, Err *err) {
    Place place;
    if (!put_buffer(writer, data, &place, err)) return false;
    writer->buffers = realloc(writer->buffers, (writer->buffer_count + 1) * sizeof(Place));
    if (!writer->buffers) abort();
    writer->buffers[writer->buffer_count++] = place;
    *number = (uint32_t)writer->buffer_count;
    return true;
}

/* FileDescriptor {1: Schema {1: fields, 5: metadata}, 2: rows} */
static void descriptor_encode(const LanceFileWriter *writer, uint64_t rows, Text *out) {
    size_t schema = wire_begin(out, 1);
    for (size_t i = 0; i < writer->schema->len; i++)
        field_encode(out, 1, &writer->schema->fields[i]);
    text_add(out, text_str(&writer->metadata));
    wire_end(out, schema);
    wire_put_nonzero(out, 2, rows);
}

static void put_u64(Text *out, uint64_t value) {
    text_add(out, (Str){(const char *)&value, sizeof value});
}

static void put_u32(Text *out, uint32_t value) {
    text_add(out, (Str){(const char *)&value, sizeof value});
}

/* Everything behind the descriptor, which ends at `begin`. */
static void tail_encode(LanceFileWriter *writer, Place descriptor, uint64_t begin, Text *out) {
    size_t count = writer->schema->len;
    Place *places = arena_array(&writer->arena, Place, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t at = begin + out->len;
        put_encoding(out, 1, COLUMN_ENCODING, (Bytes){(const uint8_t *)"\x0a\x00", 2});
        text_add(out, text_str(&writer->columns[i].pages));
        places[i] = (Place){at, begin + out->len - at};
    }
    uint64_t column_table = begin + out->len;
    text_add(out, (Str){(const char *)places, count * sizeof *places});
    uint64_t buffer_table = begin + out->len;
    text_add(out, (Str){(const char *)&descriptor, sizeof descriptor});
    text_add(out, (Str){(const char *)writer->buffers, writer->buffer_count * sizeof(Place)});
    put_u64(out, begin);
    put_u64(out, column_table);
    put_u64(out, buffer_table);
    put_u32(out, (uint32_t)writer->buffer_count + 1);
    put_u32(out, (uint32_t)count);
    put_u32(out, writer->minor ? writer->minor << 16 | 2 : 3u << 16); /* 2.0 says 0.3 here */
    text_add(out, STR("LANC"));
}

bool lance_file_finish(LanceFileWriter *writer, uint64_t *size, uint64_t *rows, Err *err) {
    OWNED(text_close) Text descriptor = {0};
    OWNED(text_close) Text tail = {0};
    Place place;
    uint64_t count = writer->schema->len ? writer->columns[0].rows : 0;
    for (size_t i = 0; i < writer->schema->len; i++)
        if (writer->columns[i].rows != count)
            return err_set(err, LH_INVALID, "column '%.*s' has %llu rows, the first has %llu",
                           SHOW(writer->schema->fields[i].name),
                           (unsigned long long)writer->columns[i].rows, (unsigned long long)count);
    descriptor_encode(writer, count, &descriptor);
    if (!put_buffer(writer, text_bytes(&descriptor), &place, err)) return false;
    tail_encode(writer, place, writer->offset, &tail);
    if (!put(writer, text_bytes(&tail), err) || !writer_commit(writer->object, NULL, err))
        return false;
    *size = writer->offset;
    if (rows) *rows = count;
    return true;
}
