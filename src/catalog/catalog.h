/* Datasets: each is an Iceberg v2 table (https://iceberg.apache.org/spec) in one home bucket, below
 * warehouse/<namespace>/<table>/:
 *
 *     metadata/NNNNN-<uuid>.metadata.json      immutable, one a commit
 *     metadata/snap-<id>.avro, <uuid>-m0.avro  manifest list, manifests
 *     pointer/<20 digits>                      created once each, by if_absent: the commit point,
 *                                              unless that is a row in PostgreSQL
 *     data/<uuid>.parquet
 *
 * A commit writes new files, then takes the next pointer; whoever takes it has won, the others
 * rebase and try again. Nothing is renamed over or edited, nothing is deleted after an unknown
 * outcome. Version n of a dataset is the n-th snapshot of its history. PII verdicts, lineage,
 * owner, tags and descriptions live in table properties and snapshot summaries, so that other
 * engines carry them along.
 *
 * Thread rule: a Catalog is thread safe; a Table is immutable and counted. */
#pragma once

#include "catalog/schema.h"
#include "storage/storage.h"

#include "base/base.h"

#define DATASET_NAME_MAX 127 /* "namespace.name", 63 each */
#define CATALOG_COLUMNS_MAX 4096

typedef struct Catalog Catalog;
typedef struct Table Table;

typedef struct CatalogOptions {
    Str postgres_dsn; /* the tables' commit points are rows there; empty: objects in their buckets
                       */
    Str name;         /* of the catalog in PostgreSQL, which may hold several; empty: "lakehouse" */
} CatalogOptions;

/* options NULL: all defaults. */
bool catalog_open(Buckets *buckets, const CatalogOptions *options, Catalog **out, Err *err);
void catalog_close(Catalog **catalog);
Buckets *catalog_buckets(Catalog *catalog); /* those that it was opened over */
/* [a-z_][a-z0-9_]{0,62}, optionally "namespace.name"; LH_INVALID "bad_dataset_name". */
bool dataset_name_check(Str name, Err *err);

/* Bounds what the calling thread may name, until it is called with NULL: any other dataset is
 * LH_DENIED "out_of_scope" in everything below, and in no list or hint. `bucket` is its home; empty
 * where that is not known yet. */
typedef bool CatalogAdmits(const void *context, Str dataset, Str bucket);
void catalog_bound(CatalogAdmits *admits, const void *context);

/* A dataset at one version, held until table_release. version 0: the current one. Cheap when
 * nothing changed (one look at the pointer). LH_MISSING "dataset_not_found" with a hint. */
bool catalog_load(Catalog *catalog, Str name, int64_t version, Table **out, Err *err);
void table_release(Table **table);
/* Whether a load that failed so leaves the name free for a new dataset. A bucket out of reach,
 * which may have one of that name, does not keep new ones from being made in those that answer. */
bool dataset_is_free(const Err *why);
/* The names of all datasets, "main." left out, sorted. */
bool catalog_names(Catalog *catalog, Arena *arena, Str **names, size_t *count, Err *err);
bool catalog_bucket_in_use(Catalog *catalog, Str bucket,
                           Err *err); /* LH_CONFLICT names a dataset */

/* Reading a Table. All pointers live as long as it is held. */
Str table_name(const Table *table); /* as users write it */
Str table_bucket(const Table *table);
Str table_uuid(const Table *table);
Str table_location_key(const Table *table); /* warehouse/<namespace>/<table> */
int64_t table_version(const Table *table);  /* of the snapshot that is read; 0: no snapshot */
int64_t table_snapshot_id(const Table *table);
const Schema *table_schema(const Table *table);
Str table_property(const Table *table, const char *name); /* empty when absent */
/* The kind of personal data that a column holds, empty for none: a person's verdict before the one
 * that was found. */
Str table_column_pii(const Table *table, Str column, Arena *arena);
int64_t table_rows(const Table *table);
int64_t table_bytes(const Table *table);
/* Whether every data file holds the schema's columns under its names and types and in its order, so
 * that it can be read as it is; otherwise it must be read by field id. */
bool table_is_plain(const Table *table);

typedef struct ColumnStats {
    int32_t field_id;
    int64_t size_bytes, value_count, null_count; /* -1: unknown */
    bool has_nan;
    bool has_bounds;
    Str lower, upper; /* as DuckDB's RETURN_STATS writes them, for the field's type */
} ColumnStats;

typedef struct DataFile {
    Str key; /* within the table's bucket */
    int64_t rows, bytes;
    ColumnStats *columns; /* in what a scan returns only ids, counts and nulls are kept */
    size_t column_count;
} DataFile;

/* The data files that the table's snapshot holds. Cached with the Table. Refuses delete files that
 * it cannot apply (LH_IMPOSSIBLE), never ignores them. */
bool table_files(Table *table, const DataFile **files, size_t *count, Err *err);

/* Writing. */
typedef enum CommitMode { COMMIT_CREATE, COMMIT_APPEND, COMMIT_REPLACE } CommitMode;
typedef struct Property {
    Str name, value; /* an empty value removes it */
} Property;
typedef struct Lineage { /* one entry of the dataset's lineage, kept in the snapshot's summary */
    const char *source_system; /* file http postgresql mysql query watcher */
    Str source;                /* redacted locator */
    Str query;                 /* may be empty */
    int64_t rows, bytes, at_ms;
    int64_t duration_ms; /* of reading and writing; 0: not said */
} Lineage;
typedef struct Commit {
    Str dataset, bucket; /* bucket matters for a create; empty: primary */
    CommitMode mode;
    bool widen; /* of an append: the schema is what catalog_plan_widen gave, and the table's then */
    const char *operation_note; /* extra summary word, may be NULL */
    /* The version that a replace was computed from; LH_CONFLICT "dataset_changed" when another
     * commit came between. 0: whatever is there is replaced. */
    int64_t base_version;
    const Schema *schema; /* field ids as in the files: see catalog_plan */
    const DataFile *files;
    size_t file_count;
    const Property *properties;
    size_t property_count;
    Lineage lineage;
    Text *enqueued; /* of the event, see CatalogEvent; may be NULL */
} Commit;
/* Checks mode against what exists and gives the field ids that the new files must carry: those of
 * the existing columns by name, new ones above last-column-id. On append the schema must agree
 * (LH_CONFLICT "schema_mismatch", each difference listed); columns may come in any order. `wanted`
 * has ids 0; *out is in the order of `wanted`. Also gives the home bucket. */
bool catalog_plan(Catalog *catalog, Str dataset, CommitMode mode, Str bucket, const Schema *wanted,
                  Arena *arena, const Schema **out, Str *home_bucket, Str *location_key, Err *err);
/* The same for an append whose columns may be others than the table's: *out holds all columns that
 * the table will have, first those of `wanted` in its order, then those that it lacks, which the
 * files hold as NULL. New columns are added; int becomes long, float double, a decimal one of more
 * digits and the same scale. LH_CONFLICT "schema_mismatch" lists whatever else differs. */
bool catalog_plan_widen(Catalog *catalog, Str dataset, const Schema *wanted, Arena *arena,
                        const Schema **out, Str *home_bucket, Str *location_key, Err *err);
/* One new version, or none. Retries lost swaps. LH_CONFLICT "dataset_exists" for a create. On a
 * definite failure the caller removes its data files; on an unknown one (LH_OFFLINE, code
 * "commit_unknown") they stay. Publishes DATASET_APPENDED and the like after success. */
bool catalog_commit(Catalog *catalog, const Commit *commit, int64_t *version, Err *err);
bool catalog_patch(Catalog *catalog, Str dataset, const Property *properties, size_t count,
                   Err *err);
bool catalog_rollback(Catalog *catalog, Str dataset, int64_t version, int64_t *new_version,
                      Err *err);
bool catalog_drop(Catalog *catalog, Str dataset, bool purge, Err *err);

/* Removes files of a dataset that none of its versions names and that are older than before_ms. */
bool catalog_sweep(Catalog *catalog, Str dataset, int64_t before_ms, int64_t *removed, Err *err);

/* API.md "Catalog": GET of all, of one, of lineage. */
bool catalog_write_list(Catalog *catalog, JsonWriter *w, Err *err);
bool catalog_write_dataset(Catalog *catalog, Str name, int64_t version, JsonWriter *w, Err *err);
/* `indexes`: the names of what is made of the dataset, which layers above know. */
bool catalog_write_lineage(Catalog *catalog, Str name, const Str *indexes, size_t index_count,
                           JsonWriter *w, Err *err);
/* Whether a version of the dataset was made from this source; false when there is no dataset. */
bool catalog_has_source(Catalog *catalog, Str name, Str source, bool *out, Err *err);
/* The lineage entry as JSON members, shared with ingest's answer. */
void lineage_write(const Lineage *lineage, int64_t version, JsonWriter *w);

/* Events for layers above. Called on the committing thread after the commit, in subscription
 * order; a subscriber must be quick and must not commit. */
typedef enum CatalogEventKind {
    DATASET_CREATED,
    DATASET_APPENDED,
    DATASET_REPLACED,
    DATASET_DROPPED
} CatalogEventKind;
typedef struct CatalogEvent {
    CatalogEventKind kind;
    Str dataset;
    int64_t version;
    Text *enqueued; /* a listener adds what it will work on because of this, JSON strings with
                       commas between; NULL: nobody asks */
} CatalogEvent;
typedef void CatalogListener(void *context, const CatalogEvent *event);
void catalog_subscribe(Catalog *catalog, CatalogListener *listener,
                       void *context); /* at start only */

/* Property names that we own. A column's PII verdict is a JSON object {"kind","confidence"}. */
#define PROPERTY_OWNER "lakehouse.owner"
#define PROPERTY_DESCRIPTION "lakehouse.description"
#define PROPERTY_TAGS "lakehouse.tags"       /* JSON array */
#define PROPERTY_PII "lakehouse.pii"         /* JSON object: column -> {"kind","confidence"} */
#define PROPERTY_PII_SET "lakehouse.pii-set" /* the same, set by a person: wins */
#define PROPERTY_CURSOR                                                                            \
    "lakehouse.cursor" /* {"column","last"}: an incremental read goes on there */
#define PROPERTY_COLUMN_DOCS "lakehouse.column-descriptions"
