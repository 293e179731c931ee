/* A table in a fresh store, for the tests of lance. */
#pragma once

#include "kit/kit.h"
#include "lance/made_rows.h"

#include <stdlib.h>

static Err err;

static const char *const kit_file_versions[] = {"2.0", "2.1", "2.2"};

static const char *const kit_types[] = {
    "string",
    "binary",
    "bool",
    "int8",
    "int32",
    "uint64",
    "halffloat",
    "float",
    "double",
    "timestamp:us:UTC",
    "decimal:128:20:2",
    "fixed_size_binary:3",
    "fixed_size_list:float:5",
    "fixed_size_list:uint8:2",
    "fixed_size_list:double:3",
    "fixed_size_binary:300",
    "large_string",
    "null",
};

/* Each type twice: nullable and not, but for null itself. */
static inline LanceSchema kit_schema(Arena *arena) {
    LanceSchema schema = {.fields = arena_array(arena, LanceField, COUNT(kit_types) * 2)};
    for (size_t i = 0; i < COUNT(kit_types) * 2; i++) {
        LanceType type = lance_type(str_from(kit_types[i / 2]));
        if (type.kind == LANCE_NULL && i % 2) continue;
        schema.fields[schema.len++] = (LanceField){
            .name = arena_print(arena, "c%zu", i), .type = type, .nullable = i % 2 == 0};
    }
    return schema;
}

static inline LanceSchema kit_small_schema(void) {
    static LanceField fields[2];
    fields[0] = (LanceField){.name = STR("id"), .type = lance_type(STR("int64")), .nullable = true};
    fields[1] =
        (LanceField){.name = STR("text"), .type = lance_type(STR("string")), .nullable = true};
    return (LanceSchema){fields, 2};
}

static inline Store *kit_store(const char *dir) {
    Store *store;
    CHECK_OK(store_local_open(str_from(dir), &store, &err));
    return store;
}

static inline LanceTable *kit_table_in(Store *store, const char *file_version,
                                       const LanceSchema *schema) {
    LanceTable *table;
    CHECK_OK(lance_create_in(store, STR("a/t.lance"), file_version, schema, &table, &err));
    return table;
}

static inline LanceTable *kit_table(Store *store, const LanceSchema *schema) {
    return kit_table_in(store, "2.0", schema);
}

static inline bool kit_append(LanceTable *table, const LanceSchema *schema, uint64_t from,
                              size_t rows) {
    OWNED(arena_close) Arena arena = {0};
    LanceBatch batch = made_rows(schema, from, rows, &arena);
    return lance_append(table, &batch, &err);
}

static inline uint64_t kit_rows(LanceTable *table) {
    LanceInfo info;
    lance_info(table, &info);
    return info.rows;
}

static inline uint64_t kit_version(LanceTable *table) {
    LanceInfo info;
    lance_info(table, &info);
    return info.version;
}

static inline Str *kit_names(const LanceSchema *schema, Arena *arena) {
    Str *names = arena_array(arena, Str, schema->len);
    for (size_t i = 0; i < schema->len; i++) names[i] = schema->fields[i].name;
    return names;
}

/* Whether row `row` of a column is row `n` of made_rows.h. */
static inline void kit_check_value(const LanceField *field, const LanceColumn *column, size_t row,
                                   uint64_t n) {
    OWNED(arena_close) Arena arena = {0};
    const LanceType *type = &field->type;
    LanceSchema one = {.fields = (LanceField *)(uintptr_t)field, .len = 1};
    LanceColumn made = *made_rows(&one, n, 1, &arena).columns;
    bool null = made_is_null(field, n);
    CHECK_INT(type->kind == LANCE_NULL || lance_is_null(column, row), null);
    if (null) return;
    size_t width = type->bits / 8 * type->dimension;
    const uint8_t *values = column->values;
    if (type->kind == LANCE_TEXT || type->kind == LANCE_BINARY)
        CHECK(str_equal(lance_text(column, row), lance_text(&made, 0)));
    else if (type->kind == LANCE_BOOL)
        CHECK_INT(lance_bit(values, row), lance_bit(made.values, 0));
    else
        CHECK(memcmp(values + row * width, made.values, width) == 0);
    for (uint64_t k = 0; made.items && k < type->dimension; k++)
        CHECK_INT(lance_bit(column->items, row * type->dimension + k), lance_bit(made.items, k));
}

/* The ids of a table of kit_small_schema in order of address, as the numbers they were made of. */
static inline size_t kit_ids(LanceTable *table, int64_t *out, size_t max) {
    OWNED(lance_scan_close) LanceScan *scan = NULL;
    Str name = STR("id");
    LanceScanOptions options = {.columns = &name, .column_count = 1, .batch_rows = 7};
    LanceBatch batch;
    size_t count = 0;
    CHECK_OK(lance_scan(table, &options, &scan, &err));
    do {
        CHECK_OK(lance_scan_next(scan, &batch, &err));
        for (size_t i = 0; i < batch.rows && count < max; i++) {
            int64_t raw;
            memcpy(&raw, (const char *)batch.columns[0].values + i * 8, 8);
            out[count++] = lance_is_null(batch.columns, i) ? -1 : (raw + 500000) / 1000003;
        }
    } while (batch.rows > 0);
    return count;
}
