/* Writing the document: what we keep in the struct, then every other member as it was read. */
#include "catalog/metadata.h"

#include "base/base.h"

static const char *const written[] = {
    "format-version",      "table-uuid", "location",  "last-sequence-number", "last-updated-ms",
    "last-column-id",      "schemas",    "schema",    "current-schema-id",    "properties",
    "current-snapshot-id", "refs",       "snapshots", "snapshot-log",         "metadata-log"};

/* What a new table has and an old one keeps. */
static const struct {
    const char *name, *value;
} fresh[] = {
    {"partition-specs",       "[{\"spec-id\":0,\"fields\":[]}]" },
    {"default-spec-id",       "0"                               },
    {"last-partition-id",     "999"                             },
    {"sort-orders",           "[{\"order-id\":0,\"fields\":[]}]"},
    {"default-sort-order-id", "0"                               },
    {"statistics",            "[]"                              },
    {"partition-statistics",  "[]"                              }
};

static void properties_write(const char *name, const Property *properties, size_t count,
                             JsonWriter *w) {
    jw_name(w, name), jw_object(w);
    for (size_t i = 0; i < count; i++) {
        jw_name_str(w, properties[i].name);
        jw_text(w, properties[i].value);
    }
    jw_end(w);
}

static void snapshot_write(const Snapshot *snapshot, JsonWriter *w) {
    jw_object(w);
    jw_member_int(w, "snapshot-id", snapshot->id);
    if (snapshot->parent_id != SNAPSHOT_NONE)
        jw_member_int(w, "parent-snapshot-id", snapshot->parent_id);
    jw_member_int(w, "sequence-number", snapshot->sequence);
    jw_member_int(w, "timestamp-ms", snapshot->at_ms);
    jw_member_text(w, "manifest-list", snapshot->manifest_list);
    properties_write("summary", snapshot->summary, snapshot->summary_count, w);
    if (snapshot->schema_id >= 0) jw_member_int(w, "schema-id", snapshot->schema_id);
    jw_end(w);
}

/* The branch `main` is ours to move; branches and tags of other engines stay. */
static void refs_write(const Metadata *metadata, JsonWriter *w) {
    const Json *refs = metadata->document ? json_get(metadata->document, "refs") : NULL;
    jw_name(w, "refs"), jw_object(w);
    if (metadata->current_snapshot_id >= 0) {
        jw_name(w, "main"), jw_object(w);
        jw_member_int(w, "snapshot-id", metadata->current_snapshot_id);
        jw_member_text(w, "type", STR("branch"));
        jw_end(w);
    }
    for (size_t i = 0; refs && refs->kind == JSON_OBJECT && i < refs->len; i++) {
        if (str_is(refs->items[i].name, "main")) continue;
        jw_name_str(w, refs->items[i].name);
        jw_json(w, &refs->items[i]);
    }
    jw_end(w);
}

static void lists_write(const Metadata *metadata, JsonWriter *w) {
    jw_name(w, "schemas"), jw_array(w);
    for (size_t i = 0; i < metadata->schema_count; i++) schema_write_json(&metadata->schemas[i], w);
    jw_end(w);
    jw_name(w, "snapshots"), jw_array(w);
    for (size_t i = 0; i < metadata->snapshot_count; i++)
        snapshot_write(&metadata->snapshots[i], w);
    jw_end(w);
    jw_name(w, "snapshot-log"), jw_array(w);
    for (size_t i = 0; i < metadata->snapshot_log_len; i++) {
        jw_object(w);
        jw_member_int(w, "timestamp-ms", metadata->snapshot_log[i].at_ms);
        jw_member_int(w, "snapshot-id", metadata->snapshot_log[i].snapshot_id);
        jw_end(w);
    }
    jw_end(w);
    jw_name(w, "metadata-log"), jw_array(w);
    for (size_t i = 0; i < metadata->metadata_log_len; i++) {
        jw_object(w);
        jw_member_int(w, "timestamp-ms", metadata->metadata_log[i].at_ms);
        jw_member_text(w, "metadata-file", metadata->metadata_log[i].file);
        jw_end(w);
    }
    jw_end(w);
}

static bool is_written(Str name) {
    for (size_t i = 0; i < COUNT(written); i++)
        if (str_is(name, written[i])) return true;
    return false;
}

static void rest_write(const Metadata *metadata, JsonWriter *w) {
    const Json *document = metadata->document;
    if (document) {
        for (size_t i = 0; i < document->len; i++) {
            if (is_written(document->items[i].name)) continue;
            jw_name_str(w, document->items[i].name);
            jw_json(w, &document->items[i]);
        }
        return;
    }
    for (size_t i = 0; i < COUNT(fresh); i++)
        jw_name(w, fresh[i].name), jw_raw(w, str_from(fresh[i].value));
}

void metadata_write(const Metadata *metadata, Text *out) {
    JsonWriter writer = {.out = out}, *w = &writer;
    jw_object(w);
    jw_member_int(w, "format-version", 2);
    jw_member_text(w, "table-uuid", metadata->uuid);
    jw_member_text(w, "location", metadata->location);
    jw_member_int(w, "last-sequence-number", metadata->last_sequence);
    jw_member_int(w, "last-updated-ms", metadata->last_updated_ms);
    jw_member_int(w, "last-column-id", metadata->last_column_id);
    jw_member_int(w, "current-schema-id", metadata->current_schema_id);
    properties_write("properties", metadata->properties, metadata->property_count, w);
    jw_member_int(w, "current-snapshot-id", metadata->current_snapshot_id);
    refs_write(metadata, w);
    lists_write(metadata, w);
    rest_write(metadata, w);
    jw_end(w);
}
