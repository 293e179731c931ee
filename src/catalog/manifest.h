/* Manifests and manifest lists (spec, "Manifests" and "Snapshots"): which data files a snapshot
 * holds. Names and field ids are the spec's: some readers go by one, some by the other. Internal to
 * catalog. */
#pragma once

#include "catalog/schema.h"

#include "base/bytes.h"
#include "base/text.h"

#define MANIFEST_ENTRIES_MAX 4000000
#define MANIFEST_LIST_MAX 100000

typedef enum EntryStatus { ENTRY_EXISTING, ENTRY_ADDED, ENTRY_DELETED } EntryStatus;

typedef struct ManifestColumn {
    int32_t id;
    int64_t size, values, nulls, nans; /* -1: unknown */
    bool has_lower, has_upper;
    Str lower, upper; /* single-value bytes */
} ManifestColumn;

typedef struct ManifestEntry {
    EntryStatus status;
    int64_t snapshot_id, sequence, file_sequence; /* sequences: written unless ADDED */
    Str path;                                     /* a full URI */
    int64_t rows, bytes;
    ManifestColumn *columns;
    size_t column_count;
} ManifestEntry;

typedef struct ManifestFile { /* a row of a manifest list */
    Str path;
    int64_t length;
    int32_t spec_id, content; /* content 1: delete files */
    int64_t sequence, min_sequence, snapshot_id;
    int64_t added, existing, deleted;
    int64_t added_rows, existing_rows, deleted_rows;
} ManifestFile;

typedef struct ManifestTarget {
    const Schema *schema;
    int64_t snapshot_id, sequence;
} ManifestTarget;

/* Writes an unpartitioned manifest into *file and describes it in *row, all but row->path. */
void manifest_write(const ManifestTarget *target, const ManifestEntry *entries, size_t count,
                    Text *file, ManifestFile *row);
void manifest_list_write(int64_t snapshot_id, int64_t parent_id, int64_t sequence,
                         const ManifestFile *rows, size_t count, Text *file);

/* Entries of every status, sequence numbers inherited from `row`. Text lies in the arena. Bounds
 * only when asked for. LH_IMPOSSIBLE: delete files, encrypted files, another format than Parquet.
 */
bool manifest_read(Bytes file, const ManifestFile *row, bool bounds, Arena *arena,
                   ManifestEntry **entries, size_t *count, Err *err);
bool manifest_list_read(Bytes file, Arena *arena, ManifestFile **rows, size_t *count, Err *err);
