/* Making a snapshot: its manifests, its list, its summary. */
#include "catalog/commit.h"

#include "base/base.h"
#include "catalog/type.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUMMARY_MAX 24
#define MERGE_COUNT 64           /* small manifests before they are merged */
#define MERGE_SIZE_MAX (4 << 20) /* bytes of a manifest that is left alone */

/* Columns by id, with what decides whether a bound may be written. */

typedef struct Leaf {
    int32_t id;
    const Type *type;
} Leaf;

typedef struct Leaves {
    Leaf *items;
    size_t len, cap;
    Arena *arena;
} Leaves;

/* Inside a list or a map a bound has no row to belong to, so that those are left out. */
static void leaves_add(Leaves *leaves, const Field *fields, size_t len) {
    for (size_t i = 0; i < len; i++) {
        const Type *type = &fields[i].type;
        if (type->kind == TYPE_LIST || type->kind == TYPE_MAP) continue;
        if (type->kind == TYPE_STRUCT) {
            leaves_add(leaves, type->fields, type->field_count);
            continue;
        }
        if (leaves->len == leaves->cap) {
            size_t cap = MAX(leaves->cap * 2, (size_t)32);
            Leaf *items = arena_array(leaves->arena, Leaf, cap);
            if (leaves->len) memcpy(items, leaves->items, leaves->len * sizeof *items);
            leaves->items = items;
            leaves->cap = cap;
        }
        leaves->items[leaves->len++] = (Leaf){fields[i].id, type};
    }
}

static int leaf_order(const void *a, const void *b) {
    int32_t x = ((const Leaf *)a)->id, y = ((const Leaf *)b)->id;
    return (x > y) - (x < y);
}

static const Type *leaf_type(const Leaves *leaves, int32_t id) {
    Leaf wanted = {.id = id};
    const Leaf *leaf = leaves->len
                           ? bsearch(&wanted, leaves->items, leaves->len, sizeof wanted, leaf_order)
                           : NULL;
    return leaf ? leaf->type : NULL;
}

static bool bound(const Type *type, Str text, bool upper, Arena *arena, Str *out) {
    OWNED(text_close) Text bytes = {0};
    if (!bound_from_text(type, text, upper, &bytes)) return false;
    *out = arena_copy(arena, text_str(&bytes));
    return true;
}

static void column_from(const ColumnStats *stats, const Leaves *leaves, Arena *arena,
                        ManifestColumn *out) {
    const Type *type = leaf_type(leaves, stats->field_id);
    bool real = type && (type->kind == TYPE_FLOAT || type->kind == TYPE_DOUBLE);
    *out = (ManifestColumn){.id = stats->field_id,
                            .size = stats->size_bytes,
                            .values = stats->value_count,
                            .nulls = stats->null_count,
                            .nans = real && !stats->has_nan ? 0 : -1};
    if (!type || !stats->has_bounds) return;
    out->has_lower = bound(type, stats->lower, false, arena, &out->lower);
    out->has_upper = bound(type, stats->upper, true, arena, &out->upper);
}

static ManifestEntry *entries_from(const Commit *commit, Attempt *attempt) {
    Arena *arena = &attempt->arena;
    Leaves leaves = {.arena = arena};
    ManifestEntry *entries = arena_array(arena, ManifestEntry, commit->file_count + 1);
    leaves_add(&leaves, commit->schema->fields, commit->schema->len);
    if (leaves.len) qsort(leaves.items, leaves.len, sizeof *leaves.items, leaf_order);
    for (size_t i = 0; i < commit->file_count; i++) {
        const DataFile *file = &commit->files[i];
        entries[i] = (ManifestEntry){.status = ENTRY_ADDED,
                                     .path = attempt_uri(attempt, arena, file->key),
                                     .rows = file->rows,
                                     .bytes = file->bytes,
                                     .column_count = file->column_count};
        entries[i].columns = arena_array(arena, ManifestColumn, file->column_count + 1);
        for (size_t j = 0; j < file->column_count; j++)
            column_from(&file->columns[j], &leaves, arena, &entries[i].columns[j]);
    }
    return entries;
}

/* A snapshot in the making. */

static bool is_live(const ManifestFile *row) {
    return row->added > 0 || row->existing > 0;
}

typedef struct Build {
    const Commit *commit;
    Attempt *attempt;
    Snapshot snapshot;
    const Schema *schema;
    ManifestFile
        *rows; /* of the new list: the added files, the merged or deleted ones, the base's */
    size_t row_count;
    int64_t added_bytes;
    int64_t base_files, base_rows, base_bytes; /* base_bytes: -1 when nobody said */
    int manifests;
} Build;

static Str metadata_name(Build *build, const char *format, long long number) {
    char uuid[UUID_SIZE], name[80];
    random_uuid(uuid);
    snprintf(name, sizeof name, format, number, uuid);
    return arena_print(&build->attempt->arena, "%s/metadata/%s", build->attempt->entry->name.key,
                       name);
}

static bool build_manifest(Build *build, const ManifestEntry *entries, size_t count, Err *err) {
    OWNED(text_close) Text file = {0};
    ManifestTarget target = {build->schema, build->snapshot.id, build->snapshot.sequence};
    ManifestFile *row = &build->rows[build->row_count];
    Str key = metadata_name(build, "m%lld-%s.avro", build->manifests++);
    manifest_write(&target, entries, count, &file, row);
    row->path = attempt_uri(build->attempt, &build->attempt->arena, key);
    if (!attempt_write(build->attempt, key, text_str(&file), err)) return false;
    build->row_count++;
    return true;
}

static bool build_added(Build *build, Err *err) {
    const Commit *commit = build->commit;
    for (size_t i = 0; i < commit->file_count; i++) build->added_bytes += commit->files[i].bytes;
    if (commit->file_count == 0) return true;
    return build_manifest(build, entries_from(commit, build->attempt), commit->file_count, err);
}

/* The live entries of those manifests, given another status. */
static bool live_entries(Build *build, const ManifestFile *rows, size_t count, EntryStatus status,
                         ManifestEntry **out, size_t *len, Err *err) {
    Arena *arena = &build->attempt->arena;
    size_t capacity = 0;
    for (size_t i = 0; i < count; i++)
        capacity += (size_t)MIN(rows[i].added + rows[i].existing, (int64_t)TABLE_FILES_MAX);
    *out = arena_array(arena, ManifestEntry, capacity + 1);
    *len = 0;
    for (size_t i = 0; i < count; i++) {
        ManifestEntry *entries;
        size_t found;
        if (!is_live(&rows[i])) continue;
        if (!table_entries(build->attempt->base.table, &rows[i], status == ENTRY_EXISTING, arena,
                           &entries, &found, err))
            return false;
        for (size_t j = 0; j < found; j++) {
            if (entries[j].status == ENTRY_DELETED) continue;
            if (*len == capacity)
                return err_set(err, LH_CORRUPT, "a manifest has more files than its list says");
            entries[j].status = status;
            (*out)[(*len)++] = entries[j];
        }
    }
    return true;
}

/* What the snapshot replaces is listed once, as deleted, so that whoever follows the table file by
 * file sees it go. */
static bool build_deleted(Build *build, const ManifestFile *rows, size_t count, Err *err) {
    ManifestEntry *entries;
    size_t len;
    if (!live_entries(build, rows, count, ENTRY_DELETED, &entries, &len, err)) return false;
    for (size_t i = 0; i < len; i++) {
        entries[i].snapshot_id = build->snapshot.id;
        entries[i].column_count = 0;
    }
    return len == 0 || build_manifest(build, entries, len, err);
}

static bool is_small(const ManifestFile *row) {
    return row->content == 0 && row->spec_id == 0 && row->length < MERGE_SIZE_MAX;
}

/* Many small appends would leave as many manifests, each a file to open for whoever plans a scan:
 * once there are MERGE_COUNT small ones they become one. */
static bool build_kept(Build *build, const ManifestFile *rows, size_t count, Err *err) {
    ManifestFile *small = arena_array(&build->attempt->arena, ManifestFile, count + 1);
    size_t small_count = 0, len;
    ManifestEntry *entries;
    for (size_t i = 0; i < count; i++)
        if (is_live(&rows[i]) && is_small(&rows[i])) small[small_count++] = rows[i];
    bool merge = small_count >= MERGE_COUNT;
    if (merge && (!live_entries(build, small, small_count, ENTRY_EXISTING, &entries, &len, err) ||
                  !build_manifest(build, entries, len, err)))
        return false;
    for (size_t i = 0; i < count; i++)
        if (is_live(&rows[i]) && !(merge && is_small(&rows[i])))
            build->rows[build->row_count++] = rows[i];
    return true;
}

static bool build_list(Build *build, Err *err) {
    OWNED(text_close) Text file = {0};
    Attempt *attempt = build->attempt;
    ManifestFile *base = NULL;
    size_t count = 0;
    if (attempt->base.table &&
        !table_manifests(attempt->base.table, &attempt->arena, &base, &count, err))
        return false;
    build->rows = arena_array(&attempt->arena, ManifestFile, count + 2);
    for (size_t i = 0; i < count; i++) {
        build->base_files += base[i].added + base[i].existing;
        build->base_rows += base[i].added_rows + base[i].existing_rows;
    }
    if (!build_added(build, err)) return false;
    bool ok = build->commit->mode == COMMIT_REPLACE ? build_deleted(build, base, count, err)
                                                    : build_kept(build, base, count, err);
    if (!ok) return false;
    Str key = metadata_name(build, "snap-%lld-1-%s.avro", build->snapshot.id);
    build->snapshot.manifest_list = attempt_uri(attempt, &attempt->arena, key);
    manifest_list_write(build->snapshot.id, build->snapshot.parent_id, build->snapshot.sequence,
                        build->rows, build->row_count, &file);
    return attempt_write(attempt, key, text_str(&file), err);
}

static void summary_text(Build *build, const char *name, Str value) {
    build->snapshot.summary[build->snapshot.summary_count++] = (Property){str_from(name), value};
}

static void summary_count(Build *build, const char *name, int64_t value) {
    summary_text(build, name, arena_print(&build->attempt->arena, "%lld", (long long)value));
}

/* Iceberg has four words for operations; ours, finer, goes beside it. */
static const char *operation_of(const Commit *commit) {
    Str note = str_from(commit->operation_note);
    if (commit->mode != COMMIT_REPLACE) return "append";
    if (str_is(note, "compact")) return "replace";
    return str_is(note, "delete") ? "delete" : "overwrite";
}

static Str lineage_text(const Lineage *lineage, int64_t version, Arena *arena) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    jw_object(&w);
    lineage_write(lineage, version, &w);
    jw_end(&w);
    return arena_copy(arena, text_str(&text));
}

static void build_summary(Build *build) {
    const Commit *commit = build->commit;
    Attempt *attempt = build->attempt;
    bool replace = commit->mode == COMMIT_REPLACE;
    int64_t rows = 0, files = (int64_t)commit->file_count;
    for (size_t i = 0; i < commit->file_count; i++) rows += commit->files[i].rows;
    build->snapshot.summary = arena_array(&attempt->arena, Property, SUMMARY_MAX);
    summary_text(build, "operation", str_from(operation_of(commit)));
    summary_count(build, "added-data-files", files);
    summary_count(build, "added-records", rows);
    summary_count(build, "added-files-size", build->added_bytes);
    if (replace && build->base_files > 0) {
        summary_count(build, "deleted-data-files", build->base_files);
        summary_count(build, "deleted-records", build->base_rows);
        if (build->base_bytes >= 0) summary_count(build, "removed-files-size", build->base_bytes);
    }
    summary_count(build, "total-data-files", files + (replace ? 0 : build->base_files));
    summary_count(build, "total-records", rows + (replace ? 0 : build->base_rows));
    if (replace || build->base_bytes >= 0)
        summary_count(build, "total-files-size",
                      build->added_bytes + (replace ? 0 : build->base_bytes));
    summary_count(build, "total-delete-files", 0);
    summary_count(build, "total-position-deletes", 0);
    summary_count(build, "total-equality-deletes", 0);
    int64_t version = (int64_t)attempt->draft.snapshot_log_len + 1;
    if (commit->lineage.source_system)
        summary_text(build, SUMMARY_LINEAGE,
                     lineage_text(&commit->lineage, version, &attempt->arena));
    if (commit->operation_note) summary_text(build, SUMMARY_NOTE, str_from(commit->operation_note));
}

bool snapshot_build(const Commit *commit, Attempt *attempt, const Schema *schema, Snapshot *out,
                    Err *err) {
    const Metadata *draft = &attempt->draft;
    const Table *base = attempt->base.table;
    Build build = {.commit = commit, .attempt = attempt, .schema = schema};
    build.base_bytes = base ? snapshot_total(base->snapshot, "total-files-size") : 0;
    build.snapshot = (Snapshot){.id = (int64_t)(random_u64() >> 1),
                                .parent_id = draft->current_snapshot_id,
                                .sequence = draft->last_sequence + 1,
                                .at_ms = draft->last_updated_ms,
                                .schema_id = schema->id};
    if (!build_list(&build, err)) return false;
    build_summary(&build);
    *out = build.snapshot;
    return true;
}
