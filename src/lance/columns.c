/* Columns of a table by name, and of a fragment by file: see columns.h. */
#include "lance/columns.h"

#define READ_ROWS 8192

bool columns_find(const Manifest *manifest, const Str *names, size_t count, Arena *arena,
                  const LanceField ***out, Err *err) {
    const LanceField **fields = arena_array(arena, const LanceField *, count);
    for (size_t i = 0; i < count; i++) {
        fields[i] = manifest_field(manifest, names[i]);
        if (!fields[i])
            return err_code(err, LH_MISSING, "column_not_found", "the table has no column '%.*s'",
                            SHOW(names[i]));
        if (fields[i]->type.kind == LANCE_OTHER)
            return lance_unsupported(err, "column '%.*s' has the type '%.*s', which is not read",
                                     SHOW(names[i]), SHOW(fields[i]->type.logical));
    }
    *out = fields;
    return true;
}

bool fragment_columns_open(LanceTable *table, const Fragment *fragment, const LanceField **fields,
                           size_t count, Arena *arena, FragmentColumns *out, Err *err) {
    OWNED(fragment_columns_close)
    FragmentColumns columns = {.table = table, .fields = fields, .count = count};
    columns.files = arena_array(arena, LanceFile *, count);
    columns.columns = arena_array(arena, size_t, count);
    for (size_t i = 0; i < count; i++)
        if (!table_field_file(table, fragment, fields[i]->id, &columns.files[i],
                              &columns.columns[i], err))
            return err_while(err, "column '%.*s'", SHOW(fields[i]->name));
    *out = columns;
    columns = (FragmentColumns){0};
    return true;
}

void fragment_columns_close(FragmentColumns *columns) {
    for (size_t i = 0; i < columns->count; i++)
        table_release_file(columns->table, &columns->files[i]);
    *columns = (FragmentColumns){0};
}

static bool all_null(const LanceType *type, size_t count, Arena *arena, LanceColumn *out,
                     Err *err) {
    Builder builder;
    if (!builder_open(&builder, type, count, arena, err)) return false;
    builder_nulls(&builder, count);
    builder_finish(&builder, out);
    return true;
}

bool fragment_columns_read(const FragmentColumns *columns, uint64_t from, size_t count,
                           Arena *arena, LanceColumn *out, Err *err) {
    for (size_t i = 0; i < columns->count; i++) {
        const LanceType *type = &columns->fields[i]->type;
        bool ok = columns->files[i] ? lance_file_read(columns->files[i], columns->columns[i], type,
                                                      from, count, arena, &out[i], err)
                                    : all_null(type, count, arena, &out[i], err);
        if (!ok) return err_while(err, "column '%.*s'", SHOW(columns->fields[i]->name));
    }
    return true;
}

bool fragment_visit(LanceTable *table, Snapshot *snapshot, size_t place, const LanceField *field,
                    RowVisit *visit, void *context, Err *err) {
    OWNED(arena_close) Arena opened = {0};
    OWNED(fragment_columns_close) FragmentColumns columns = {0};
    const Fragment *fragment = &snapshot_manifest(snapshot)->fragments[place];
    const NumberSet *deleted;
    if (!fragment_columns_open(table, fragment, &field, 1, &opened, &columns, err) ||
        !snapshot_deleted(table, snapshot, place, &deleted, err))
        return false;
    for (uint64_t at = 0; at < fragment->physical_rows; at += READ_ROWS) {
        OWNED(arena_close) Arena arena = {0};
        LanceColumn column;
        size_t count = (size_t)MIN((uint64_t)READ_ROWS, fragment->physical_rows - at);
        if (!fragment_columns_read(&columns, at, count, &arena, &column, err)) return false;
        for (size_t i = 0; i < count; i++)
            if (!set_has(deleted, at + i))
                visit(context, &column, i, fragment->id << 32 | (at + i));
    }
    return true;
}
