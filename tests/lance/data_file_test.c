#include "lance/data_file.h"
#include "lance/lance_kit.h"

static Bytes write_file(uint32_t minor, const LanceSchema *schema, size_t pages, size_t rows,
                        Arena *arena) {
    OWNED(store_close) Store *store = kit_store(kit_dir());
    OWNED(lance_file_discard) LanceFileWriter *writer = NULL;
    uint64_t size, total;
    uint32_t number;
    Bytes bytes;
    CHECK_OK(lance_file_create(store, STR("f.lance"), minor, schema, &writer, &err));
    lance_file_meta(writer, STR("what"), bytes_of(STR("a test")));
    CHECK_OK(lance_file_add_buffer(writer, bytes_of(STR("global")), &number, &err));
    CHECK_INT(number, 1);
    for (size_t p = 0; p < pages; p++) {
        LanceBatch batch = made_rows(schema, p * rows, rows, arena);
        for (size_t c = 0; c < schema->len; c++)
            CHECK_OK(lance_file_page(writer, c, &batch.columns[c], rows, &err));
    }
    CHECK_OK(lance_file_finish(writer, &size, &total, &err));
    CHECK_INT(total, pages * rows);
    CHECK_OK(store_read(store, STR("f.lance"), 1 << 24, arena, &bytes, &err));
    CHECK_INT(bytes.size, size);
    CHECK_OK(store_remove(store, STR("f.lance"), &err));
    return bytes;
}

static void check_file(uint32_t minor) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(lance_file_close) LanceFile *file = NULL;
    LanceSchema schema = kit_schema(&arena);
    Bytes bytes = write_file(minor, &schema, 4, 100, &arena), found;
    CHECK_OK(lance_file_open_bytes(bytes, &file, &err));
    uint32_t major, said;
    lance_file_version(file, &major, &said);
    CHECK(major == 2 && said == minor);
    CHECK_INT(lance_file_rows(file), 400);
    CHECK_INT(lance_file_columns(file), schema.len);
    CHECK(lance_file_find_meta(file, STR("what"), &found));
    CHECK_STR(str_of(found), "a test");
    CHECK_OK(lance_file_buffer(file, 1, &arena, &found, &err));
    CHECK_STR(str_of(found), "global");
    CHECK(!lance_file_buffer(file, 2, &arena, &found, &err));
    static const uint64_t ranges[][2] = {
        {0,   400},
        {0,   1  },
        {5,   1  }, /* an empty text alone */
        {99,  2  },
        {150, 120},
        {399, 1  },
        {400, 0  }
    };
    for (size_t c = 0; c < schema.len; c++) {
        const LanceField *field = lance_file_field(file, c);
        CHECK(str_equal(field->name, schema.fields[c].name));
        CHECK(str_equal(field->type.logical, schema.fields[c].type.logical));
        for (size_t r = 0; r < COUNT(ranges); r++) {
            LanceColumn column;
            CHECK_OK(lance_file_read(file, c, &field->type, ranges[r][0], ranges[r][1], &arena,
                                     &column, &err));
            for (size_t i = 0; i < ranges[r][1]; i++)
                kit_check_value(&schema.fields[c], &column, i, ranges[r][0] + i);
        }
    }
    LanceColumn column;
    CHECK(!lance_file_read(file, 0, &schema.fields[0].type, 399, 2, &arena, &column, &err));
    CHECK_INT(err.kind, LH_CORRUPT);
}

TEST("a file of any version keeps its schema, its metadata, its global buffers, and any range of "
     "any "
     "column over pages") {
    for (uint32_t minor = 0; minor <= 2; minor++) check_file(minor);
}

TEST("a file cut short at any byte is refused") {
    OWNED(arena_close) Arena arena = {0};
    LanceSchema schema = kit_small_schema();
    Bytes bytes = write_file(2, &schema, 2, 10, &arena);
    for (size_t size = 0; size < bytes.size; size++) {
        OWNED(arena_close) Arena copies = {0};
        LanceFile *file;
        /* In memory of just that size, so that a sanitizer sees a byte read beyond it. */
        Bytes cut = {memcpy(malloc(size + 1), bytes.data, size), size};
        CHECK(!lance_file_open_bytes(cut, &file, &err));
        free((void *)(uintptr_t)cut.data);
    }
}

static void change_each_byte(uint32_t minor) {
    OWNED(arena_close) Arena arena = {0};
    LanceSchema schema = kit_schema(&arena);
    Bytes bytes = write_file(minor, &schema, 1, 20, &arena);
    uint8_t *changed = malloc(bytes.size);
    for (size_t at = 0; at < bytes.size; at++) {
        OWNED(lance_file_close) LanceFile *file = NULL;
        OWNED(arena_close) Arena scratch = {0};
        LanceColumn column;
        memcpy(changed, bytes.data, bytes.size);
        changed[at] ^= (uint8_t)(1u << at % 8) | 0x80;
        if (!lance_file_open_bytes((Bytes){changed, bytes.size}, &file, &err)) continue;
        for (size_t c = 0; c < lance_file_columns(file) && c < schema.len; c++)
            (void)lance_file_read(file, c, &schema.fields[c].type, 0, 20, &scratch, &column, &err);
    }
    free(changed);
}

TEST("with any byte changed, a file is read or refused, and never read beyond its end") {
    for (uint32_t minor = 0; minor <= 2; minor++) change_each_byte(minor);
}
