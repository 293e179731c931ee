/* The catalog in memory: what is known of each dataset's newest version. Internal to catalog. */
#pragma once

#include "catalog/table.h"

#define CATALOG_SLOTS 1024
#define CATALOG_LISTENERS_MAX 16

typedef struct DatasetName {
    char shown[DATASET_NAME_MAX + 1]; /* as users write it: "main." left out */
    char key[DATASET_NAME_MAX + 32];  /* warehouse/<namespace>/<table> */
} DatasetName;

/* Made when a dataset is first found or created, kept until the catalog is closed. */
typedef struct Entry Entry;
struct Entry {
    Entry *next;
    DatasetName name;
    pthread_mutex_t commit;  /* commits of this process wait here instead of losing to each other */
    pthread_mutex_t refresh; /* one thread reads a new version, the others wait for it */
    pthread_mutex_t lock;    /* of `table` */
    Table *table;            /* the newest that is known; NULL: not looked for, or dropped */
};

typedef struct Pointers Pointers; /* pointer.h */

struct Catalog {
    Buckets *buckets;
    Pointers *pointers;
    pthread_rwlock_t lock;
    Entry *slots[CATALOG_SLOTS];
    struct {
        CatalogListener *call;
        void *context;
    } listeners[CATALOG_LISTENERS_MAX];
    size_t listener_count;
};

bool dataset_name_read(Str name, DatasetName *out, Err *err);
bool dataset_admitted(const DatasetName *name, Str bucket, Err *err); /* by catalog_bound */
Entry *catalog_entry(Catalog *catalog, const DatasetName *name);      /* made when missing */

/* Where a dataset stands: its newest Table, or where its pointers end when it was dropped or never
 * was. */
typedef struct Standing {
    Table *table;   /* held; NULL: there is none */
    Bucket *bucket; /* held; only without a table, and only where a dropped one lies */
    int64_t pointer;
} Standing;
void standing_close(Standing *standing);
bool entry_stand(Catalog *catalog, Entry *entry, Standing *out, Err *err);
void entry_set(Entry *entry, Table *table); /* takes it; NULL: dropped */
/* Says so: LH_MISSING with a hint, or LH_OFFLINE while a bucket that may have it cannot be asked.
 */
#define DATASET_UNREACHABLE "dataset_unreachable" /* the code of the latter */
bool dataset_missing(Catalog *catalog, const DatasetName *name, Err *err);
/* Whether a new dataset may live there: LH_IMPOSSIBLE "no_conditional_writes". */
bool home_check(Catalog *catalog, Bucket *home, Err *err);
void catalog_publish(Catalog *catalog, CatalogEventKind kind, const DatasetName *name,
                     int64_t version, Text *enqueued);
