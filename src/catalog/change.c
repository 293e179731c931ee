/* The changes: data (create, append, replace), properties, and rollback. */
#include "catalog/commit.h"

#include "base/base.h"
#include "catalog/type.h"

#include <stdio.h>

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

/* The table's columns where they were, each with the type that it has now, and new ones after. */
static Schema widened_schema(const Schema *has, const Schema *by, Arena *arena) {
    Schema out = {.fields = arena_array(arena, Field, by->len)};
    for (size_t i = 0; i < has->len; i++) {
        out.fields[out.len] = has->fields[i];
        out.fields[out.len++].type = schema_find(by, has->fields[i].name)->type;
    }
    for (size_t i = 0; i < by->len; i++)
        if (!schema_find(has, by->fields[i].name)) out.fields[out.len++] = by->fields[i];
    return out;
}

/* Data. */

static bool column_holds(const Commit *commit, const Table *table, const Field *field) {
    const Field *there = schema_find(table_schema(table), field->name);
    if (!commit->widen)
        return there && there->id == field->id && type_equal(&there->type, &field->type);
    if (!there) return field->id > table->document->metadata.last_column_id;
    return there->id == field->id && type_widens(&there->type, &field->type);
}

static bool has_all(const Schema *has, const Schema *in) {
    for (size_t i = 0; i < has->len; i++)
        if (!schema_find(in, has->fields[i].name)) return false;
    return true;
}

/* The plan was made before the files were written; meanwhile others may have committed. */
static bool ids_still_hold(const Commit *commit, const Table *table, Err *err) {
    bool same = has_all(table_schema(table), commit->schema);
    for (size_t i = 0; same && i < commit->schema->len; i++)
        same = column_holds(commit, table, &commit->schema->fields[i]);
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
    Snapshot snapshot;
    if (commit->mode != COMMIT_APPEND) {
        draft_schema(draft, commit->schema);
    } else if (commit->widen) {
        Schema wider =
            widened_schema(table_schema(attempt->base.table), commit->schema, &attempt->arena);
        draft_schema(draft, &wider);
    }
    const Schema *schema = metadata_schema(draft, draft->current_schema_id);
    if (!snapshot_build(commit, attempt, schema, &snapshot, err)) return false;
    draft->last_sequence++;
    draft->snapshots[draft->snapshot_count++] = snapshot;
    draft_log_version(draft, snapshot.id);
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
    /* A replace of what was not there made it. */
    catalog_publish(catalog, *version == 1 ? DATASET_CREATED : kinds[commit->mode], &name, *version,
                    commit->enqueued);
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
    catalog_publish(catalog, DATASET_REPLACED, &name, *new_version, NULL);
    return true;
}
