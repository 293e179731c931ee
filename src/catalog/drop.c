/* Dropping: the next pointer says so. Purging comes after, when nobody can find the files any more;
 * the pointers stay, so that a name that is used again goes on counting. */
#include "catalog/commit.h"

#include "base/base.h"
#include "catalog/pointer.h"

#include <stdio.h>

#define DROP_TRIES_MAX 100

static bool purge(Store *store, const DatasetName *name, Err *err) {
    static const char *const folders[] = {"data", "metadata"};
    for (size_t i = 0; i < COUNT(folders); i++) {
        char prefix[DATASET_NAME_MAX + 64];
        snprintf(prefix, sizeof prefix, "%s/%s/", name->key, folders[i]);
        if (!store_remove_below(store, str_from(prefix), err))
            return err_while(err, "'%s' was dropped, but not all its files are gone", name->shown);
    }
    return true;
}

static bool drop_locked(Catalog *catalog, Entry *entry, bool purging, Err *err) {
    for (int tries = 0; tries < DROP_TRIES_MAX; tries++) {
        OWNED(standing_close) Standing base = {0};
        if (!entry_stand(catalog, entry, &base, err)) return false;
        if (!base.table) return dataset_missing(catalog, &entry->name, err);
        Bucket *bucket = base.table->document->bucket;
        Head from = {bucket, base.pointer, table_document(base.table)};
        switch (
            catalog->pointers->ops->swap(catalog->pointers, &entry->name, &from, (Str){0}, err)) {
        case POINTER_WON:
            entry_set(entry, NULL);
            return !purging || purge(bucket_store(bucket), &entry->name, err);
        case POINTER_LOST: /* a commit came between: that version is dropped too */
            *err = (Err){0};
            continue;
        default:
            return err_while(err, "dropping '%s'", entry->name.shown);
        }
    }
    return err_code(err, LH_BUSY, "commit_contended", "dropping '%s' lost to commits %d times",
                    entry->name.shown, DROP_TRIES_MAX);
}

bool catalog_drop(Catalog *catalog, Str dataset, bool purging, Err *err) {
    OWNED(table_release) Table *table = NULL;
    DatasetName name;
    if (!dataset_name_read(dataset, &name, err) || !catalog_load(catalog, dataset, 0, &table, err))
        return false;
    int64_t version = table_version(table);
    Entry *entry = catalog_entry(catalog, &name);
    pthread_mutex_lock(&entry->commit);
    bool ok = drop_locked(catalog, entry, purging, err);
    pthread_mutex_unlock(&entry->commit);
    if (ok) catalog_publish(catalog, DATASET_DROPPED, &name, version, NULL);
    return ok;
}
