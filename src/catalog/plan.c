/* Which field ids the files of a coming commit must carry, and whether its columns agree with the
 * table's. */
#include "catalog/catalog.h"

#include "base/base.h"
#include "catalog/entry.h"
#include "catalog/type.h"

#include <string.h>

#define DECIMAL_DIGITS_MAX 38
#define DECIMAL_DIGITS_OF_INT 10
#define DECIMAL_DIGITS_OF_LONG 19

static bool column_check(const Schema *wanted, size_t at, Err *err) {
    Str name = wanted->fields[at].name;
    if (name.len == 0 || !str_is_utf8(name))
        return err_code(err, LH_INVALID, "bad_column_name", "column %zu has no usable name",
                        at + 1);
    for (size_t i = 0; i < at; i++)
        if (str_equal_nocase(wanted->fields[i].name, name))
            return err_code(err, LH_INVALID, "duplicate_column",
                            "the columns '%.*s' and '%.*s' differ at most by case",
                            SHOW(wanted->fields[i].name), SHOW(name));
    return true;
}

static bool columns_check(const Schema *wanted, Err *err) {
    if (wanted->len < 1 || wanted->len > CATALOG_COLUMNS_MAX)
        return err_code(err, LH_INVALID, "bad_columns", "a dataset has 1 to %d columns, not %zu",
                        CATALOG_COLUMNS_MAX, wanted->len);
    for (size_t i = 0; i < wanted->len; i++)
        if (!column_check(wanted, i, err)) return false;
    return true;
}

/* As type_equal, and the names inside structs agree too: readers match those by name. */
static bool same_shape(const Type *a, const Type *b) {
    if (!type_equal(a, b)) return false;
    for (size_t i = 0; i < a->field_count; i++) {
        if (a->kind == TYPE_STRUCT && !str_equal(a->fields[i].name, b->fields[i].name))
            return false;
        if (!same_shape(&a->fields[i].type, &b->fields[i].type)) return false;
    }
    return true;
}

/* Whether each value of `from` is one of `to`: then the files are written in the table's type. */
static bool fits(const Type *from, const Type *to) {
    int whole = to->precision - to->scale;
    if (same_shape(from, to)) return true;
    switch (from->kind) {
    case TYPE_INT:
        return to->kind == TYPE_LONG || to->kind == TYPE_DOUBLE ||
               (to->kind == TYPE_DECIMAL && whole >= DECIMAL_DIGITS_OF_INT);
    case TYPE_LONG:
        return to->kind == TYPE_DECIMAL && whole >= DECIMAL_DIGITS_OF_LONG;
    case TYPE_FLOAT:
        return to->kind == TYPE_DOUBLE;
    case TYPE_DATE:
        return to->kind == TYPE_TIMESTAMP;
    case TYPE_DECIMAL:
        return to->kind == TYPE_DECIMAL && to->scale >= from->scale &&
               whole >= from->precision - from->scale;
    default:
        return false;
    }
}

static void difference(Text *out, const char *format, Str name, Str a, Str b) {
    if (out->len) text_add(out, STR("; "));
    text_print(out, format, SHOW(name), SHOW(a), SHOW(b));
}

static void is_new(Text *why, const Field *field, Arena *arena) {
    difference(why, "'%.*s' (%.*s) is not a column of the dataset%.*s", field->name,
               type_sql(&field->type, arena), STR(""));
}

static void is_other(Text *why, const Field *field, const Field *there, Arena *arena) {
    difference(why, "'%.*s' is %.*s, in the dataset it is %.*s", field->name,
               type_sql(&field->type, arena), type_sql(&there->type, arena));
}

static void is_missing(Text *why, const Field *there, Str besides, Arena *arena) {
    difference(why, "'%.*s' (%.*s) is missing%.*s", there->name, type_sql(&there->type, arena),
               besides);
}

static bool agrees(const Text *why, const Table *table, Err *err) {
    return why->len == 0 ||
           err_code(err, LH_CONFLICT, "schema_mismatch", "the columns do not agree with '%s': %.*s",
                    table->name, SHOW(text_str(why)));
}

static bool append_schema(const Table *table, const Schema *wanted, Arena *arena, Schema *out,
                          Err *err) {
    OWNED(text_close) Text why = {0};
    const Schema *has = table_schema(table);
    for (size_t i = 0; i < wanted->len; i++) {
        const Field *field = &wanted->fields[i], *there = schema_find(has, field->name);
        if (!there)
            is_new(&why, field, arena);
        else if (!fits(&field->type, &there->type))
            is_other(&why, field, there, arena);
        else
            out->fields[i] = *fields_copy(there, 1, arena);
    }
    for (size_t i = 0; i < has->len; i++)
        if (!schema_find(wanted, has->fields[i].name))
            is_missing(&why, &has->fields[i], STR(""), arena);
    return agrees(&why, table, err);
}

/* Makes *out, the column's type so far, the least that it may become to hold the values of both. */
static bool wider(const Type *has, const Type *wanted, Type *out) {
    Type type = *wanted;
    if (fits(wanted, has)) return true; /* it stays what it is */
    if (has->kind == TYPE_DECIMAL && wanted->kind == TYPE_DECIMAL) {
        int whole = MAX(has->precision - has->scale, wanted->precision - wanted->scale);
        type = *has;
        type.precision = whole + has->scale;
    }
    if (!type_widens(has, &type) || !fits(wanted, &type) || type.precision > DECIMAL_DIGITS_MAX)
        return false;
    return *out = type, true;
}

static bool widen_schema(const Table *table, const Schema *wanted, Arena *arena, Schema *out,
                         Err *err) {
    OWNED(text_close) Text why = {0};
    const Schema *has = table_schema(table);
    int32_t last_id = table->document->metadata.last_column_id;
    for (size_t i = 0; i < wanted->len; i++) {
        const Field *field = &wanted->fields[i], *there = schema_find(has, field->name);
        out->fields[i] = *fields_copy(there ? there : field, 1, arena);
        if (there && !wider(&there->type, &field->type, &out->fields[i].type))
            is_other(&why, field, there, arena);
    }
    for (size_t i = 0; i < has->len; i++) {
        if (schema_find(wanted, has->fields[i].name)) continue;
        if (has->fields[i].required)
            is_missing(&why, &has->fields[i], STR(" and may not be NULL"), arena);
        out->fields[out->len++] = *fields_copy(&has->fields[i], 1, arena);
    }
    if (!agrees(&why, table, err)) return false;
    schema_assign_ids(out, &last_id);
    return columns_check(out, err);
}

/* A column that stays what it was keeps its id; any other gets one that was never used. */
static void fresh_schema(const Table *table, const Schema *wanted, Arena *arena, Schema *out) {
    int32_t last_id = table ? table->document->metadata.last_column_id : 0;
    Field *copies = fields_copy(wanted->fields, wanted->len, arena);
    for (size_t i = 0; i < wanted->len; i++) {
        const Field *there = table ? schema_find(table_schema(table), copies[i].name) : NULL;
        out->fields[i] = there && same_shape(&there->type, &copies[i].type)
                             ? *fields_copy(there, 1, arena)
                             : copies[i];
    }
    schema_assign_ids(out, &last_id);
}

static bool plan_mode(const DatasetName *name, CommitMode mode, const Table *table, Err *err) {
    if (mode == COMMIT_CREATE && table)
        return err_code(err, LH_CONFLICT, "dataset_exists", "a dataset named '%s' exists",
                        name->shown);
    if (table && table->document->metadata.partitioned)
        return err_code(err, LH_IMPOSSIBLE, "partitioned",
                        "dataset '%s' is partitioned by another engine, which must write it",
                        name->shown);
    return true;
}

typedef struct Wanted {
    Str dataset, bucket;
    CommitMode mode;
    bool widen;
    const Schema *schema;
} Wanted;

static bool plan_schema(const Table *table, const Wanted *wanted, Arena *arena, Schema *out,
                        Err *err) {
    if (wanted->widen) return widen_schema(table, wanted->schema, arena, out, err);
    if (wanted->mode == COMMIT_APPEND) return append_schema(table, wanted->schema, arena, out, err);
    fresh_schema(table, wanted->schema, arena, out);
    return true;
}

static bool plan(Catalog *catalog, const Wanted *wanted, Arena *arena, const Schema **out,
                 Str *home_bucket, Str *location_key, Err *err) {
    OWNED(table_release) Table *table = NULL;
    OWNED(bucket_release) Bucket *home = NULL;
    DatasetName name;
    if (!dataset_name_read(wanted->dataset, &name, err) || !columns_check(wanted->schema, err))
        return false;
    if (!catalog_load(catalog, wanted->dataset, 0, &table, err)) {
        if (!dataset_is_free(err) || wanted->mode == COMMIT_APPEND) return false;
        *err = (Err){0};
    }
    if (!plan_mode(&name, wanted->mode, table, err)) return false;
    Str where = table ? table_bucket(table) : wanted->bucket.len ? wanted->bucket : STR("primary");
    if (!bucket_find(catalog->buckets, where, &home, err)) return false;
    if (!table && !home_check(catalog, home, err)) return false;
    size_t most = wanted->schema->len + (table ? table_schema(table)->len : 0);
    Schema *schema = arena_new(arena, Schema);
    *schema = (Schema){.fields = arena_array(arena, Field, most), .len = wanted->schema->len};
    if (!plan_schema(table, wanted, arena, schema, err)) return false;
    *out = schema;
    *home_bucket = arena_copy(arena, where);
    *location_key = arena_copy(arena, str_from(name.key));
    return true;
}

bool catalog_plan(Catalog *catalog, Str dataset, CommitMode mode, Str bucket, const Schema *wanted,
                  Arena *arena, const Schema **out, Str *home_bucket, Str *location_key, Err *err) {
    const Wanted what = {.dataset = dataset, .bucket = bucket, .mode = mode, .schema = wanted};
    return plan(catalog, &what, arena, out, home_bucket, location_key, err);
}

bool catalog_plan_widen(Catalog *catalog, Str dataset, const Schema *wanted, Arena *arena,
                        const Schema **out, Str *home_bucket, Str *location_key, Err *err) {
    const Wanted what = {
        .dataset = dataset, .mode = COMMIT_APPEND, .widen = true, .schema = wanted};
    return plan(catalog, &what, arena, out, home_bucket, location_key, err);
}
