/* Reading the document. It may be another engine's, so that each number and list is checked. */
#include "catalog/metadata.h"

#include "base/base.h"

#include <string.h>

#define FORMAT_READ_MAX 2

static bool lacks(Err *err, const char *what) {
    err_set(err, LH_CORRUPT, "the table's metadata has no usable '%s'", what);
    return false;
}

static bool number(const Json *json, const char *name, int64_t *out, Err *err) {
    const Json *value = json_get(json, name);
    if (!value || value->kind != JSON_INT) return lacks(err, name);
    *out = value->integer;
    return true;
}

/* Absent or null gives the fallback; anything else but an integer is damage, not absence. */
static bool optional(const Json *json, const char *name, int64_t fallback, int64_t *out, Err *err) {
    const Json *value = json_get(json, name);
    if (value && value->kind != JSON_NULL) return number(json, name, out, err);
    *out = fallback;
    return true;
}

static bool small(const Json *json, const char *name, int32_t *out, Err *err) {
    int64_t value;
    if (!number(json, name, &value, err)) return false;
    if (value < -1 || value > INT32_MAX) return lacks(err, name);
    *out = (int32_t)value;
    return true;
}

static bool text(const Json *json, const char *name, Str *out, Err *err) {
    *out = json_get_text(json, name, (Str){0});
    return out->len > 0 || lacks(err, name);
}

/* A list that may be absent; *items has room for one more, which a commit may add. */
static bool list(const Json *json, const char *name, const Json **items, size_t *len, Err *err) {
    const Json *value = json_get(json, name);
    *items = NULL;
    *len = 0;
    if (!value || value->kind == JSON_NULL) return true;
    if (value->kind != JSON_ARRAY) return lacks(err, name);
    *items = value->items;
    *len = value->len;
    return true;
}

static bool read_properties(const Json *json, const char *name, Arena *arena, Property **out,
                            size_t *count, Err *err) {
    const Json *map = json_get(json, name);
    *out = NULL;
    *count = 0;
    if (!map || map->kind == JSON_NULL) return true;
    if (map->kind != JSON_OBJECT) return lacks(err, name);
    *out = arena_array(arena, Property, map->len + 1);
    for (size_t i = 0; i < map->len; i++) {
        if (map->items[i].kind != JSON_TEXT) return lacks(err, name);
        (*out)[i] = (Property){map->items[i].name, map->items[i].text};
    }
    *count = map->len;
    return true;
}

static bool read_schemas(const Json *json, Metadata *out, Err *err) {
    const Json *items, *one = json_get(json, "schema");
    size_t len;
    if (!list(json, "schemas", &items, &len, err)) return false;
    if (len == 0 && one) items = one, len = 1; /* version 1 */
    out->schemas = arena_array(&out->arena, Schema, len + 1);
    for (size_t i = 0; i < len; i++)
        if (!schema_from_json(&items[i], &out->arena, &out->schemas[i], err)) return false;
    out->schema_count = len;
    out->current_schema_id = (int32_t)json_get_int(json, "current-schema-id", 0);
    if (!metadata_schema(out, out->current_schema_id)) return lacks(err, "current-schema-id");
    return true;
}

static bool read_snapshot(const Json *json, Arena *arena, Snapshot *out, Err *err) {
    int64_t schema_id;
    if (!optional(json, "schema-id", -1, &schema_id, err)) return false;
    if (schema_id < -1 || schema_id > INT32_MAX) return lacks(err, "schema-id");
    out->schema_id = (int32_t)schema_id;
    return optional(json, "parent-snapshot-id", SNAPSHOT_NONE, &out->parent_id, err) &&
           optional(json, "sequence-number", 0, &out->sequence, err) &&
           number(json, "snapshot-id", &out->id, err) &&
           number(json, "timestamp-ms", &out->at_ms, err) &&
           text(json, "manifest-list", &out->manifest_list, err) &&
           read_properties(json, "summary", arena, &out->summary, &out->summary_count, err);
}

static bool read_snapshots(const Json *json, Metadata *out, Err *err) {
    const Json *items;
    size_t len;
    if (!list(json, "snapshots", &items, &len, err)) return false;
    out->snapshots = arena_array(&out->arena, Snapshot, len + 1);
    for (size_t i = 0; i < len; i++)
        if (!read_snapshot(&items[i], &out->arena, &out->snapshots[i], err)) return false;
    out->snapshot_count = len;
    if (!optional(json, "current-snapshot-id", SNAPSHOT_NONE, &out->current_snapshot_id, err))
        return false;
    if (out->current_snapshot_id < SNAPSHOT_NONE) return lacks(err, "current-snapshot-id");
    if (out->current_snapshot_id >= 0 && !metadata_snapshot(out, out->current_snapshot_id))
        return lacks(err, "current-snapshot-id");
    return true;
}

static bool read_logs(const Json *json, Metadata *out, Err *err) {
    const Json *items;
    size_t len;
    if (!list(json, "snapshot-log", &items, &len, err)) return false;
    out->snapshot_log = arena_array(&out->arena, SnapshotLog, len + 1);
    for (size_t i = 0; i < len; i++)
        if (!number(&items[i], "timestamp-ms", &out->snapshot_log[i].at_ms, err) ||
            !number(&items[i], "snapshot-id", &out->snapshot_log[i].snapshot_id, err))
            return false;
    out->snapshot_log_len = len;
    if (!list(json, "metadata-log", &items, &len, err)) return false;
    out->metadata_log = arena_array(&out->arena, MetadataLog, len + 1);
    for (size_t i = 0; i < len; i++)
        if (!number(&items[i], "timestamp-ms", &out->metadata_log[i].at_ms, err) ||
            !text(&items[i], "metadata-file", &out->metadata_log[i].file, err))
            return false;
    out->metadata_log_len = len;
    return true;
}

/* A table whose log was lost or never kept still has its current version. */
static void complete_log(Metadata *out) {
    if (out->current_snapshot_id < 0) return;
    if (out->snapshot_log_len > 0 &&
        out->snapshot_log[out->snapshot_log_len - 1].snapshot_id == out->current_snapshot_id)
        return;
    out->snapshot_log[out->snapshot_log_len++] =
        (SnapshotLog){out->last_updated_ms, out->current_snapshot_id};
}

static bool read_specs(const Json *json, Metadata *out, Err *err) {
    const Json *items;
    size_t len;
    int64_t current = json_get_int(json, "default-spec-id", 0);
    if (!list(json, "partition-specs", &items, &len, err)) return false;
    for (size_t i = 0; i < len; i++) {
        const Json *fields = json_get(&items[i], "fields");
        if (json_get_int(&items[i], "spec-id", 0) == current)
            out->partitioned = fields && fields->kind == JSON_ARRAY && fields->len > 0;
    }
    return true;
}

static bool read_document(Metadata *out, Err *err) {
    const Json *json = out->document;
    int64_t format;
    if (!number(json, "format-version", &format, err)) return false;
    if (format < 1 || format > FORMAT_READ_MAX)
        return err_set(err, LH_IMPOSSIBLE,
                       "the table has Iceberg format version %lld; 1 to %d are read",
                       (long long)format, FORMAT_READ_MAX);
    return optional(json, "last-sequence-number", 0, &out->last_sequence, err) &&
           text(json, "table-uuid", &out->uuid, err) &&
           text(json, "location", &out->location, err) &&
           number(json, "last-updated-ms", &out->last_updated_ms, err) &&
           small(json, "last-column-id", &out->last_column_id, err) &&
           read_schemas(json, out, err) && read_specs(json, out, err) &&
           read_properties(json, "properties", &out->arena, &out->properties, &out->property_count,
                           err) &&
           read_snapshots(json, out, err) && read_logs(json, out, err);
}

bool metadata_read(Str source, Metadata *out, Err *err) {
    OWNED(metadata_close) Metadata metadata = {0};
    if (!json_read(source, &metadata.arena, &metadata.document, err))
        return err_set(err, LH_CORRUPT, "the table's metadata is not JSON");
    if (!read_document(&metadata, err)) return false;
    complete_log(&metadata);
    *out = metadata;
    metadata = (Metadata){0};
    return true;
}

void metadata_close(Metadata *metadata) {
    Arena arena = metadata->arena; /* the struct itself may lie in it */
    *metadata = (Metadata){0};
    arena_close(&arena);
}

const Schema *metadata_schema(const Metadata *metadata, int32_t id) {
    for (size_t i = 0; i < metadata->schema_count; i++)
        if (metadata->schemas[i].id == id) return &metadata->schemas[i];
    return NULL;
}

/* From the newest: that is the one that is nearly always meant. */
const Snapshot *metadata_snapshot(const Metadata *metadata, int64_t id) {
    for (size_t i = metadata->snapshot_count; i-- > 0;)
        if (metadata->snapshots[i].id == id) return &metadata->snapshots[i];
    return NULL;
}

Str properties_get(const Property *properties, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (str_is(properties[i].name, name)) return properties[i].value;
    return (Str){0};
}
