/* The changes: data (create, append, replace), properties, rollback, and dropping. */
#include "catalog/commit.h"

#include "base/base.h"
#include "catalog/pointer.h"
#include "catalog/type.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUMMARY_MAX 24

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

typedef struct Build {
    const Commit *commit;
    Attempt *attempt;
    Snapshot snapshot;
    const Schema *schema;
    ManifestFile *rows; /* of the new list */
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

/* What the snapshot replaces is listed once, as deleted, so that whoever follows the table file by
 * file sees it go. */
static bool build_deleted(Build *build, const ManifestFile *rows, size_t count, Err *err) {
    Arena *arena = &build->attempt->arena;
    size_t total = 0, len = 0, capacity = 0;
    for (size_t i = 0; i < count; i++)
        capacity += (size_t)MIN(rows[i].added + rows[i].existing, (int64_t)TABLE_FILES_MAX);
    if (capacity == 0) return true;
    ManifestEntry *deleted = arena_array(arena, ManifestEntry, capacity);
    for (size_t i = 0; i < count; i++) {
        ManifestEntry *entries;
        if (rows[i].added == 0 && rows[i].existing == 0) continue;
        if (!table_entries(build->attempt->base.table, &rows[i], false, arena, &entries, &len, err))
            return false;
        for (size_t j = 0; j < len && total < capacity; j++) {
            if (entries[j].status == ENTRY_DELETED) continue;
            deleted[total] = entries[j];
            deleted[total].status = ENTRY_DELETED;
            deleted[total].snapshot_id = build->snapshot.id;
            deleted[total++].column_count = 0;
        }
    }
    return build_manifest(build, deleted, total, err);
}

/* The list: new files first, then what the base keeps. */
static bool build_list(Build *build, Err *err) {
    OWNED(text_close) Text file = {0};
    Attempt *attempt = build->attempt;
    ManifestFile *base = NULL;
    size_t count = 0;
    bool replace = build->commit->mode == COMMIT_REPLACE;
    if (attempt->base.table &&
        !table_manifests(attempt->base.table, &attempt->arena, &base, &count, err))
        return false;
    build->rows = arena_array(&attempt->arena, ManifestFile, count + 2);
    if (!build_added(build, err)) return false;
    if (replace && !build_deleted(build, base, count, err)) return false;
    for (size_t i = 0; i < count; i++) {
        build->base_files += base[i].added + base[i].existing;
        build->base_rows += base[i].added_rows + base[i].existing_rows;
        bool alive = base[i].added > 0 || base[i].existing > 0;
        if (!replace && alive) build->rows[build->row_count++] = base[i];
    }
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

/* Schemas. */

static bool fields_same(const Field *a, size_t a_len, const Field *b, size_t b_len) {
    bool same = a_len == b_len;
    for (size_t i = 0; same && i < a_len; i++)
        same = a[i].id == b[i].id && str_equal(a[i].name, b[i].name) &&
               a[i].required == b[i].required && type_equal(&a[i].type, &b[i].type) &&
               fields_same(a[i].type.fields, a[i].type.field_count, b[i].type.fields,
                           b[i].type.field_count);
    return same;
}

static int32_t highest_id(const Field *fields, size_t len) {
    int32_t highest = 0;
    for (size_t i = 0; i < len; i++) {
        int32_t inner = highest_id(fields[i].type.fields, fields[i].type.field_count);
        highest = MAX(highest, MAX(fields[i].id, inner));
    }
    return highest;
}

static void draft_schema(Metadata *draft, const Schema *schema) {
    int32_t id = 0;
    for (size_t i = 0; i < draft->schema_count; i++) {
        const Schema *has = &draft->schemas[i];
        if (fields_same(has->fields, has->len, schema->fields, schema->len)) {
            draft->current_schema_id = has->id;
            return;
        }
        id = MAX(id, has->id + 1);
    }
    draft->schemas[draft->schema_count] = *schema;
    draft->schemas[draft->schema_count++].id = id;
    draft->current_schema_id = id;
    draft->last_column_id = MAX(draft->last_column_id, highest_id(schema->fields, schema->len));
}

/* Data. */

/* The plan was made before the files were written; meanwhile others may have committed. */
static bool ids_still_hold(const Commit *commit, const Table *table, Err *err) {
    const Schema *has = table_schema(table);
    bool same = commit->schema->len == has->len;
    for (size_t i = 0; same && i < commit->schema->len; i++) {
        const Field *field = &commit->schema->fields[i], *there = schema_find(has, field->name);
        same = there && there->id == field->id && type_equal(&there->type, &field->type);
    }
    return same ||
           err_code(err, LH_CONFLICT, "schema_changed",
                    "the columns of '%s' were changed by another commit meanwhile", table->name);
}

static bool data_check(const Change *change, Attempt *attempt, Err *err) {
    const Commit *commit = change->context;
    const Table *table = attempt->base.table;
    if (commit->mode == COMMIT_CREATE && table)
        return err_code(err, LH_CONFLICT, "dataset_exists", "a dataset named '%s' exists",
                        attempt->entry->name.shown);
    if (commit->mode == COMMIT_APPEND && !table)
        return err_code(err, LH_MISSING, "dataset_not_found", "no dataset named '%s'",
                        attempt->entry->name.shown);
    if (commit->base_version != 0 && (!table || table->version != commit->base_version))
        return err_code(err, LH_CONFLICT, "dataset_changed",
                        "dataset '%s' has changed since version %lld, from which this was made",
                        attempt->entry->name.shown, (long long)commit->base_version);
    return commit->mode != COMMIT_APPEND || ids_still_hold(commit, table, err);
}

static bool data_apply(const Change *change, Attempt *attempt, Err *err) {
    const Commit *commit = change->context;
    Metadata *draft = &attempt->draft;
    const Table *base = attempt->base.table;
    Build build = {.commit = commit, .attempt = attempt};
    if (commit->mode != COMMIT_APPEND) draft_schema(draft, commit->schema);
    build.schema = metadata_schema(draft, draft->current_schema_id);
    build.base_bytes = base ? snapshot_total(base->snapshot, "total-files-size") : 0;
    build.snapshot = (Snapshot){.id = (int64_t)(random_u64() >> 1),
                                .parent_id = draft->current_snapshot_id,
                                .sequence = draft->last_sequence + 1,
                                .at_ms = draft->last_updated_ms,
                                .schema_id = draft->current_schema_id};
    if (!build_list(&build, err)) return false;
    build_summary(&build);
    draft->last_sequence++;
    draft->snapshots[draft->snapshot_count++] = build.snapshot;
    draft_log_version(draft, build.snapshot.id);
    return true;
}

static bool files_check(const Commit *commit, const DatasetName *name, Err *err) {
    char data[DATASET_NAME_MAX + 48];
    snprintf(data, sizeof data, "%s/data/", name->key);
    for (size_t i = 0; i < commit->file_count; i++)
        if (!str_starts(commit->files[i].key, str_from(data)) || commit->files[i].rows < 0 ||
            commit->files[i].bytes <= 0)
            return err_set(err, LH_INVALID, "'%.*s' is no data file of '%s'",
                           SHOW(commit->files[i].key), name->shown);
    return true;
}

bool catalog_commit(Catalog *catalog, const Commit *commit, int64_t *version, Err *err) {
    static const CatalogEventKind kinds[] = {DATASET_CREATED, DATASET_APPENDED, DATASET_REPLACED};
    DatasetName name;
    Change change = {.check = data_check,
                     .apply = data_apply,
                     .bucket = commit->bucket,
                     .properties = commit->properties,
                     .property_count = commit->property_count,
                     .context = commit};
    if (!dataset_name_read(commit->dataset, &name, err) || !files_check(commit, &name, err) ||
        !change_run(catalog, &name, &change, version, err))
        return false;
    catalog_publish(catalog, kinds[commit->mode], &name, *version);
    return true;
}

/* Properties. */

static bool must_exist(const Change *change, Attempt *attempt, Err *err) {
    (void)change;
    return attempt->base.table || dataset_missing(attempt->catalog, &attempt->entry->name, err);
}

static bool nothing_more(const Change *change, Attempt *attempt, Err *err) {
    (void)change, (void)attempt, (void)err;
    return true;
}

/* Entries are made for datasets that exist; asking for another must not make one. */
static bool name_existing(Catalog *catalog, Str dataset, DatasetName *out, Err *err) {
    OWNED(table_release) Table *table = NULL;
    return dataset_name_read(dataset, out, err) && catalog_load(catalog, dataset, 0, &table, err);
}

bool catalog_patch(Catalog *catalog, Str dataset, const Property *properties, size_t count,
                   Err *err) {
    DatasetName name;
    int64_t version;
    Change change = {.check = must_exist,
                     .apply = nothing_more,
                     .properties = properties,
                     .property_count = count};
    return name_existing(catalog, dataset, &name, err) &&
           change_run(catalog, &name, &change, &version, err);
}

/* Rollback: the old snapshot becomes current once more, under a new version number. */

static bool rollback_check(const Change *change, Attempt *attempt, Err *err) {
    OWNED(table_release) Table *there = NULL;
    const int64_t *version = change->context;
    return must_exist(change, attempt, err) &&
           table_at_version(attempt->base.table, *version, &there, err);
}

static bool rollback_apply(const Change *change, Attempt *attempt, Err *err) {
    Metadata *draft = &attempt->draft;
    const int64_t *version = change->context;
    (void)err;
    int64_t id = draft->snapshot_log[*version - 1].snapshot_id;
    const Snapshot *snapshot = metadata_snapshot(draft, id);
    if (metadata_schema(draft, snapshot->schema_id)) draft->current_schema_id = snapshot->schema_id;
    draft_log_version(draft, id);
    return true;
}

bool catalog_rollback(Catalog *catalog, Str dataset, int64_t version, int64_t *new_version,
                      Err *err) {
    DatasetName name;
    Change change = {.check = rollback_check, .apply = rollback_apply, .context = &version};
    if (!name_existing(catalog, dataset, &name, err) ||
        !change_run(catalog, &name, &change, new_version, err))
        return false;
    catalog_publish(catalog, DATASET_REPLACED, &name, *new_version);
    return true;
}
