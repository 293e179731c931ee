/* The inside of a LanceTable: a snapshot per version, immutable and counted, and the data files
 * that are open. Readers hold a snapshot for as long as they read; a change publishes the next one.
 * Internal to lance. */
#pragma once

#include "lance/commit.h"
#include "lance/data_file.h"
#include "lance/deletion.h"

typedef struct Snapshot Snapshot;
/* Held until snapshot_release. */
Snapshot *table_snapshot(LanceTable *table);
void snapshot_release(Snapshot **snapshot);
const Manifest *snapshot_manifest(const Snapshot *snapshot);
/* Deleted offsets of the snapshot's n-th fragment, read when first asked for. */
bool snapshot_deleted(Snapshot *snapshot, size_t fragment, const NumberSet **out, Err *err);
/* The rows of a fragment that are left: physical less deleted, by its manifest. */
uint64_t fragment_rows(const Fragment *fragment);

/* The data file of a fragment that holds a field; *file NULL when none does: all is null. Held by
 * the table until table_release_file. */
bool table_field_file(LanceTable *table, const Fragment *fragment, int32_t field_id,
                      LanceFile **file, size_t *column, Err *err);
void table_release_file(LanceTable *table, LanceFile *file);

Store *table_store(const LanceTable *table);
Str table_path(const LanceTable *table);
bool table_writable(LanceTable *table, Err *err); /* whether it stands at the latest it knows */
/* Reads one version's manifest; LH_MISSING when it is not there. */
bool table_read_manifest(LanceTable *table, uint64_t version, Arena *arena, Manifest *out,
                         Err *err);
/* Makes a version current for readers. Takes the arena that the manifest lives in. */
void table_publish(LanceTable *table, const Manifest *manifest, Arena *arena);
