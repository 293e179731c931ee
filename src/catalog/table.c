/* Tables are immutable and counted; what they share is counted too: the document between the
 * versions of a table, the files of a manifest between a version and the next. The list of files
 * is read when it is first asked for. */
#include "catalog/table.h"

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counting. */

static void document_release(Document **holding) {
    Document *document = *holding;
    *holding = NULL;
    if (!document || --document->holders > 0) return;
    metadata_close(&document->metadata);
    bucket_release(&document->bucket);
    free(document);
}

static void part_release(Part *part) {
    if (--part->holders > 0) return;
    arena_close(&part->arena);
    free(part);
}

static void parts_close(Parts *parts) {
    for (size_t i = 0; i < parts->len; i++) part_release(parts->items[i]);
    free(parts->items);
    *parts = (Parts){0};
}

static void parts_hold(const Parts *from, Parts *to) {
    *to = (Parts){malloc((from->len + 1) * sizeof *to->items), from->len};
    if (!to->items) abort();
    for (size_t i = 0; i < from->len; i++) {
        to->items[i] = from->items[i];
        to->items[i]->holders++;
    }
}

Table *table_hold(Table *table) {
    table->holders++;
    return table;
}

void table_release(Table **holding) {
    Table *table = *holding;
    *holding = NULL;
    if (!table || --table->holders > 0) return;
    parts_close(&table->parts);
    parts_close(&table->warm);
    arena_close(&table->arena);
    document_release(&table->document);
    pthread_mutex_destroy(&table->lock);
    free(table);
}

/* Opening. */

static Table *table_new(Str name, Str key) {
    Table *table = calloc(1, sizeof *table);
    if (!table) abort();
    table->holders = 1;
    snprintf(table->name, sizeof table->name, "%.*s", SHOW(name));
    snprintf(table->key, sizeof table->key, "%.*s", SHOW(key));
    pthread_mutex_init(&table->lock, NULL);
    return table;
}

static bool document_from(Str key, Str text, Document **out, Err *err) {
    Document *document = calloc(1, sizeof *document);
    if (!document) abort();
    document->holders = 1;
    if (!metadata_read(text, &document->metadata, err)) {
        document_release(&document);
        return err_while(err, "'%.*s'", SHOW(key));
    }
    document->key = arena_copy(&document->metadata.arena, key);
    *out = document;
    return true;
}

/* The schema that a version is read with is the one it was written with. */
/* Our writers put columns in the order of their ids (query, copy.c). */
static bool ids_ascend(const Schema *schema) {
    for (size_t i = 1; i < schema->len; i++)
        if (schema->fields[i].id <= schema->fields[i - 1].id) return false;
    return true;
}

/* A snapshot that keeps no file of those before it. */
static bool is_whole(const Snapshot *snapshot) {
    return snapshot->parent_id == SNAPSHOT_NONE ||
           !str_is(properties_get(snapshot->summary, snapshot->summary_count, "operation"),
                   "append");
}

/* True when all that the snapshot's files may come from was written by us with this very schema. */
static bool written_plain(const Table *table) {
    const Metadata *metadata = &table->document->metadata;
    if (!table->snapshot || !ids_ascend(table->schema)) return false;
    for (const Snapshot *s = table->snapshot; s; s = metadata_snapshot(metadata, s->parent_id)) {
        Str ours = properties_get(s->summary, s->summary_count, SUMMARY_LINEAGE);
        if (s->schema_id != table->schema->id || ours.len == 0) return false;
        if (is_whole(s)) return true;
    }
    return false; /* a parent has expired */
}

Str table_document(const Table *table) {
    if (!table) return (Str){0};
    Str key = table->document->key;
    return str_slice(key, str_from(table->key).len + 1, key.len);
}

bool table_is_plain(const Table *table) {
    return table->plain;
}

static bool table_set_version(Table *table, int64_t version, Err *err) {
    const Metadata *metadata = &table->document->metadata;
    table->version = version;
    table->schema = metadata_schema(metadata, metadata->current_schema_id);
    if (version == 0) return true;
    int64_t id = metadata->snapshot_log[version - 1].snapshot_id;
    table->snapshot = metadata_snapshot(metadata, id);
    if (!table->snapshot)
        return err_code(err, LH_MISSING, "version_expired",
                        "version %lld of dataset '%s' has expired", (long long)version,
                        table->name);
    const Schema *written = metadata_schema(metadata, table->snapshot->schema_id);
    if (written) table->schema = written;
    table->plain = written_plain(table);
    return true;
}

bool table_from(TableAt *at, Str document_key, Str document, Table **out, Err *err) {
    OWNED(table_release) Table *table = table_new(at->name, at->key);
    if (!document_from(document_key, document, &table->document, err))
        return err_while(err, "loading dataset '%.*s'", SHOW(at->name));
    table->pointer = at->pointer;
    const Metadata *metadata = &table->document->metadata;
    bool empty = metadata->current_snapshot_id < 0;
    if (!table_set_version(table, empty ? 0 : (int64_t)metadata->snapshot_log_len, err))
        return false;
    table->schema = metadata_schema(metadata, metadata->current_schema_id); /* it may have grown */
    table->plain = written_plain(table);
    if (at->before && at->before->ready) parts_hold(&at->before->parts, &table->warm);
    table->document->bucket = TAKE(at->bucket);
    *out = TAKE(table);
    return true;
}

bool table_open(TableAt *at, Str metadata, Table **out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Store *store = bucket_store(at->bucket);
    Bytes text;
    Str key = arena_print(&arena, "%.*s/%.*s", SHOW(at->key), SHOW(metadata));
    if (!store_read(store, key, METADATA_SIZE_MAX, &arena, &text, err)) {
        if (err->kind == LH_MISSING)
            err->kind = LH_CORRUPT; /* the table exists, its file does not */
        return err_while(err, "loading dataset '%.*s'", SHOW(at->name));
    }
    return table_from(at, key, str_of(text), out, err);
}

bool table_at_version(Table *newest, int64_t version, Table **out, Err *err) {
    const Metadata *metadata = &newest->document->metadata;
    if (version < 1 || (uint64_t)version > metadata->snapshot_log_len)
        return err_code(err, LH_MISSING, "version_not_found",
                        "dataset '%s' has no version %lld; the newest is %zu", newest->name,
                        (long long)version, metadata->snapshot_log_len);
    OWNED(table_release)
    Table *table = table_new(str_from(newest->name), str_from(newest->key));
    table->document = newest->document;
    table->document->holders++;
    table->pointer = newest->pointer;
    if (!table_set_version(table, version, err)) return false;
    *out = TAKE(table);
    return true;
}

/* Files. */

bool table_key_of(const Table *table, Str uri, Arena *arena, Str *key, Err *err) {
    Str own = arena_print(arena, "/%s/", table->key), rest = uri;
    size_t at, found = SIZE_MAX;
    for (size_t from = 0; str_find(rest, own, &at); from += at + 1) {
        found = from + at;
        rest = str_slice(uri, found + 1, uri.len);
    }
    if (found == SIZE_MAX)
        return err_set(err, LH_IMPOSSIBLE, "'%.*s' lies outside the folder of dataset '%s'",
                       (int)MIN(uri.len, (size_t)200), uri.data, table->name);
    *key = arena_copy(arena, str_slice(uri, found + 1, uri.len));
    return key_check(*key, err);
}

static bool read_uri(const Table *table, Str uri, Arena *arena, Bytes *out, Err *err) {
    Str key;
    if (!table_key_of(table, uri, arena, &key, err)) return false;
    if (store_read(bucket_store(table->document->bucket), key, METADATA_SIZE_MAX, arena, out, err))
        return true;
    if (err->kind == LH_MISSING) err->kind = LH_CORRUPT;
    return false;
}

bool table_manifests(const Table *table, Arena *arena, ManifestFile **rows, size_t *count,
                     Err *err) {
    Bytes file;
    *rows = NULL;
    *count = 0;
    if (!table->snapshot) return true;
    return (read_uri(table, table->snapshot->manifest_list, arena, &file, err) &&
            manifest_list_read(file, arena, rows, count, err)) ||
           err_while(err, "the manifest list of dataset '%s'", table->name);
}

bool table_entries(const Table *table, const ManifestFile *row, bool bounds, Arena *arena,
                   ManifestEntry **entries, size_t *count, Err *err) {
    Bytes file;
    if (row->content != 0)
        return err_code(err, LH_IMPOSSIBLE, "delete_files",
                        "dataset '%s' has delete files, which are not applied here: compact it "
                        "with the engine that wrote them",
                        table->name);
    return (read_uri(table, row->path, arena, &file, err) &&
            manifest_read(file, row, bounds, arena, entries, count, err)) ||
           err_while(err, "a manifest of dataset '%s'", table->name);
}

static void file_from(const ManifestEntry *entry, Str key, Arena *arena, DataFile *out) {
    *out = (DataFile){.key = key,
                      .rows = entry->rows,
                      .bytes = entry->bytes,
                      .column_count = entry->column_count};
    out->columns = arena_array(arena, ColumnStats, entry->column_count + 1);
    for (size_t i = 0; i < entry->column_count; i++)
        out->columns[i] = (ColumnStats){.field_id = entry->columns[i].id,
                                        .size_bytes = entry->columns[i].size,
                                        .value_count = entry->columns[i].values,
                                        .null_count = entry->columns[i].nulls};
}

static bool part_read(const Table *table, const ManifestFile *row, Part *part, Err *err) {
    OWNED(arena_close) Arena scratch = {0};
    ManifestEntry *entries;
    size_t count;
    if (!table_entries(table, row, false, &scratch, &entries, &count, err)) return false;
    part->files = arena_array(&part->arena, DataFile, count + 1);
    for (size_t i = 0; i < count; i++) {
        Str key;
        if (entries[i].status == ENTRY_DELETED) continue;
        if (!table_key_of(table, entries[i].path, &part->arena, &key, err)) return false;
        file_from(&entries[i], key, &part->arena, &part->files[part->count++]);
    }
    return true;
}

static Part *part_warm(const Table *table, Str manifest) {
    for (size_t i = 0; i < table->warm.len; i++)
        if (str_equal(table->warm.items[i]->manifest, manifest)) {
            table->warm.items[i]->holders++;
            return table->warm.items[i];
        }
    return NULL;
}

static bool part_take(Table *table, const ManifestFile *row, Err *err) {
    Part *part = part_warm(table, row->path);
    if (!part) {
        part = calloc(1, sizeof *part);
        if (!part) abort();
        part->holders = 1;
        part->manifest = arena_copy(&part->arena, row->path);
        if (!part_read(table, row, part, err)) return part_release(part), false;
    }
    table->parts.items[table->parts.len++] = part;
    return true;
}

static bool files_join(Table *table, Err *err) {
    size_t total = 0;
    for (size_t i = 0; i < table->parts.len; i++) total += table->parts.items[i]->count;
    if (total > TABLE_FILES_MAX)
        return err_set(err, LH_TOO_BIG, "dataset '%s' has %zu files, at most %d are read",
                       table->name, total, TABLE_FILES_MAX);
    table->files = arena_array(&table->arena, DataFile, total + 1);
    table->file_count = 0;
    for (size_t i = 0; i < table->parts.len; i++) {
        const Part *part = table->parts.items[i];
        if (part->count)
            memcpy(table->files + table->file_count, part->files,
                   part->count * sizeof *part->files);
        table->file_count += part->count;
    }
    return true;
}

static bool files_read(Table *table, Err *err) {
    OWNED(arena_close) Arena scratch = {0};
    ManifestFile *rows;
    size_t count;
    if (!table_manifests(table, &scratch, &rows, &count, err)) return false;
    parts_close(&table->parts);
    table->parts.items = malloc((count + 1) * sizeof *table->parts.items);
    if (!table->parts.items) abort();
    for (size_t i = 0; i < count; i++)
        if ((rows[i].added || rows[i].existing) && !part_take(table, &rows[i], err)) return false;
    if (!files_join(table, err)) return false;
    parts_close(&table->warm);
    table->ready = true;
    return true;
}

bool table_files(Table *table, const DataFile **files, size_t *count, Err *err) {
    if (!table->ready) {
        pthread_mutex_lock(&table->lock);
        bool ok = table->ready || files_read(table, err);
        pthread_mutex_unlock(&table->lock);
        if (!ok) return false;
    }
    *files = table->files;
    *count = table->file_count;
    return true;
}

/* Reading. */

Str table_name(const Table *table) {
    return str_from(table->name);
}

Str table_bucket(const Table *table) {
    return bucket_name(table->document->bucket);
}

Str table_uuid(const Table *table) {
    return table->document->metadata.uuid;
}

Str table_location_key(const Table *table) {
    return str_from(table->key);
}

int64_t table_version(const Table *table) {
    return table->version;
}

int64_t table_snapshot_id(const Table *table) {
    return table->snapshot ? table->snapshot->id : SNAPSHOT_NONE;
}

const Schema *table_schema(const Table *table) {
    return table->schema;
}

Str table_property(const Table *table, const char *name) {
    const Metadata *metadata = &table->document->metadata;
    return properties_get(metadata->properties, metadata->property_count, name);
}

int64_t snapshot_total(const Snapshot *snapshot, const char *name) {
    int64_t total;
    if (!snapshot) return 0;
    Str text = properties_get(snapshot->summary, snapshot->summary_count, name);
    return str_to_i64(text, &total) && total >= 0 ? total : -1;
}

/* The summary says it; where another engine left it out, the files do. */
int64_t table_rows(const Table *table) {
    int64_t total = snapshot_total(table->snapshot, "total-records");
    if (total >= 0 || !table->ready) return MAX(total, 0);
    total = 0;
    for (size_t i = 0; i < table->file_count; i++) total += table->files[i].rows;
    return total;
}

int64_t table_bytes(const Table *table) {
    int64_t total = snapshot_total(table->snapshot, "total-files-size");
    if (total >= 0 || !table->ready) return MAX(total, 0);
    total = 0;
    for (size_t i = 0; i < table->file_count; i++) total += table->files[i].bytes;
    return total;
}
