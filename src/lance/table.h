/* The inside of a LanceTable: a snapshot per version, immutable and counted, and the data files
 * that are open. Readers hold a snapshot for as long as they read; a change publishes the next one.
 * Internal to lance. */
#pragma once

#include "lance/commit.h"
#include "lance/data_file.h"
#include "lance/deletion.h"

#include <pthread.h>

typedef struct Snapshot Snapshot;
/* Held until snapshot_release. */
Snapshot *table_snapshot(LanceTable *table);
void snapshot_release(Snapshot **snapshot);
/* Of a manifest's bytes, held once; and held once more. LH_IMPOSSIBLE when it cannot be read. */
bool snapshot_new(Bytes bytes, Snapshot **out, Err *err);
Snapshot *snapshot_hold(Snapshot *snapshot);
/* What the last snapshot knows of deletion files that the next one names too. */
void snapshot_pass_on(Snapshot *from, Snapshot *to);
const Manifest *snapshot_manifest(const Snapshot *snapshot);
/* Deleted offsets of the snapshot's n-th fragment, read when first asked for; they live as long as
 * the snapshot is held. */
bool snapshot_deleted(LanceTable *table, Snapshot *snapshot, size_t fragment, const NumberSet **out,
                      Err *err);
size_t snapshot_find(const Snapshot *snapshot, uint64_t fragment_id); /* SIZE_MAX: none */

/* The data file of a fragment that holds a field, and its column there; *file NULL when none does:
 * all is null. Held until table_release_file. LH_IMPOSSIBLE says why a fragment cannot be read. */
bool table_field_file(LanceTable *table, const Fragment *fragment, int32_t field_id,
                      LanceFile **file, size_t *column, Err *err);
void table_release_file(LanceTable *table, LanceFile **file);
/* lance_file_create in the file version of the table's data. */
bool table_file_create(LanceTable *table, Str key, const LanceSchema *schema, LanceFileWriter **out,
                       Err *err);

Store *table_store(const LanceTable *table);
Str table_path(const LanceTable *table);
/* Takes the right to change the table, one thread at a time; LH_CONFLICT when the table was checked
 * out at an older version. Ends with table_unlock. */
bool table_lock(LanceTable *table, Err *err);
void table_unlock(LanceTable *table);
/* Reads one version's manifest; LH_MISSING "version_not_found". */
bool table_read_manifest(LanceTable *table, uint64_t version, Arena *arena, Manifest *out,
                         Err *err);
/* Columns as a table begins with them: a copy in the arena, with ids. */
bool schema_number(const LanceSchema *schema, Arena *arena, LanceSchema *out, Err *err);
/* Creates the next version's manifest from its bytes, once the files `after` are durable;
 * LH_PRECONDITION when it is there already. */
bool table_create_manifest(LanceTable *table, uint64_t version, Bytes bytes, Keys after, Err *err);
bool table_remove_manifest(LanceTable *table, uint64_t version, Err *err);
/* The latest version there is, by listing; LH_MISSING when there is none. */
bool table_find_latest(LanceTable *table, uint64_t *out, Err *err);
/* Whether the table was known to stand at the latest version a moment ago. */
bool table_is_fresh(const LanceTable *table);
/* Makes a version current for readers, of the bytes of its manifest. */
bool table_publish(LanceTable *table, Bytes manifest, bool latest, Err *err);
/* Every version there is, ascending. */
bool table_list_versions(LanceTable *table, Arena *arena, uint64_t **out, size_t *count, Err *err);

/* What searches keep open between them (search_view.h). */
typedef struct SearchView SearchView;
typedef struct BtreeView BtreeView; /* btree_view.h */
typedef struct SearchCache {
    pthread_mutex_t lock;
    SearchView *views; /* one a column */
    BtreeView *btrees;
} SearchCache;
SearchCache *table_search_cache(LanceTable *table);
