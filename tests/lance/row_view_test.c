#include "lance/lance_kit.h"

TEST("rows have numbers in order of address without the deleted ones, and their values of every "
     "type") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_schema(&arena);
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    OWNED(lance_rows_close) LanceRows *rows = NULL;
    const uint64_t gone[] = {0, 7, 8, 1ull << 32 | 99, 2ull << 32 | 4};
    for (uint64_t i = 0; i < 3; i++) CHECK_OK(kit_append(table, &schema, i * 100, 100));
    CHECK_OK(lance_delete(table, gone, COUNT(gone), NULL, &err));
    CHECK_OK(lance_rows_open(table, kit_names(&schema, &arena), schema.len, &rows, &err));
    CHECK_INT(lance_rows_count(rows), 295);
    uint64_t row = 0;
    for (uint64_t n = 0; n < 300; n++) {
        uint64_t address = n / 100 << 32 | n % 100;
        bool deleted = false;
        for (size_t i = 0; i < COUNT(gone); i++) deleted |= gone[i] == address;
        CHECK(lance_rows_number(rows, address) == (deleted ? UINT64_MAX : row));
        if (deleted) continue;
        CHECK(lance_rows_address(rows, row) == address);
        for (size_t c = 0; c < schema.len; c++) {
            const LanceType *type = &schema.fields[c].type;
            bool text = type->kind == LANCE_TEXT || type->kind == LANCE_BINARY;
            if (!text && (type->bits == 0 || type->bits % 8)) continue;
            if (made_has_null_items(type)) continue; /* which cannot be told here */
            uint64_t offsets[2] = {0};
            LanceColumn column = {.validity = (const uint8_t *)"\1"};
            if (text) {
                Str value = lance_rows_text(rows, c, row);
                column.values = value.data;
                column.offsets = offsets;
                offsets[1] = value.len;
                if (made_is_null(&schema.fields[c], n)) CHECK_INT(value.len, 0);
            } else {
                column.values = lance_rows_value(rows, c, row);
                CHECK((column.values == NULL) == made_is_null(&schema.fields[c], n));
            }
            if (!made_is_null(&schema.fields[c], n))
                kit_check_value(&schema.fields[c], &column, 0, n);
        }
        row++;
    }
    CHECK(lance_rows_number(rows, 3ull << 32) == UINT64_MAX);
    CHECK(lance_rows_number(rows, 100) == UINT64_MAX);
}

TEST("rows that were opened stay what they were while the table's are replaced in one version") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_small_schema();
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    OWNED(lance_rows_close) LanceRows *rows = NULL;
    OWNED(lance_writer_close) LanceWriter *writer = NULL;
    int64_t ids[100];
    for (uint64_t i = 0; i < 3; i++) CHECK_OK(kit_append(table, &schema, i * 10, 10));
    CHECK_OK(lance_rows_open(table, kit_names(&schema, &arena), schema.len, &rows, &err));
    uint64_t version = kit_version(table);
    LanceBatch batch = made_rows(&schema, 500, 20, &arena);
    CHECK_OK(lance_writer_open(table, NULL, &writer, &err));
    CHECK_OK(lance_writer_add(writer, &batch, &err));
    CHECK_OK(lance_writer_replace(writer, &err));
    CHECK_INT(kit_version(table), version + 1);
    CHECK_INT(kit_ids(table, ids, COUNT(ids)), 20);
    for (size_t i = 0; i < 20; i++) CHECK(ids[i] == -1 || ids[i] == (int64_t)(500 + i));
    CHECK_INT(lance_rows_count(rows), 30);
    CHECK(lance_rows_text(rows, 1, 12).len > 0);
    lance_writer_close(&writer);
    CHECK_OK(lance_writer_open(table, NULL, &writer, &err));
    CHECK_OK(lance_writer_replace(writer, &err)); /* by nothing */
    CHECK_INT(kit_rows(table), 0);
}
