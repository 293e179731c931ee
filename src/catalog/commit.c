/* Commits. Each attempt starts from where the dataset stands, writes its new files, and takes the
 * next pointer; a lost pointer means that somebody else committed, and the attempt is made again
 * from there. Commits of one process wait for each other before that, so that they do not waste
 * attempts. What an attempt wrote is removed when it surely did not become a version, and kept when
 * that is not sure. */
#include "catalog/commit.h"

#include "base/base.h"
#include "catalog/pointer.h"
#include "catalog/type.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COMMIT_TRIES_MAX 100
#define COMMIT_WAIT_MS 20 /* between attempts, at most, at random */

/* Objects of an attempt. */

Str attempt_uri(const Attempt *attempt, Arena *arena, Str key) {
    Str location = store_location(attempt->store);
    return arena_print(arena, "%.*s/%.*s", SHOW(location), SHOW(key));
}

/* The name is noted first: a write that failed late may have left the object all the same. */
bool attempt_write(Attempt *attempt, Str key, Str text, Err *err) {
    attempt->made[attempt->made_count++] = key;
    return store_write(attempt->store, key, bytes_of(text), NULL, err) ||
           err_while(err, "committing to '%s'", attempt->entry->name.shown);
}

static void attempt_undo(Attempt *attempt) {
    for (size_t i = 0; i < attempt->made_count; i++) {
        Err ignored = {0}; /* left-overs cost space and are never read */
        store_remove(attempt->store, attempt->made[i], &ignored);
    }
    attempt->made_count = 0;
}

static void attempt_close(Attempt *attempt) {
    standing_close(&attempt->base);
    bucket_release(&attempt->bucket);
    arena_close(&attempt->arena);
}

/* Drafts. */

/* A copy of the list with room for one more. */
static void *longer(Arena *arena, const void *items, size_t len, size_t size) {
    void *copy = arena_alloc(arena, (len + 1) * size);
    if (len) memcpy(copy, items, len * size);
    return copy;
}

static void draft_begin(Attempt *attempt, int64_t now_ms) {
    Metadata *draft = &attempt->draft;
    Arena *arena = &attempt->arena;
    const Table *base = attempt->base.table;
    char uuid[UUID_SIZE];
    if (base) {
        *draft = base->document->metadata;
        draft->arena = (Arena){0};
    } else {
        random_uuid(uuid);
        *draft = (Metadata){.uuid = arena_copy(arena, str_from(uuid)), .current_snapshot_id = -1};
    }
    draft->location = attempt_uri(attempt, arena, str_from(attempt->entry->name.key));
    draft->schemas = longer(arena, draft->schemas, draft->schema_count, sizeof *draft->schemas);
    draft->snapshots =
        longer(arena, draft->snapshots, draft->snapshot_count, sizeof *draft->snapshots);
    draft->snapshot_log =
        longer(arena, draft->snapshot_log, draft->snapshot_log_len, sizeof *draft->snapshot_log);
    draft->metadata_log =
        longer(arena, draft->metadata_log, draft->metadata_log_len, sizeof *draft->metadata_log);
    if (base)
        draft->metadata_log[draft->metadata_log_len++] =
            (MetadataLog){draft->last_updated_ms, attempt_uri(attempt, arena, base->document->key)};
    /* Some engines refuse a table whose clock ran backwards. */
    draft->last_updated_ms = MAX(now_ms, draft->last_updated_ms);
}

static void property_set(Metadata *draft, Arena *arena, Property property) {
    for (size_t i = 0; i < draft->property_count; i++) {
        if (!str_equal(draft->properties[i].name, property.name)) continue;
        if (property.value.len)
            draft->properties[i] = property;
        else
            draft->properties[i] = draft->properties[--draft->property_count];
        return;
    }
    if (property.value.len == 0) return;
    draft->properties =
        longer(arena, draft->properties, draft->property_count, sizeof *draft->properties);
    draft->properties[draft->property_count++] = property;
}

static void properties_set(Attempt *attempt, const Property *properties, size_t count) {
    Metadata *draft = &attempt->draft;
    /* The base's own list must stay as it is. */
    draft->properties = longer(&attempt->arena, draft->properties, draft->property_count,
                               sizeof *draft->properties);
    for (size_t i = 0; i < count; i++) property_set(draft, &attempt->arena, properties[i]);
}

void draft_log_version(Metadata *draft, int64_t snapshot_id) {
    draft->current_snapshot_id = snapshot_id;
    draft->snapshot_log[draft->snapshot_log_len++] =
        (SnapshotLog){draft->last_updated_ms, snapshot_id};
}

/* Publishing. */

/* For readers without a catalog: the newest document under a name they can guess, and a hint. Not
 * the commit point; when this fails the table is none the worse. */
static void publish_hint(const Attempt *attempt, Str document) {
    OWNED(arena_close) Arena arena = {0};
    Str folder = arena_print(&arena, "%s/metadata", attempt->entry->name.key);
    long long number = (long long)attempt->base.pointer + 1;
    Str copy = arena_print(&arena, "%.*s/v%lld.metadata.json", SHOW(folder), number);
    Str hint = arena_print(&arena, "%.*s/version-hint.text", SHOW(folder));
    Str old = arena_print(&arena, "%.*s/v%lld.metadata.json", SHOW(folder), number - 2);
    PutCondition lazy = {.lazy = true};
    Err err = {0};
    bool ok = store_write(attempt->store, copy, bytes_of(document), &lazy, &err) &&
              store_write(attempt->store, hint, bytes_of(arena_print(&arena, "%lld", number)), NULL,
                          &err);
    if (ok && number > 2) ok = store_remove(attempt->store, old, &err);
    if (!ok) log_warn("the hint of '%s': %s", attempt->entry->name.shown, err.message);
}

/* Documents that fell out of the log are read by nobody any more. */
static void remove_expired(Attempt *attempt, Str expired) {
    Arena *arena = &attempt->arena;
    Str key;
    Err ignored = {0};
    if (expired.len && table_key_of(attempt->base.table, expired, arena, &key, &ignored))
        store_remove(attempt->store, key, &ignored);
}

static bool take_over(Attempt *attempt, Str document, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    Table *table = NULL;
    if (!bucket_find(attempt->catalog->buckets, bucket_name(attempt->bucket), &bucket, err))
        return false;
    TableAt at = {str_from(attempt->entry->name.shown), str_from(attempt->entry->name.key), bucket,
                  attempt->base.pointer + 1, attempt->base.table};
    if (!table_from(&at, attempt->document_key, document, &table, err)) return false;
    bucket = at.bucket;
    attempt->version = table->version;
    entry_set(attempt->entry, table);
    return true;
}

static PointerResult attempt_publish(Attempt *attempt, Err *err) {
    OWNED(text_close) Text document = {0};
    Metadata *draft = &attempt->draft;
    char uuid[UUID_SIZE];
    Str expired = {0};
    random_uuid(uuid);
    if (draft->metadata_log_len > METADATA_LOG_MAX) {
        expired = draft->metadata_log[0].file;
        draft->metadata_log++;
        draft->metadata_log_len--;
    }
    metadata_write(draft, &document);
    if (document.len > METADATA_SIZE_MAX) {
        err_set(err, LH_TOO_BIG, "the metadata of '%s' would have more than %u bytes",
                attempt->entry->name.shown, METADATA_SIZE_MAX);
        return POINTER_FAILED;
    }
    Str name = arena_print(&attempt->arena, "metadata/%05lld-%s.metadata.json",
                           (long long)attempt->base.pointer, uuid);
    Str table_key = str_from(attempt->entry->name.key);
    attempt->document_key = arena_print(&attempt->arena, "%.*s/%.*s", SHOW(table_key), SHOW(name));
    if (!attempt_write(attempt, attempt->document_key, text_str(&document), err))
        return POINTER_FAILED;
    Pointers *pointers = attempt->catalog->pointers;
    Head from = {attempt->bucket, attempt->base.pointer, table_document(attempt->base.table)};
    PointerResult result = pointers->ops->swap(pointers, &attempt->entry->name, &from, name, err);
    if (result != POINTER_WON) return result;
    publish_hint(attempt, text_str(&document));
    remove_expired(attempt, expired);
    Err why = {0}; /* it is committed: a cache that cannot take it over reads it when asked */
    if (!take_over(attempt, text_str(&document), &why))
        log_warn("after a commit to '%s': %s", attempt->entry->name.shown, why.message);
    return POINTER_WON;
}

/* Attempts. */

static bool attempt_home(Attempt *attempt, Str bucket, Err *err) {
    const Table *table = attempt->base.table;
    Str where = table ? table_bucket(table) : bucket.len ? bucket : STR("primary");
    if (!dataset_admitted(&attempt->entry->name, where, err) ||
        !bucket_find(attempt->catalog->buckets, where, &attempt->bucket, err))
        return false;
    attempt->store = bucket_store(attempt->bucket);
    Pointers *pointers = attempt->catalog->pointers;
    if (table) return true;
    if (!home_check(attempt->catalog, attempt->bucket, err)) return false;
    /* Pointers go on where a dropped table's end; in another bucket they start anew. */
    return attempt->base.bucket == attempt->bucket ||
           pointers->ops->start(pointers, &attempt->entry->name, attempt->bucket,
                                &attempt->base.pointer, err);
}

static void wait_a_little(void) {
    long ns = (long)(random_u64() % (COMMIT_WAIT_MS * 1000000));
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static PointerResult attempt_once(const Change *change, Attempt *attempt, Err *err) {
    if (!entry_stand(attempt->catalog, attempt->entry, &attempt->base, err) ||
        !change->check(change, attempt, err) || !attempt_home(attempt, change->bucket, err))
        return POINTER_FAILED;
    draft_begin(attempt, clock_now_ms());
    properties_set(attempt, change->properties, change->property_count);
    if (!change->apply(change, attempt, err)) return POINTER_FAILED;
    return attempt_publish(attempt, err);
}

static bool unknown(const Entry *entry, Err *err) {
    Err why = *err;
    return err_code(err, LH_OFFLINE, "commit_unknown",
                    "whether the commit to '%s' was made is not known: %s", entry->name.shown,
                    why.message);
}

static bool change_locked(Catalog *catalog, Entry *entry, const Change *change, int64_t *version,
                          Err *err) {
    for (int tries = 0; tries < COMMIT_TRIES_MAX; tries++) {
        OWNED(attempt_close) Attempt attempt = {.catalog = catalog, .entry = entry};
        PointerResult result = attempt_once(change, &attempt, err);
        if (result == POINTER_WON) {
            *version = attempt.version;
            return true;
        }
        if (result == POINTER_UNKNOWN) return unknown(entry, err);
        attempt_undo(&attempt);
        if (result == POINTER_FAILED) return false;
        *err = (Err){0};
        wait_a_little();
    }
    return err_code(err, LH_BUSY, "commit_contended",
                    "the commit to '%s' lost to others %d times in a row", entry->name.shown,
                    COMMIT_TRIES_MAX);
}

bool change_run(Catalog *catalog, const DatasetName *name, const Change *change, int64_t *version,
                Err *err) {
    Entry *entry = catalog_entry(catalog, name);
    pthread_mutex_lock(&entry->commit);
    bool ok = change_locked(catalog, entry, change, version, err);
    pthread_mutex_unlock(&entry->commit);
    return ok;
}
