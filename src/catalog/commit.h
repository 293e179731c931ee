/* The loop that every change of a dataset goes through, and what it gives to the particular change.
 * Internal to catalog. */
#pragma once

#include "catalog/entry.h"

#define ATTEMPT_OBJECTS_MAX 8

typedef struct Attempt {
    Catalog *catalog;
    Entry *entry;
    Arena arena;
    Standing base;
    Bucket *bucket;
    Store *store;
    Metadata draft; /* borrows from base; changes go into fresh lists */
    Str document_key;
    Str made[ATTEMPT_OBJECTS_MAX]; /* removed when the attempt surely failed */
    size_t made_count;
    int64_t version; /* after it was won */
} Attempt;

typedef struct Change Change;
struct Change {
    /* Whether it may be made at all where the dataset stands now. */
    bool (*check)(const Change *change, Attempt *attempt, Err *err);
    /* Turns the draft into what shall be, writing what it needs. */
    bool (*apply)(const Change *change, Attempt *attempt, Err *err);
    Str bucket; /* of a new dataset; empty: primary */
    const Property *properties;
    size_t property_count;
    const void *context;
};

bool change_run(Catalog *catalog, const DatasetName *name, const Change *change, int64_t *version,
                Err *err);
Str attempt_uri(const Attempt *attempt, Arena *arena, Str key);
/* The key must live as long as the attempt. */
bool attempt_write(Attempt *attempt, Str key, Str text, Err *err);
void draft_log_version(Metadata *draft, int64_t snapshot_id); /* which becomes current */
/* Writes the manifests and the list of a data commit; the draft says what it follows. */
bool snapshot_build(const Commit *commit, Attempt *attempt, const Schema *schema, Snapshot *out,
                    Err *err);
