/* Reading a data file: its footer, tables and metadata once, when it is opened; then any range of
 * any column (data_file.h draws the container). Nothing in it is believed before it was compared
 * with the length of the file. */
#include "lance/page.h"
#include "lance/wire.h"

#include <stdlib.h>
#include <string.h>

#define FOOTER_SIZE 40
#define ENTRY_SIZE 16
#define PAGE_ROWS_MAX ((uint64_t)1 << 32)
#define METADATA_MAX (256u << 20)
#define PAGE_BYTES_MIN 30 /* of its metadata: the name of its encoding alone is longer */
#define FIELD_BYTES_MIN 8

typedef struct ColumnPages {
    Page *pages;
    size_t page_count;
    uint64_t rows;
} ColumnPages;

typedef struct Meta {
    Str name;
    Bytes value;
} Meta;

typedef struct Footer {
    uint64_t metadata, column_table, buffer_table;
    uint32_t buffers, columns;
    uint16_t major, minor;
} Footer;

struct LanceFile {
    ByteSource *source;
    Arena arena; /* all below lives in it */
    Footer footer;
    const uint8_t *buffer_table;
    ColumnPages *columns;
    LanceField *fields;
    size_t field_count;
    Meta *meta;
    size_t meta_count;
    uint64_t rows;
    void *tag;
};

static uint64_t u64_at(const uint8_t *data) {
    uint64_t value;
    memcpy(&value, data, sizeof value);
    return value;
}

static bool version_check(Footer *footer, Err *err) {
    if (footer->major == 0 && footer->minor == 3) footer->major = 2, footer->minor = 0;
    if (footer->major == 2 && footer->minor <= 2) return true;
    return lance_unsupported(err, "data files of version %u.%u are not read here, 2.0 to 2.2 are",
                             footer->major, footer->minor);
}

static bool footer_read(LanceFile *file, Err *err) {
    Bytes bytes;
    uint64_t size = source_size(file->source);
    if (size < FOOTER_SIZE)
        return err_set(err, LH_CORRUPT, "a file of %llu bytes is no data file",
                       (unsigned long long)size);
    if (!source_read(file->source, size - FOOTER_SIZE, FOOTER_SIZE, &file->arena, &bytes, err))
        return false;
    if (memcmp(bytes.data + 36, "LANC", 4) != 0)
        return err_set(err, LH_CORRUPT, "the file does not end as a data file does");
    Footer *footer = &file->footer;
    footer->metadata = u64_at(bytes.data);
    footer->column_table = u64_at(bytes.data + 8);
    footer->buffer_table = u64_at(bytes.data + 16);
    memcpy(&footer->buffers, bytes.data + 24, 4);
    memcpy(&footer->columns, bytes.data + 28, 4);
    memcpy(&footer->major, bytes.data + 32, 2);
    memcpy(&footer->minor, bytes.data + 34, 2);
    uint64_t end = size - FOOTER_SIZE;
    if (footer->metadata > footer->column_table || footer->column_table > footer->buffer_table ||
        footer->buffer_table > end ||
        footer->columns > (footer->buffer_table - footer->column_table) / ENTRY_SIZE ||
        footer->buffers > (end - footer->buffer_table) / ENTRY_SIZE || footer->buffers == 0 ||
        end - footer->metadata > METADATA_MAX)
        return err_set(err, LH_CORRUPT, "the footer of a data file contradicts its length");
    return version_check(footer, err);
}

static bool meta_read(LanceFile *file, Bytes message, Err *err) {
    WireField field;
    Meta *meta = &file->meta[file->meta_count++];
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) {
        if (field.number == 1) meta->name = wire_text(&field);
        if (field.number == 2) meta->value = field.bytes;
    }
    return wire_whole(&reader, "the metadata of a schema", err);
}

static bool schema_read(LanceFile *file, Bytes message, Err *err) {
    WireField field;
    int32_t parent;
    size_t fields = 0, metas = 0;
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) fields += field.number == 1, metas += field.number == 5;
    if (!wire_whole(&reader, "the schema of a data file", err)) return false;
    if (fields + metas > message.size / FIELD_BYTES_MIN)
        return err_set(err, LH_CORRUPT, "the schema of a data file has empty fields");
    file->fields = arena_array(&file->arena, LanceField, fields);
    file->meta = arena_array(&file->arena, Meta, metas);
    for (reader = wire_read(message); wire_next(&reader, &field);) {
        if (field.number == 1 &&
            !field_read(field.bytes, &file->fields[file->field_count++], &parent, err))
            return false;
        if (field.number == 5 && !meta_read(file, field.bytes, err)) return false;
    }
    return true;
}

static bool descriptor_read(LanceFile *file, Err *err) {
    Bytes bytes;
    WireField field;
    Bytes schema = {0};
    if (!lance_file_buffer(file, 0, &file->arena, &bytes, err)) return false;
    WireReader reader = wire_read(bytes);
    while (wire_next(&reader, &field)) {
        if (field.number == 1) schema = field.bytes;
        if (field.number == 2) file->rows = field.value;
    }
    return wire_whole(&reader, "the descriptor of a data file", err) &&
           schema_read(file, schema, err);
}

/* Encoding {2: direct {1: bytes of an Any}} */
static bool page_encoding(LanceFile *file, Bytes encoding, Page *out, Err *err) {
    WireField direct, any, part;
    if (!wire_find(encoding, 2, &direct) || !wire_find(direct.bytes, 1, &any) ||
        !wire_find(any.bytes, 1, &part))
        return lance_unsupported(err, "a page does not say directly how it is encoded");
    Str url = wire_text(&part);
    out->structural = str_is(url, LAYOUT_URL);
    if (!out->structural && !str_is(url, ARRAY_URL))
        return lance_unsupported(err, "a page is encoded as '%.*s', which is not read here",
                                 SHOW(url));
    if (wire_find(any.bytes, 2, &part)) out->encoding = part.bytes;
    out->wide_chunks = file->footer.minor >= 2;
    return true;
}

static bool page_read(LanceFile *file, Bytes message, ColumnPages *column, Err *err) {
    WireField field;
    WireNumbers offsets = {0}, sizes = {0};
    Bytes encoding = {0};
    Page *page = &column->pages[column->page_count++];
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) {
        if (field.number == 1 && !wire_numbers(&field, &file->arena, &offsets, err)) return false;
        if (field.number == 2 && !wire_numbers(&field, &file->arena, &sizes, err)) return false;
        if (field.number == 3) page->rows = field.value;
        if (field.number == 4) encoding = field.bytes;
    }
    if (!wire_whole(&reader, "the metadata of a page", err)) return false;
    if (offsets.len != sizes.len || offsets.len > PAGE_BUFFERS_MAX || page->rows > PAGE_ROWS_MAX)
        return err_set(err, LH_CORRUPT, "a page has %zu buffers, %zu sizes and %llu rows",
                       offsets.len, sizes.len, (unsigned long long)page->rows);
    uint64_t end = source_size(file->source);
    for (size_t i = 0; i < offsets.len; i++)
        if (offsets.items[i] > end || sizes.items[i] > end - offsets.items[i])
            return err_set(err, LH_CORRUPT, "a buffer of a page lies beyond the end of its file");
    page->source = file->source;
    page->first_row = column->rows;
    page->buffer_count = offsets.len;
    page->offsets = offsets.items;
    page->sizes = sizes.items;
    column->rows += page->rows;
    return page_encoding(file, encoding, page, err);
}

static bool column_read(LanceFile *file, Bytes message, ColumnPages *column, Err *err) {
    WireField field;
    size_t pages = 0;
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) pages += field.number == 2;
    if (!wire_whole(&reader, "the metadata of a column", err)) return false;
    if (pages > message.size / PAGE_BYTES_MIN)
        return err_set(err, LH_CORRUPT, "the metadata of a column has empty pages");
    column->pages = arena_array(&file->arena, Page, pages);
    for (reader = wire_read(message); wire_next(&reader, &field);)
        if (field.number == 2 && !page_read(file, field.bytes, column, err)) return false;
    return true;
}

/* One read brings all metadata and both tables. */
static bool columns_read(LanceFile *file, Err *err) {
    const Footer *footer = &file->footer;
    uint64_t size = source_size(file->source) - FOOTER_SIZE - footer->metadata;
    Bytes tail;
    if (!source_read(file->source, footer->metadata, size, &file->arena, &tail, err)) return false;
    file->buffer_table = tail.data + (footer->buffer_table - footer->metadata);
    file->columns = arena_array(&file->arena, ColumnPages, footer->columns);
    const uint8_t *entry = tail.data + (footer->column_table - footer->metadata);
    for (uint32_t i = 0; i < footer->columns; i++, entry += ENTRY_SIZE) {
        uint64_t offset = u64_at(entry), length = u64_at(entry + 8);
        if (offset < footer->metadata || offset - footer->metadata > size ||
            length > size - (offset - footer->metadata))
            return err_set(err, LH_CORRUPT, "the metadata of column %u lies outside of its place",
                           i);
        Bytes message = {tail.data + (offset - footer->metadata), (size_t)length};
        if (!column_read(file, message, &file->columns[i], err)) return false;
    }
    return true;
}

static bool file_read_all(LanceFile *file, Err *err) {
    return footer_read(file, err) && columns_read(file, err) && descriptor_read(file, err);
}

bool lance_file_open(Store *store, Str key, uint64_t size, LanceFile **out, Err *err) {
    OWNED(lance_file_close) LanceFile *file = calloc(1, sizeof *file);
    if (!file) abort();
    if (!source_open(store, key, &file->source, err)) return false;
    if (size && source_size(file->source) != size)
        return err_set(err, LH_CORRUPT, "'%.*s' has %llu bytes, its table says %llu", SHOW(key),
                       (unsigned long long)source_size(file->source), (unsigned long long)size);
    if (!file_read_all(file, err)) return err_while(err, "'%.*s'", SHOW(key));
    *out = TAKE(file);
    return true;
}

bool lance_file_open_bytes(Bytes bytes, LanceFile **out, Err *err) {
    OWNED(lance_file_close) LanceFile *file = calloc(1, sizeof *file);
    if (!file) abort();
    file->source = source_of_bytes(bytes);
    if (!file_read_all(file, err)) return false;
    *out = TAKE(file);
    return true;
}

void lance_file_close(LanceFile **file) {
    if (!*file) return;
    source_close(&(*file)->source);
    arena_close(&(*file)->arena);
    free(*file);
    *file = NULL;
}

void **lance_file_tag(LanceFile *file) {
    return &file->tag;
}

uint64_t lance_file_rows(const LanceFile *file) {
    return file->rows;
}

uint64_t lance_file_size(const LanceFile *file) {
    return source_size(file->source);
}

size_t lance_file_columns(const LanceFile *file) {
    return file->footer.columns;
}

const LanceField *lance_file_field(const LanceFile *file, size_t field) {
    return field < file->field_count ? &file->fields[field] : NULL;
}

void lance_file_version(const LanceFile *file, uint32_t *major, uint32_t *minor) {
    *major = file->footer.major;
    *minor = file->footer.minor;
}

bool lance_file_find_meta(const LanceFile *file, Str name, Bytes *out) {
    for (size_t i = 0; i < file->meta_count; i++)
        if (str_equal(file->meta[i].name, name)) return *out = file->meta[i].value, true;
    return false;
}

bool lance_file_buffer(const LanceFile *file, uint32_t number, Arena *arena, Bytes *out, Err *err) {
    if (number >= file->footer.buffers)
        return err_set(err, LH_CORRUPT, "a data file has %u global buffers, not one number %u",
                       file->footer.buffers, number);
    const uint8_t *entry = file->buffer_table + (size_t)number * ENTRY_SIZE;
    if (u64_at(entry + 8) > LANCE_BUFFER_MAX)
        return err_set(err, LH_TOO_BIG, "a global buffer of %llu bytes, at most %u are read",
                       (unsigned long long)u64_at(entry + 8), LANCE_BUFFER_MAX);
    return source_read(file->source, u64_at(entry), u64_at(entry + 8), arena, out, err);
}

/* The page that holds a row; the column has that row. */
static size_t page_of(const ColumnPages *column, uint64_t row) {
    size_t low = 0, high = column->page_count - 1;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (column->pages[middle].first_row <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static bool pages_read(const ColumnPages *column, uint64_t from, size_t count, Builder *builder,
                       Err *err) {
    for (size_t n = page_of(column, from); builder->len < count; n++) {
        const Page *page = &column->pages[n];
        uint64_t at = from + builder->len - page->first_row;
        size_t part = (size_t)MIN(page->rows - at, count - builder->len), before = builder->len;
        if (part == 0) continue;
        builder->borrow = part == count;
        bool ok = page->structural ? layout_decode(page, at, part, builder, err)
                                   : array_decode(page, at, part, builder, err);
        if (!ok) return false;
        if (builder->len != before + part)
            return err_set(err, LH_CORRUPT, "a page gave %zu rows of %zu", builder->len - before,
                           part);
    }
    return true;
}

bool lance_file_read(const LanceFile *file, size_t column, const LanceType *type, uint64_t from,
                     size_t count, Arena *arena, LanceColumn *out, Err *err) {
    Builder builder;
    if (column >= file->footer.columns)
        return err_set(err, LH_CORRUPT, "a data file has %u columns, not one number %zu",
                       file->footer.columns, column);
    const ColumnPages *pages = &file->columns[column];
    if (from > pages->rows || count > pages->rows - from)
        return err_set(err, LH_CORRUPT, "rows %llu to %llu of a column of %llu are not there",
                       (unsigned long long)from, (unsigned long long)(from + count),
                       (unsigned long long)pages->rows);
    if (!builder_open(&builder, type, count, arena, err)) return false;
    if (count > 0 && !pages_read(pages, from, count, &builder, err)) return false;
    builder_finish(&builder, out);
    return true;
}

uint64_t lance_file_page_rows(const LanceFile *file, size_t column, uint64_t from) {
    if (column >= file->footer.columns || from >= file->columns[column].rows) return 0;
    const Page *page = &file->columns[column].pages[page_of(&file->columns[column], from)];
    return page->first_row + page->rows - from;
}

/* One row tells how its page is kept; the page's other rows are kept the same way. */
const void *lance_file_place(const LanceFile *file, size_t column, const LanceType *type,
                             uint64_t from, uint64_t *rows) {
    OWNED(arena_close) Arena arena = {0};
    LanceColumn one, all;
    Err ignored = {0};
    uint32_t width = type_row_bytes(type);
    if (column >= file->footer.columns || !width) return NULL;
    const ColumnPages *pages = &file->columns[column];
    if (from >= pages->rows) return NULL;
    const Page *page = &pages->pages[page_of(pages, from)];
    uint64_t count = MIN(page->first_row + page->rows - from, (uint64_t)LANCE_BUFFER_MAX / width);
    if (!lance_file_read(file, column, type, from, 1, &arena, &one, &ignored) ||
        !source_holds(file->source, one.values) ||
        !lance_file_read(file, column, type, from, (size_t)count, &arena, &all, &ignored) ||
        all.values != one.values || all.validity || all.items)
        return NULL;
    *rows = count;
    return all.values;
}

bool lance_file_describe(const LanceFile *file, Text *out, Err *err) {
    (void)err;
    for (uint32_t i = 0; i < file->footer.columns; i++) {
        const ColumnPages *column = &file->columns[i];
        for (size_t n = 0; n < column->page_count; n++) {
            const Page *page = &column->pages[n];
            uint64_t bytes = 0;
            for (size_t k = 0; k < page->buffer_count; k++) bytes += page->sizes[k];
            text_print(out, "      column %u page %zu: %llu rows, %llu bytes, ", i, n,
                       (unsigned long long)page->rows, (unsigned long long)bytes);
            if (page->structural)
                layout_describe(page->encoding, out);
            else
                array_describe(page->encoding, out);
            text_add_byte(out, '\n');
        }
    }
    return true;
}
