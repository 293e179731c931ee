/* A table that is open: its current snapshot, its data files, its right to be changed. Readers hold
 * the snapshot, a change puts the next one in its place. */
#include "lance/table.h"
#include "lance/btree_view.h"
#include "lance/open_files.h"
#include "lance/page.h"
#include "lance/search_view.h"
#include "lance/versions.h"

#include <stdlib.h>
#include <string.h>

#define FRESH_US 1000000 /* how long a look at the latest version counts as recent */

struct LanceTable {
    Store *store;
    char path[STORE_KEY_MAX + 1];
    bool old_names;
    pthread_mutex_t lock; /* the three below */
    Snapshot *snapshot;
    bool latest;            /* false: checked out at an older version */
    int64_t latest_seen_us; /* when it was last known to be the latest */
    pthread_mutex_t change; /* held by who makes the next version */
    OpenFiles files;
    SearchCache searches;
};

Snapshot *table_snapshot(LanceTable *table) {
    pthread_mutex_lock(&table->lock);
    Snapshot *snapshot = snapshot_hold(table->snapshot);
    pthread_mutex_unlock(&table->lock);
    return snapshot;
}

bool table_publish(LanceTable *table, Bytes manifest, bool latest, Err *err) {
    Snapshot *next;
    if (!snapshot_new(manifest, &next, err)) return false;
    pthread_mutex_lock(&table->lock);
    Snapshot *last = table->snapshot;
    if (last) snapshot_pass_on(last, next);
    table->snapshot = next;
    table->latest = latest;
    if (latest) table->latest_seen_us = clock_us();
    pthread_mutex_unlock(&table->lock);
    snapshot_release(&last);
    return true;
}

/* Files. */

bool table_field_file(LanceTable *table, const Fragment *fragment, int32_t field_id,
                      LanceFile **file, size_t *column, Err *err) {
    *file = NULL;
    if (fragment->unsupported)
        return lance_unsupported(err, "fragment %llu cannot be read here: %s",
                                 (unsigned long long)fragment->id, fragment->unsupported);
    for (size_t i = 0; i < fragment->file_count; i++) {
        const LanceDataFile *entry = &fragment->files[i];
        for (size_t k = 0; k < entry->field_count; k++) {
            if (entry->fields[k] != field_id) continue;
            if (entry->columns[k] < 0)
                return lance_unsupported(err, "field %d has no column of its own", field_id);
            *column = (size_t)entry->columns[k];
            return open_files_hold(&table->files, table->store, table_path(table), entry,
                                   fragment->physical_rows, file, err);
        }
    }
    return true;
}

void table_release_file(LanceTable *table, LanceFile **file) {
    if (*file) open_files_release(&table->files, *file);
    *file = NULL;
}

bool table_file_create(LanceTable *table, Str key, const LanceSchema *schema, LanceFileWriter **out,
                       Err *err) {
    OWNED(snapshot_release) Snapshot *snapshot = table_snapshot(table);
    uint32_t minor;
    return file_version_read(snapshot_manifest(snapshot)->file_version, &minor, err) &&
           lance_file_create(table->store, key, minor, schema, out, err);
}

Store *table_store(const LanceTable *table) {
    return table->store;
}

Str table_path(const LanceTable *table) {
    return str_from(table->path);
}

SearchCache *table_search_cache(LanceTable *table) {
    return &table->searches;
}

/* Versions. */

bool table_read_manifest(LanceTable *table, uint64_t version, Arena *arena, Manifest *out,
                         Err *err) {
    Bytes bytes;
    Str key = manifest_key(table_path(table), version, table->old_names, arena);
    if (!store_read(table->store, key, MANIFEST_BYTES_MAX, arena, &bytes, err)) {
        if (err->kind != LH_MISSING) return false;
        return err_code(err, LH_MISSING, "version_not_found", "'%s' has no version %llu",
                        table->path, (unsigned long long)version);
    }
    if (!lance_manifest_read(bytes, arena, out, err)) return err_while(err, "'%.*s'", SHOW(key));
    if (out->version != version)
        return err_set(err, LH_CORRUPT, "'%.*s' says that it is version %llu", SHOW(key),
                       (unsigned long long)out->version);
    return true;
}

bool table_create_manifest(LanceTable *table, uint64_t version, Bytes bytes, Keys after, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Str key = manifest_key(table_path(table), version, table->old_names, &arena);
    PutCondition condition = {.if_absent = true, .after = after};
    return store_write(table->store, key, bytes, &condition, err);
}

bool table_remove_manifest(LanceTable *table, uint64_t version, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    return store_remove(table->store,
                        manifest_key(table_path(table), version, table->old_names, &arena), err);
}

bool table_list_versions(LanceTable *table, Arena *arena, uint64_t **out, size_t *count, Err *err) {
    VersionList list;
    if (!versions_list(table->store, table_path(table), false, arena, &list, err)) return false;
    *out = list.versions;
    *count = list.count;
    return true;
}

bool table_find_latest(LanceTable *table, uint64_t *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    VersionList list;
    if (!versions_list(table->store, table_path(table), true, &arena, &list, err)) return false;
    if (list.count == 0)
        return err_code(err, LH_MISSING, "table_not_found", "there is no Lance table at '%s'",
                        table->path);
    if (table->old_names != list.old_names) table->old_names = list.old_names; /* when opened */
    *out = list.versions[list.count - 1];
    return true;
}

bool table_is_fresh(const LanceTable *table) {
    return clock_us() - table->latest_seen_us < FRESH_US;
}

static bool table_go_to(LanceTable *table, uint64_t version, bool latest, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Bytes bytes;
    Str key = manifest_key(table_path(table), version, table->old_names, &arena);
    if (!store_read(table->store, key, MANIFEST_BYTES_MAX, &arena, &bytes, err)) {
        if (err->kind != LH_MISSING) return false;
        return err_code(err, LH_MISSING, "version_not_found", "'%s' has no version %llu",
                        table->path, (unsigned long long)version);
    }
    return table_publish(table, bytes, latest, err) || err_while(err, "'%.*s'", SHOW(key));
}

bool table_lock(LanceTable *table, Err *err) {
    pthread_mutex_lock(&table->change);
    if (table->latest) return true;
    pthread_mutex_unlock(&table->change);
    return err_code(err, LH_CONFLICT, "lance_conflict",
                    "'%s' stands at an older version: refresh it before changing it, or restore "
                    "that version",
                    table->path);
}

void table_unlock(LanceTable *table) {
    pthread_mutex_unlock(&table->change);
}

/* Opening and closing. */

static bool table_new(Store *store, Str path, LanceTable **out, Err *err) {
    OWNED(lance_close) LanceTable *table = NULL;
    if (path.len > STORE_KEY_MAX / 2)
        return err_set(err, LH_INVALID, "the path of a table has at most %d bytes, not %zu",
                       STORE_KEY_MAX / 2, path.len);
    if (!key_check(path, err)) return false;
    table = calloc(1, sizeof *table);
    if (!table) abort();
    table->store = store;
    memcpy(table->path, path.data, path.len);
    pthread_mutex_init(&table->lock, NULL);
    pthread_mutex_init(&table->change, NULL);
    pthread_mutex_init(&table->searches.lock, NULL);
    open_files_init(&table->files);
    *out = TAKE(table);
    return true;
}

void lance_close(LanceTable **out) {
    LanceTable *table = *out;
    if (!table) return;
    search_cache_close(&table->searches);
    btree_views_close(&table->searches);
    snapshot_release(&table->snapshot);
    open_files_close(&table->files);
    pthread_mutex_destroy(&table->lock);
    pthread_mutex_destroy(&table->change);
    pthread_mutex_destroy(&table->searches.lock);
    free(table);
    *out = NULL;
}

bool lance_open(Store *store, Str path, uint64_t version, LanceTable **out, Err *err) {
    OWNED(lance_close) LanceTable *table = NULL;
    uint64_t latest;
    if (!table_new(store, path, &table, err) || !table_find_latest(table, &latest, err))
        return false;
    if (!table_go_to(table, version ? version : latest, !version || version == latest, err))
        return false;
    *out = TAKE(table);
    return true;
}

bool lance_checkout(LanceTable *table, uint64_t version, Err *err) {
    uint64_t latest;
    pthread_mutex_lock(&table->change);
    bool ok = table_find_latest(table, &latest, err) &&
              table_go_to(table, version, version == latest, err);
    pthread_mutex_unlock(&table->change);
    return ok;
}

/* A listing, which is one request: the next version being absent would not tell, for versions
 * between this one and the latest may have been cleaned up. */
bool lance_refresh(LanceTable *table, Err *err) {
    uint64_t latest;
    pthread_mutex_lock(&table->change);
    bool ok = table_find_latest(table, &latest, err);
    if (ok && table->latest && latest == snapshot_manifest(table->snapshot)->version)
        table->latest_seen_us = clock_us();
    else
        ok = ok && table_go_to(table, latest, true, err);
    pthread_mutex_unlock(&table->change);
    return ok;
}

bool schema_number(const LanceSchema *schema, Arena *arena, LanceSchema *out, Err *err) {
    if (schema->len == 0 || schema->len > LANCE_COLUMNS_MAX)
        return err_set(err, LH_INVALID, "a table has 1 to %d columns, not %zu", LANCE_COLUMNS_MAX,
                       schema->len);
    out->fields = arena_array(arena, LanceField, schema->len);
    out->len = schema->len;
    for (size_t i = 0; i < schema->len; i++) {
        LanceField *field = &out->fields[i];
        *field = (LanceField){.name = arena_copy(arena, schema->fields[i].name),
                              .type = lance_type(arena_copy(arena, schema->fields[i].type.logical)),
                              .nullable = schema->fields[i].nullable,
                              .id = (int32_t)i};
        if (field->type.kind == LANCE_OTHER)
            return lance_unsupported(err, "column '%.*s' has the type '%.*s', which is not written",
                                     SHOW(field->name), SHOW(field->type.logical));
        if (field->name.len == 0 || !str_is_utf8(field->name))
            return err_set(err, LH_INVALID, "column %zu has no name", i);
        for (size_t k = 0; k < i; k++)
            if (str_equal(out->fields[k].name, field->name))
                return err_set(err, LH_INVALID, "two columns are named '%.*s'", SHOW(field->name));
    }
    return true;
}

bool lance_create(Store *store, Str path, const LanceSchema *schema, LanceTable **out, Err *err) {
    return lance_create_in(store, path, "2.0", schema, out, err);
}

bool lance_create_in(Store *store, Str path, const char *file_version, const LanceSchema *schema,
                     LanceTable **out, Err *err) {
    OWNED(lance_close) LanceTable *table = NULL;
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text bytes = {0};
    LanceSchema numbered;
    uint64_t latest;
    Err missing = {0};
    if (!file_version_read(file_version, &(uint32_t){0}, err) ||
        !schema_number(schema, &arena, &numbered, err) || !table_new(store, path, &table, err))
        return false;
    bool exists = table_find_latest(table, &latest, &missing);
    if (!exists && missing.kind != LH_MISSING) return *err = missing, false;
    if (!exists) {
        commit_first(&numbered, file_version, &bytes);
        exists = !table_create_manifest(table, 1, text_bytes(&bytes), (Keys){0}, err);
        if (exists && err->kind != LH_PRECONDITION) return false;
    }
    if (exists)
        return err_code(err, LH_CONFLICT, "table_exists", "there is a Lance table at '%s' already",
                        table->path);
    if (!table_publish(table, text_bytes(&bytes), true, err)) return false;
    *out = TAKE(table);
    return true;
}

/* About the version that it stands at. */

void lance_info(LanceTable *table, LanceInfo *out) {
    OWNED(snapshot_release) Snapshot *snapshot = table_snapshot(table);
    const Manifest *manifest = snapshot_manifest(snapshot);
    *out = (LanceInfo){.version = manifest->version,
                       .rows = manifest_rows(manifest),
                       .fragments = manifest->fragment_count,
                       .indexes = manifest->index_count,
                       .committed_ms = manifest->committed_ms};
    memcpy(out->file_version, manifest->file_version, sizeof out->file_version);
    for (size_t i = 0; i < manifest->fragment_count; i++) {
        const Fragment *fragment = &manifest->fragments[i];
        out->rows_deleted += fragment->deletion.rows;
        out->data_files += fragment->file_count;
        for (size_t k = 0; k < fragment->file_count; k++) out->bytes += fragment->files[k].size;
    }
}

void lance_schema(LanceTable *table, Arena *arena, LanceSchema *out) {
    OWNED(snapshot_release) Snapshot *snapshot = table_snapshot(table);
    const LanceSchema *schema = &snapshot_manifest(snapshot)->schema;
    out->len = schema->len;
    out->fields = arena_array(arena, LanceField, schema->len);
    for (size_t i = 0; i < schema->len; i++) {
        LanceField *field = &out->fields[i];
        *field = schema->fields[i];
        field->name = arena_copy(arena, field->name);
        field->type = lance_type(arena_copy(arena, field->type.logical));
        field->raw = bytes_of(arena_copy(arena, str_of(field->raw)));
    }
}
