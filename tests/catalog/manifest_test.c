#include "catalog/avro.h"
#include "catalog/manifest.h"
#include "kit/kit.h"

#include <stdlib.h>

static Err err;

static Schema small_schema(Field fields[1]) {
    fields[0] = (Field){.id = 1, .name = STR("a"), .type = {.kind = TYPE_LONG}};
    return (Schema){.fields = fields, .len = 1};
}

static void write_entries(const ManifestEntry *entries, size_t count, Text *file,
                          ManifestFile *row) {
    Field fields[1];
    Schema schema = small_schema(fields);
    ManifestTarget target = {&schema, 77, 5};
    manifest_write(&target, entries, count, file, row);
}

TEST("entries come back with their statistics and bounds, over many blocks") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text file = {0};
    enum { COUNT_ENTRIES = 3000 };
    ManifestEntry *entries = arena_array(&arena, ManifestEntry, COUNT_ENTRIES), *back;
    ManifestFile row;
    size_t count;
    for (int i = 0; i < COUNT_ENTRIES; i++) {
        ManifestColumn *columns = arena_array(&arena, ManifestColumn, 2);
        columns[0] = (ManifestColumn){1, 10 + i, 20, i, 0, true, true, STR("lo"), STR("hi")};
        columns[1] = (ManifestColumn){2, -1, 20, -1, -1, false, i % 2, {0}, STR("u")};
        entries[i] = (ManifestEntry){.status = ENTRY_ADDED,
                                     .path = arena_print(&arena, "file:///data/%d.parquet", i),
                                     .rows = i,
                                     .bytes = 1000 + i,
                                     .columns = columns,
                                     .column_count = 2};
    }
    write_entries(entries, COUNT_ENTRIES, &file, &row);
    CHECK_INT(row.added, COUNT_ENTRIES);
    CHECK_INT(row.added_rows, COUNT_ENTRIES * (COUNT_ENTRIES - 1) / 2);
    CHECK_INT(row.length, file.len);
    CHECK_OK(manifest_read(text_bytes(&file), &row, true, &arena, &back, &count, &err));
    CHECK_INT(count, COUNT_ENTRIES);
    for (int i = 0; i < COUNT_ENTRIES; i++) {
        const ManifestColumn *column = back[i].columns;
        CHECK(str_equal(back[i].path, entries[i].path));
        CHECK(back[i].rows == i && back[i].bytes == 1000 + i && back[i].column_count == 2);
        CHECK(column[0].id == 1 && column[0].size == 10 + i && column[0].nulls == i);
        CHECK(column[0].nans == 0 && column[1].nans == -1 && column[1].size == -1);
        CHECK(column[0].has_lower && str_is(column[0].lower, "lo"));
        CHECK(!column[1].has_lower && column[1].has_upper == (i % 2 == 1));
        CHECK(back[i].snapshot_id == 77 && back[i].sequence == 5 && back[i].file_sequence == 5);
    }
}

TEST("existing and deleted entries keep their own sequence numbers") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text file = {0};
    ManifestEntry entries[2] = {
        {ENTRY_EXISTING, 11, 2, 1, STR("file:///a"), 1, 1, NULL, 0},
        {ENTRY_DELETED,  77, 3, 3, STR("file:///b"), 2, 2, NULL, 0}
    };
    ManifestEntry *back;
    ManifestFile row;
    size_t count;
    write_entries(entries, 2, &file, &row);
    CHECK(row.added == 0 && row.existing == 1 && row.deleted == 1 && row.min_sequence == 2);
    CHECK_OK(manifest_read(text_bytes(&file), &row, false, &arena, &back, &count, &err));
    CHECK(back[0].status == ENTRY_EXISTING && back[0].snapshot_id == 11);
    CHECK(back[0].sequence == 2 && back[0].file_sequence == 1);
    CHECK(back[1].status == ENTRY_DELETED && back[1].sequence == 3);
}

TEST("rows of a manifest list come back") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text file = {0};
    ManifestFile rows[2] = {
        {STR("file:///m0"), 10, 0, 0, 4, 2, 9, 1, 2, 3, 10, 20, 30},
        {STR("file:///m1"), 11, 0, 1, 5, 5, 8, 0, 0, 0, 0,  0,  0 }
    };
    ManifestFile *back;
    size_t count;
    manifest_list_write(9, -1, 4, rows, 2, &file);
    CHECK_OK(manifest_list_read(text_bytes(&file), &arena, &back, &count, &err));
    CHECK_INT(count, 2);
    CHECK(str_is(back[0].path, "file:///m0") && back[0].existing == 2 && back[0].sequence == 4);
    CHECK(back[0].min_sequence == 2 && back[0].deleted_rows == 30 && back[0].length == 10);
    CHECK(back[1].content == 1 && back[1].snapshot_id == 8);
    text_clear(&file);
    manifest_list_write(9, -1, 4, NULL, 0, &file);
    CHECK_OK(manifest_list_read(text_bytes(&file), &arena, &back, &count, &err));
    CHECK_INT(count, 0);
}

TEST("a manifest with one byte changed or cut off is refused or reads as a manifest, never worse") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text file = {0};
    ManifestColumn column = {1, 10, 20, 0, 0, true, true, STR("lo"), STR("hi")};
    ManifestEntry entry = {ENTRY_ADDED, 0, 0, 0, STR("file:///a"), 1, 1, &column, 1}, *back;
    ManifestFile row;
    size_t count, refused = 0;
    write_entries(&entry, 1, &file, &row);
    for (size_t i = 0; i < file.len; i++) {
        char kept = file.data[i];
        file.data[i] = (char)(kept ^ 0x41);
        refused += !manifest_read(text_bytes(&file), &row, true, &arena, &back, &count, &err);
        file.data[i] = kept;
        Bytes cut = {(uint8_t *)file.data, i};
        bool whole = manifest_read(cut, &row, true, &arena, &back, &count, &err);
        CHECK(!whole || count == 0); /* cut between header and block: an empty container */
    }
    CHECK(refused > file.len / 10);
}

/* A container of one int per row, by hand. */
static void container(Text *out, const char *schema, const char *codec, int64_t rows, Str block) {
    text_clear(out);
    text_add(out, (Str){"Obj\1", 4});
    avro_long(out, 2);
    avro_bytes(out, STR("avro.schema"));
    avro_bytes(out, str_from(schema));
    avro_bytes(out, STR("avro.codec"));
    avro_bytes(out, str_from(codec));
    avro_long(out, 0);
    text_add(out, STR("0123456789abcdef"));
    avro_long(out, rows);
    avro_bytes(out, block);
    text_add(out, STR("0123456789abcdef"));
}

typedef struct Sum {
    int64_t rows, total;
} Sum;

static bool sum_value(void *context, int32_t id, const AvroValue *value, Err *unused) {
    (void)id, (void)unused;
    ((Sum *)context)->total += value->integer;
    return true;
}

static bool sum_row(void *context, Err *unused) {
    (void)unused;
    ((Sum *)context)->rows++;
    return true;
}

static bool sum_read(const Text *file, Sum *sum) {
    AvroVisitor visitor = {sum, sum_value, sum_row};
    *sum = (Sum){0};
    err = (Err){0};
    return avro_read(text_bytes(file), &visitor, &err);
}

TEST("the null codec is read, an unknown one is refused by name") {
    OWNED(text_close) Text file = {0};
    Sum sum;
    container(&file, "\"int\"", "null", 3, (Str){"\x02\x04\x06", 3});
    CHECK(sum_read(&file, &sum));
    CHECK(sum.rows == 3 && sum.total == 6);
    container(&file, "\"int\"", "zstandard", 3, (Str){"\x02\x04\x06", 3});
    CHECK(!sum_read(&file, &sum));
    CHECK_INT(err.kind, LH_IMPOSSIBLE);
    CHECK(strstr(err.message, "zstandard"));
}

TEST("negative block counts, maps, unions and nested records are read") {
    OWNED(text_close) Text file = {0};
    Sum sum;
    const char *schema =
        "{\"type\":\"record\",\"name\":\"r\",\"fields\":["
        "{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":\"long\"}},"
        "{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"int\"}},"
        "{\"name\":\"u\",\"type\":[\"null\",\"int\"]},"
        "{\"name\":\"f\",\"type\":{\"type\":\"fixed\",\"name\":\"x\",\"size\":2}}]}";
    /* [1,2] as -2 items of 2 bytes; {k:3}; some 4; two bytes */
    Str block = {"\x03\x04\x02\x04\x00\x02\x02k\x06\x00\x02\x08zz", 14};
    container(&file, schema, "null", 1, block);
    CHECK(sum_read(&file, &sum));
    CHECK_INT(sum.total, 10);
}

TEST("counts, depths and sizes that a file cannot have are refused at once") {
    OWNED(text_close) Text file = {0};
    OWNED(text_close) Text deep = {0};
    Sum sum;
    container(&file, "\"null\"", "null", 1000000000000, STR("")); /* rows of no bytes */
    CHECK(!sum_read(&file, &sum));
    container(&file, "{\"type\":\"array\",\"items\":\"null\"}", "null", 1,
              (Str){"\xfe\xff\xff\xff\xff\xff\x03\x00", 8}); /* items of no bytes */
    CHECK(!sum_read(&file, &sum));
    container(&file, "\"string\"", "null", 1, (Str){"\xfe\xff\xff\xff\x0f", 5});
    CHECK(!sum_read(&file, &sum));
    container(&file, "[\"int\"]", "null", 1, (Str){"\x04\x02", 2}); /* a branch that is not */
    CHECK(!sum_read(&file, &sum));
    for (int i = 0; i < 100; i++) text_add(&deep, STR("{\"type\":\"array\",\"items\":"));
    text_add(&deep, STR("\"int\""));
    for (int i = 0; i < 100; i++) text_add_byte(&deep, '}');
    text_add_byte(&deep, 0);
    container(&file, deep.data, "null", 0, STR(""));
    CHECK(!sum_read(&file, &sum));
    CHECK(strstr(err.message, "too deep"));
}

TEST("a block that inflates beyond the limit is refused before memory is") {
    OWNED(avro_writer_close) AvroWriter writer;
    Sum sum;
    avro_begin(&writer, STR("{\"type\":\"array\",\"items\":\"int\"}"), NULL, 0);
    size_t size = AVRO_BLOCK_MAX + 100;
    avro_long(&writer.block, (int64_t)size);
    memset(text_reserve(&writer.block, size), 0, size);
    writer.block.len += size;
    avro_long(&writer.block, 0);
    avro_row_end(&writer);
    CHECK(writer.out.len < size / 500);
    CHECK(!sum_read(&writer.out, &sum));
    CHECK(strstr(err.message, "inflates to more than"));
}

/* The manifests of a table that another engine deletes rows from. */
TEST("delete files, other formats and encrypted files are refused by name") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text file = {0};
    const struct {
        const char *field;
        Str block;
        const char *word;
    } cases[] = {
        {"{\"name\":\"content\",\"type\":\"int\",\"field-id\":134}",                   {"\x02", 1}, "delete_files"},
        {"{\"name\":\"content\",\"type\":\"int\",\"field-id\":134}",                   {"\x04", 1}, "delete_files"},
        {"{\"name\":\"file_format\",\"type\":\"string\",\"field-id\":101}",
         {"\x06ORC", 4},
         "file_format"                                                                                            },
        {"{\"name\":\"key_metadata\",\"type\":[\"null\",\"bytes\"],\"field-id\":131}",
         {"\x02\x02k", 3},
         "encrypted_file"                                                                                         },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        Str schema = arena_print(&arena, "{\"type\":\"record\",\"name\":\"e\",\"fields\":[%s]}",
                                 cases[i].field);
        ManifestEntry *entries;
        ManifestFile row = {0};
        size_t count;
        container(&file, arena_cstr(&arena, schema), "null", 1, cases[i].block);
        CHECK(!manifest_read(text_bytes(&file), &row, false, &arena, &entries, &count, &err));
        CHECK_INT(err.kind, LH_IMPOSSIBLE);
        CHECK_STR(str_from(err_word(&err)), cases[i].word);
    }
}
