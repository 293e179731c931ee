/* A table's metadata document (spec, "Table Metadata"): one immutable JSON file a commit. What a
 * commit does not touch, members that we do not know included, is carried over as it was read.
 * Internal to catalog. */
#pragma once

#include "catalog/catalog.h"

#define METADATA_SIZE_MAX (256u << 20)
#define METADATA_LOG_MAX 100 /* previous documents that are named; older ones are removed */
#define SNAPSHOT_NONE (-1)

#define SUMMARY_LINEAGE "lakehouse.lineage" /* a JSON object */
#define SUMMARY_NOTE "lakehouse.note"

typedef struct Snapshot {
    int64_t id, parent_id, sequence, at_ms; /* parent_id: SNAPSHOT_NONE for the first */
    Str manifest_list;                      /* URI */
    int32_t schema_id;                      /* -1: not said */
    Property *summary;
    size_t summary_count;
} Snapshot;

typedef struct SnapshotLog {
    int64_t at_ms, snapshot_id;
} SnapshotLog;

typedef struct MetadataLog {
    int64_t at_ms;
    Str file;
} MetadataLog;

typedef struct Metadata {
    Arena arena; /* empty in the draft of a commit, which borrows from its base */
    Str uuid, location;
    int64_t last_sequence, last_updated_ms, current_snapshot_id;
    int32_t last_column_id, current_schema_id;
    Schema *schemas;
    size_t schema_count;
    Property *properties;
    size_t property_count;
    Snapshot *snapshots;
    size_t snapshot_count;
    SnapshotLog *snapshot_log; /* version n is snapshot_log[n - 1] */
    size_t snapshot_log_len;
    MetadataLog *metadata_log;
    size_t metadata_log_len;
    bool partitioned;     /* by another engine; we read such tables but do not write them */
    const Json *document; /* as it was read; NULL for a new table */
} Metadata;

bool metadata_read(Str text, Metadata *out, Err *err);
void metadata_close(Metadata *metadata);
void metadata_write(const Metadata *metadata, Text *out);

const Schema *metadata_schema(const Metadata *metadata, int32_t id); /* NULL when absent */
const Snapshot *metadata_snapshot(const Metadata *metadata, int64_t id);
Str properties_get(const Property *properties, size_t count, const char *name);
