/* A table in words: what `lakehouse lance inspect` prints. */
#include "lance/table.h"

static void versions_print(const LanceVersion *versions, size_t count, Text *out) {
    char time[CLOCK_TEXT_SIZE];
    text_print(out, "versions: %zu\n", count);
    for (size_t i = 0; i < count; i++) {
        const LanceVersion *version = &versions[i];
        Str at = clock_text(version->committed_ms, time);
        text_print(out, "  %llu  %.*s  %s  %llu rows in %llu fragments\n",
                   (unsigned long long)version->version, SHOW(at),
                   *version->operation ? version->operation : "-",
                   (unsigned long long)version->rows, (unsigned long long)version->fragments);
    }
}

static void schema_print(const LanceSchema *schema, Text *out) {
    text_print(out, "columns: %zu\n", schema->len);
    for (size_t i = 0; i < schema->len; i++) {
        const LanceField *field = &schema->fields[i];
        text_print(out, "  %d  %.*s  %.*s%s%s\n", field->id, SHOW(field->name),
                   SHOW(field->type.logical), field->nullable ? "" : "  not null",
                   field->type.kind == LANCE_OTHER ? "  (not read here)" : "");
    }
}

/* What cannot be read is said and passed over: the rest of the table is of interest all the more.
 */
static void file_print(LanceTable *table, const LanceDataFile *entry, Text *out) {
    OWNED(lance_file_close) LanceFile *file = NULL;
    OWNED(arena_close) Arena arena = {0};
    Err err = {0};
    text_print(out, "    data/%.*s  version %u.%u, %llu bytes, %zu fields\n", SHOW(entry->path),
               entry->major, entry->minor, (unsigned long long)entry->size, entry->field_count);
    Str key = data_key(table_path(table), entry->path, &arena);
    if (!lance_file_open(table_store(table), key, entry->size, &file, &err) ||
        !lance_file_describe(file, out, &err))
        text_print(out, "      %s\n", err.message);
}

static void fragment_print(LanceTable *table, const Fragment *fragment, Text *out) {
    text_print(out, "  %llu  %llu rows, %llu deleted%s%s\n", (unsigned long long)fragment->id,
               (unsigned long long)fragment->physical_rows,
               (unsigned long long)fragment->deletion.rows,
               !fragment->deletion.present                  ? ""
               : fragment->deletion.kind == DELETION_BITMAP ? " (Roaring)"
                                                            : " (Arrow)",
               fragment->unsupported ? ", not read here" : "");
    for (size_t i = 0; i < fragment->file_count; i++) file_print(table, &fragment->files[i], out);
}

static void index_print(const LanceIndex *index, Text *out) {
    OWNED(set_close) NumberSet covered = {0};
    char uuid[UUID_SIZE];
    Err ignored = {0};
    uuid_text(index->uuid, uuid);
    if (index->fragment_bitmap.size)
        roaring_read(index->fragment_bitmap, SET_VALUES_MAX, &covered, &ignored);
    text_print(out, "  %.*s  %s  %.*s, of version %llu, covers %llu fragments, fields",
               SHOW(index->name), uuid, SHOW(index->details_url),
               (unsigned long long)index->dataset_version, (unsigned long long)covered.count);
    for (size_t i = 0; i < index->field_count; i++) text_print(out, " %d", index->fields[i]);
    text_add_byte(out, '\n');
    for (size_t i = 0; i < index->file_count; i++)
        text_print(out, "    %.*s  %llu bytes\n", SHOW(index->files[i].path),
                   (unsigned long long)index->files[i].size);
}

bool lance_inspect(LanceTable *table, Text *out, Err *err) {
    OWNED(snapshot_release) Snapshot *snapshot = table_snapshot(table);
    OWNED(arena_close) Arena arena = {0};
    const Manifest *manifest = snapshot_manifest(snapshot);
    LanceVersion *versions;
    size_t count;
    if (!lance_versions(table, &arena, &versions, &count, err)) return false;
    text_print(out, "table %.*s: version %llu, %llu rows, data files %s\n", SHOW(table_path(table)),
               (unsigned long long)manifest->version, (unsigned long long)manifest_rows(manifest),
               manifest->file_version);
    versions_print(versions, count, out);
    schema_print(&manifest->schema, out);
    text_print(out, "fragments: %zu\n", manifest->fragment_count);
    for (size_t i = 0; i < manifest->fragment_count; i++)
        fragment_print(table, &manifest->fragments[i], out);
    text_print(out, "indexes: %zu\n", manifest->index_count);
    for (size_t i = 0; i < manifest->index_count; i++) index_print(&manifest->indexes[i], out);
    return true;
}
