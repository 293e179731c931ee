/* A dataset opened at one version. Internal to catalog. */
#pragma once

#include "catalog/manifest.h"
#include "catalog/metadata.h"

#include <pthread.h>
#include <stdatomic.h>

#define TABLE_FILES_MAX 1000000

/* A metadata document in memory and the bucket it came from, shared by the Tables of all its
 * versions. */
typedef struct Document {
    _Atomic int holders;
    Bucket *bucket;
    Metadata metadata;
    Str key; /* of the document, in its own arena */
} Document;

/* The live files of one manifest. Manifests are immutable, so that the next version of a table
 * takes over those that it still lists. */
typedef struct Part {
    _Atomic int holders;
    Arena arena;
    Str manifest; /* its key */
    DataFile *files;
    size_t count;
} Part;

typedef struct Parts {
    Part **items;
    size_t len;
} Parts;

struct Table {
    _Atomic int holders;
    char name[DATASET_NAME_MAX + 1]; /* as users write it */
    char key[DATASET_NAME_MAX + 32]; /* warehouse/<namespace>/<table> */
    Document *document;
    int64_t pointer, version;
    const Snapshot *snapshot; /* NULL: no snapshot yet */
    const Schema *schema;
    bool plain;           /* see table_is_plain */
    pthread_mutex_t lock; /* of what follows, until `ready` */
    atomic_bool ready;
    Parts parts, warm; /* warm: of the version before, until the files are read */
    Arena arena;       /* of `files` */
    DataFile *files;
    size_t file_count;
};

typedef struct TableAt {
    Str name, key;
    Bucket *bucket;
    int64_t pointer;
    Table *before; /* may be NULL: whose parts to take over */
} TableAt;

/* From the metadata document that a pointer names, relative to the table. Takes at->bucket when it
 * gives a table. */
bool table_open(TableAt *at, Str metadata, Table **out, Err *err);
/* The same from a document that is at hand. */
bool table_from(TableAt *at, Str document_key, Str document, Table **out, Err *err);
/* The same table at one of its versions. */
bool table_at_version(Table *newest, int64_t version, Table **out, Err *err);
/* Its metadata document, relative to the table; empty for NULL. */
Str table_document(const Table *table);
Table *table_hold(Table *table);
/* Manifest rows of the snapshot, as its list has them. */
bool table_manifests(const Table *table, Arena *arena, ManifestFile **rows, size_t *count,
                     Err *err);
bool table_entries(const Table *table, const ManifestFile *row, bool bounds, Arena *arena,
                   ManifestEntry **entries, size_t *count, Err *err);
/* Where a URI of the table's metadata lies in its bucket. The part below the table's own folder
 * counts, so that a bucket that was copied elsewhere is still readable. */
bool table_key_of(const Table *table, Str uri, Arena *arena, Str *key, Err *err);
int64_t snapshot_total(const Snapshot *snapshot, const char *name); /* -1: not said */
