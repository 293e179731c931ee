/* A fragment that is being written: see fragment_write.h. */
#include "lance/fragment_write.h"
#include "lance/page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 40 /* 32 hex digits and ".lance" */

struct FragmentWriter {
    LanceTable *table;
    Snapshot *snapshot;
    const LanceSchema *schema; /* the snapshot's, or the caller's */
    LanceFileWriter *file;
    char name[NAME_SIZE];
    uint32_t minor; /* of its file's version, which is the table's */
    uint64_t rows;
};

static bool schema_check(const LanceSchema *schema, Err *err) {
    for (size_t i = 0; i < schema->len; i++)
        if (schema->fields[i].type.kind == LANCE_OTHER)
            return lance_unsupported(err, "column '%.*s' has the type '%.*s', which is not written",
                                     SHOW(schema->fields[i].name),
                                     SHOW(schema->fields[i].type.logical));
    return true;
}

bool fragment_writer_open(LanceTable *table, const LanceSchema *schema, FragmentWriter **out,
                          Err *err) {
    OWNED(fragment_writer_close) FragmentWriter *writer = calloc(1, sizeof *writer);
    OWNED(arena_close) Arena arena = {0};
    if (!writer) abort();
    writer->table = table;
    writer->snapshot = table_snapshot(table);
    const Manifest *manifest = snapshot_manifest(writer->snapshot);
    writer->schema = schema ? schema : &manifest->schema;
    snprintf(writer->name, sizeof writer->name, "%016llx%016llx.lance",
             (unsigned long long)random_u64(), (unsigned long long)random_u64());
    if (!manifest_check_writable(manifest, err) || !schema_check(writer->schema, err) ||
        !file_version_read(manifest->file_version, &writer->minor, err))
        return false;
    Str key = data_key(table_path(table), str_from(writer->name), &arena);
    if (!lance_file_create(table_store(table), key, writer->minor, writer->schema, &writer->file,
                           err))
        return false;
    *out = TAKE(writer);
    return true;
}

static bool batch_check(const LanceSchema *schema, const LanceBatch *rows, Err *err) {
    if (rows->column_count != schema->len)
        return err_set(err, LH_INVALID, "the table has %zu columns, the rows have %zu", schema->len,
                       rows->column_count);
    if (rows->rows > LANCE_BATCH_ROWS_MAX)
        return err_set(err, LH_TOO_BIG, "a batch has at most %u rows, not %zu",
                       LANCE_BATCH_ROWS_MAX, rows->rows);
    for (size_t i = 0; i < schema->len; i++) {
        const LanceField *field = &schema->fields[i];
        const LanceColumn *column = &rows->columns[i];
        for (size_t row = 0; !field->nullable && row < rows->rows; row++)
            if (field->type.kind == LANCE_NULL || lance_is_null(column, row))
                return err_set(err, LH_INVALID, "column '%.*s' may not be null, row %zu is",
                               SHOW(field->name), row);
    }
    return true;
}

bool fragment_writer_add(FragmentWriter *writer, const LanceBatch *rows, Err *err) {
    const LanceSchema *schema = writer->schema;
    if (!batch_check(schema, rows, err)) return false;
    if (rows->rows > LANCE_FRAGMENT_ROWS_MAX - writer->rows)
        return err_set(err, LH_TOO_BIG, "a fragment has at most %u rows", LANCE_FRAGMENT_ROWS_MAX);
    for (size_t i = 0; i < schema->len; i++)
        if (!lance_file_page(writer->file, i, &rows->columns[i], rows->rows, err)) return false;
    writer->rows += rows->rows;
    return true;
}

bool fragment_writer_finish(FragmentWriter *writer, Arena *arena, Fragment *out, Err *err) {
    const LanceSchema *schema = writer->schema;
    LanceDataFile *file = arena_new(arena, LanceDataFile);
    *file = (LanceDataFile){.path = arena_copy(arena, str_from(writer->name)),
                            .field_count = schema->len,
                            .major = 2,
                            .minor = writer->minor};
    file->fields = arena_array(arena, int32_t, schema->len);
    file->columns = arena_array(arena, int32_t, schema->len);
    for (size_t i = 0; i < schema->len; i++) {
        file->fields[i] = schema->fields[i].id;
        file->columns[i] = (int32_t)i;
    }
    if (writer->rows > 0 && !lance_file_finish(writer->file, &file->size, NULL, err)) return false;
    *out = (Fragment){.physical_rows = writer->rows, .files = file, .file_count = 1};
    fragment_encode(out, arena);
    return true;
}

void fragment_writer_drop(FragmentWriter *writer) {
    OWNED(arena_close) Arena arena = {0};
    Err ignored = {0};
    store_remove(table_store(writer->table),
                 data_key(table_path(writer->table), str_from(writer->name), &arena), &ignored);
}

void fragment_writer_close(FragmentWriter **out) {
    FragmentWriter *writer = *out;
    if (!writer) return;
    lance_file_discard(&writer->file);
    snapshot_release(&writer->snapshot);
    free(writer);
    *out = NULL;
}
