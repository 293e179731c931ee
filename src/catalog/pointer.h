/* The commit point of every table: which metadata document is its current one, and the swap that
 * makes another one current. Two kinds: numbered objects beside each table (pointer_objects.c) and
 * rows in PostgreSQL (pointer_postgres.c). Internal to catalog. Thread safe. */
#pragma once

#include "catalog/entry.h"

#define POINTER_BODY_MAX 4096

/* Where a dataset's pointer stands. */
typedef struct Head {
    Bucket *bucket; /* held; NULL: the dataset is nowhere */
    int64_t number; /* of the newest pointer; 0: none */
    Str metadata;   /* of its document, relative to the table; empty: it was dropped */
} Head;
void head_close(Head *head);

typedef enum PointerResult {
    POINTER_WON,
    POINTER_LOST,    /* somebody else was there first */
    POINTER_FAILED,  /* surely not written; err says why */
    POINTER_UNKNOWN, /* maybe written; err says why: nothing may be deleted */
} PointerResult;

/* A folder or row that names a dataset; names that are none are the receiver's to skip. */
typedef void PointerName(void *context, Str name_space, Str table);

typedef struct PointerOps {
    /* Over all buckets; `known` is the newest version that this process has seen, or NULL. A bucket
     * that is out of reach is passed over. */
    bool (*find)(Pointers *pointers, const DatasetName *name, const Table *known, Arena *arena,
                 Head *out, Err *err);
    bool (*is_newest)(Pointers *pointers, const Table *table, bool *out, Err *err);
    /* Where a table that does not exist starts in this bucket: its number is that of an earlier one
     * which was dropped there, or 0. */
    bool (*start)(Pointers *pointers, const DatasetName *name, Bucket *bucket, int64_t *number,
                  Err *err);
    /* From where the head stands to head->number + 1. metadata empty: drops the table. */
    PointerResult (*swap)(Pointers *pointers, const DatasetName *name, const Head *from,
                          Str metadata, Err *err);
    /* *silent: a bucket that could not be asked, or empty; in the arena. */
    bool (*names)(Pointers *pointers, Arena *arena, PointerName *seen, void *context, Str *silent,
                  Err *err);
    void (*close)(Pointers *pointers); /* frees it too */
    bool needs_if_absent;              /* of the bucket that a table lives in */
} PointerOps;

struct Pointers {
    const PointerOps *ops;
    Buckets *buckets; /* outlives it */
};

Pointers *pointers_objects(Buckets *buckets);
/* LH_INVALID for a dsn that is none; a server that is out of reach is not found out here. The
 * tables are made when they are missing. */
bool pointers_postgres(Buckets *buckets, const CatalogOptions *options, Pointers **out, Err *err);
