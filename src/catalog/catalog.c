/* Names, the cache, and loading. The newest Table of a dataset is kept; a load asks whether the
 * next pointer exists, and when it does not, which is nearly always, hands out what is there. */
#include "catalog/catalog.h"

#include "base/base.h"
#include "catalog/entry.h"
#include "catalog/pointer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_MAX 63 /* of a namespace or a name */

/* Names. */

static bool part_check(Str part) {
    if (part.len < 1 || part.len > PART_MAX) return false;
    for (size_t i = 0; i < part.len; i++) {
        char c = part.data[i];
        bool ok = (c >= 'a' && c <= 'z') || c == '_' || (i > 0 && c >= '0' && c <= '9');
        if (!ok) return false;
    }
    return true;
}

bool dataset_name_check(Str name, Err *err) {
    Str rest = name, first = str_until(&rest, '.');
    bool two = first.len < name.len;
    if (part_check(first) && (!two || part_check(rest))) return true;
    return err_code(err, LH_INVALID, "bad_dataset_name",
                    "'%.*s' is no dataset name: a letter a-z or '_', then up to 62 of a-z, 0-9 and "
                    "'_'; optionally 'namespace.name'",
                    (int)MIN(name.len, (size_t)140), name.data);
}

bool dataset_name_read(Str name, DatasetName *out, Err *err) {
    if (!dataset_name_check(name, err)) return false;
    Str rest = name, first = str_until(&rest, '.');
    Str space = rest.len ? first : STR("main"), table = rest.len ? rest : first;
    bool plain = str_is(space, "main");
    snprintf(out->key, sizeof out->key, "warehouse/%.*s/%.*s", SHOW(space), SHOW(table));
    snprintf(out->shown, sizeof out->shown, "%.*s%s%.*s", plain ? 0 : (int)space.len, space.data,
             plain ? "" : ".", SHOW(table));
    return true;
}

/* Bounds. */

static __thread struct {
    CatalogAdmits *admits; /* NULL: all */
    const void *context;
} bound;

void catalog_bound(CatalogAdmits *admits, const void *context) {
    bound.admits = admits;
    bound.context = context;
}

bool dataset_admitted(const DatasetName *name, Str bucket, Err *err) {
    return !bound.admits || bound.admits(bound.context, str_from(name->shown), bucket) ||
           err_code(err, LH_DENIED, "out_of_scope", "dataset '%s' is outside of the scope",
                    name->shown);
}

/* Entries. */

static Entry *slot_find(Entry *slot, const DatasetName *name) {
    while (slot && strcmp(slot->name.key, name->key) != 0) slot = slot->next;
    return slot;
}

static Entry **slot_of(Catalog *catalog, const DatasetName *name) {
    return &catalog->slots[hash64(bytes_of(str_from(name->key))) % CATALOG_SLOTS];
}

static Entry *entry_known(Catalog *catalog, const DatasetName *name) {
    pthread_rwlock_rdlock(&catalog->lock);
    Entry *entry = slot_find(*slot_of(catalog, name), name);
    pthread_rwlock_unlock(&catalog->lock);
    return entry;
}

Entry *catalog_entry(Catalog *catalog, const DatasetName *name) {
    Entry *entry = entry_known(catalog, name);
    if (entry) return entry;
    pthread_rwlock_wrlock(&catalog->lock);
    Entry **slot = slot_of(catalog, name);
    entry = slot_find(*slot, name);
    if (!entry) {
        entry = calloc(1, sizeof *entry);
        if (!entry) abort();
        entry->name = *name;
        entry->next = *slot;
        pthread_mutex_init(&entry->commit, NULL);
        pthread_mutex_init(&entry->refresh, NULL);
        pthread_mutex_init(&entry->lock, NULL);
        *slot = entry;
    }
    pthread_rwlock_unlock(&catalog->lock);
    return entry;
}

static void entry_close(Entry *entry) {
    table_release(&entry->table);
    pthread_mutex_destroy(&entry->commit);
    pthread_mutex_destroy(&entry->refresh);
    pthread_mutex_destroy(&entry->lock);
    free(entry);
}

static Table *entry_table(Entry *entry) {
    pthread_mutex_lock(&entry->lock);
    Table *table = entry->table ? table_hold(entry->table) : NULL;
    pthread_mutex_unlock(&entry->lock);
    return table;
}

void entry_set(Entry *entry, Table *table) {
    pthread_mutex_lock(&entry->lock);
    Table *old = entry->table;
    entry->table = table;
    pthread_mutex_unlock(&entry->lock);
    table_release(&old);
}

bool catalog_open(Buckets *buckets, const CatalogOptions *options, Catalog **out, Err *err) {
    Pointers *pointers;
    if (options && options->postgres_dsn.len) {
        if (!pointers_postgres(buckets, options, &pointers, err)) return false;
    } else {
        pointers = pointers_objects(buckets);
    }
    Catalog *catalog = calloc(1, sizeof *catalog);
    if (!catalog) abort();
    catalog->buckets = buckets;
    catalog->pointers = pointers;
    pthread_rwlock_init(&catalog->lock, NULL);
    *out = catalog;
    return true;
}

void catalog_close(Catalog **closing) {
    Catalog *catalog = *closing;
    if (!catalog) return;
    for (size_t i = 0; i < CATALOG_SLOTS; i++)
        for (Entry *entry = catalog->slots[i], *next; entry; entry = next) {
            next = entry->next;
            entry_close(entry);
        }
    catalog->pointers->ops->close(catalog->pointers);
    pthread_rwlock_destroy(&catalog->lock);
    free(catalog);
    *closing = NULL;
}

Buckets *catalog_buckets(Catalog *catalog) {
    return catalog->buckets;
}

/* Where a dataset stands. */

void standing_close(Standing *standing) {
    table_release(&standing->table);
    bucket_release(&standing->bucket);
    standing->pointer = 0;
}

/* The cached table when it is still the newest and its bucket still registered. */
static bool stand_on_cache(Catalog *catalog, Entry *entry, Standing *out, bool *fresh, Err *err) {
    OWNED(table_release) Table *table = entry_table(entry);
    OWNED(bucket_release) Bucket *bucket = NULL;
    *fresh = false;
    if (!table) return true;
    if (!bucket_find(catalog->buckets, table_bucket(table), &bucket, err)) {
        if (err->kind != LH_MISSING) return false;
        *err = (Err){0};
        return true;
    }
    if (bucket != table->document->bucket) return true;
    if (!catalog->pointers->ops->is_newest(catalog->pointers, table, fresh, err)) return false;
    int64_t number = table->pointer;
    if (*fresh) *out = (Standing){.table = TAKE(table), .pointer = number};
    return true;
}

void head_close(Head *head) {
    bucket_release(&head->bucket);
    *head = (Head){0};
}

static bool stand_anew(Catalog *catalog, Entry *entry, Standing *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(table_release) Table *before = entry_table(entry);
    OWNED(head_close) Head head = {0};
    Standing standing = {0};
    if (!catalog->pointers->ops->find(catalog->pointers, &entry->name, before, &arena, &head, err))
        return false;
    standing.pointer = head.number;
    if (head.metadata.len) {
        bool same = before && before->document->bucket == head.bucket;
        TableAt at = {str_from(entry->name.shown), str_from(entry->name.key), head.bucket,
                      head.number, same ? before : NULL};
        if (!table_open(&at, head.metadata, &standing.table, err)) return false;
        head.bucket = at.bucket; /* taken */
    } else {
        standing.bucket = TAKE(head.bucket);
    }
    *out = standing;
    return true;
}

/* A bucket that ignores conditions would let two commits take the same pointer. */
bool home_check(Catalog *catalog, Bucket *home, Err *err) {
    if (!catalog->pointers->ops->needs_if_absent) return true;
    if (store_check_condition(bucket_store(home), &(PutCondition){.if_absent = true}, err))
        return true;
    Str name = bucket_name(home);
    return err_while(err,
                     "commits in the bucket '%.*s' need another bucket, or [catalog] pointer = "
                     "\"postgres\"",
                     SHOW(name));
}

bool entry_stand(Catalog *catalog, Entry *entry, Standing *out, Err *err) {
    bool fresh;
    if (!stand_on_cache(catalog, entry, out, &fresh, err)) return false;
    if (fresh) return true;
    pthread_mutex_lock(&entry->refresh);
    bool ok = stand_on_cache(catalog, entry, out, &fresh, err);
    if (ok && !fresh) {
        ok = stand_anew(catalog, entry, out, err);
        if (ok) entry_set(entry, out->table ? table_hold(out->table) : NULL);
    }
    pthread_mutex_unlock(&entry->refresh);
    return ok;
}

/* Loading. */

/* Names that nobody ever had make no entry, so that asking for them costs no memory. */
static bool stand_by_name(Catalog *catalog, const DatasetName *name, Standing *out, Err *err) {
    Entry *entry = entry_known(catalog, name);
    if (entry) return entry_stand(catalog, entry, out, err);
    Entry passing = {.name = *name};
    pthread_mutex_init(&passing.lock, NULL);
    bool ok = stand_anew(catalog, &passing, out, err);
    pthread_mutex_destroy(&passing.lock);
    if (!ok || !out->table) return ok;
    entry = catalog_entry(catalog, name);
    pthread_mutex_lock(&entry->lock);
    if (!entry->table) entry->table = table_hold(out->table);
    pthread_mutex_unlock(&entry->lock);
    return true;
}

bool catalog_load(Catalog *catalog, Str name, int64_t version, Table **out, Err *err) {
    DatasetName dataset;
    OWNED(standing_close) Standing standing = {0};
    if (!dataset_name_read(name, &dataset, err) || !dataset_admitted(&dataset, (Str){0}, err) ||
        !stand_by_name(catalog, &dataset, &standing, err))
        return false;
    if (!standing.table) return dataset_missing(catalog, &dataset, err);
    if (!dataset_admitted(&dataset, table_bucket(standing.table), err)) return false;
    if (version != 0 && version != standing.table->version)
        return table_at_version(standing.table, version, out, err);
    *out = TAKE(standing.table);
    return true;
}

bool dataset_is_free(const Err *why) {
    return why->kind == LH_MISSING || (why->code && strcmp(why->code, DATASET_UNREACHABLE) == 0);
}

/* Listing. */

typedef struct NameList {
    Arena *arena;
    Str *items;
    size_t len, cap;
} NameList;

static void name_add(NameList *names, Str name) {
    if (names->len == names->cap) {
        size_t cap = MAX(names->cap * 2, (size_t)64);
        Str *items = arena_array(names->arena, Str, cap);
        if (names->len) memcpy(items, names->items, names->len * sizeof *items);
        names->items = items;
        names->cap = cap;
    }
    names->items[names->len++] = name;
}

static void name_seen(void *context, Str space, Str table) {
    NameList *names = context;
    DatasetName name;
    Err ignored = {0}; /* a folder that is no dataset's */
    Str full = arena_print(names->arena, "%.*s.%.*s", SHOW(space), SHOW(table));
    if (dataset_name_read(full, &name, &ignored))
        name_add(names, arena_copy(names->arena, str_from(name.shown)));
}

static int str_order(const void *a, const void *b) {
    return str_compare(*(const Str *)a, *(const Str *)b);
}

/* In order, each once, those left out that were dropped or are out of bounds. A broken one stays:
 * whoever loads it is told why. */
static void names_settle(Catalog *catalog, NameList *names) {
    size_t kept = 0;
    if (names->len) qsort(names->items, names->len, sizeof *names->items, str_order);
    for (size_t i = 0; i < names->len; i++) {
        OWNED(standing_close) Standing standing = {0};
        DatasetName name;
        Err err = {0};
        if (kept && str_equal(names->items[kept - 1], names->items[i])) continue;
        bool ok = dataset_name_read(names->items[i], &name, &err) &&
                  stand_by_name(catalog, &name, &standing, &err);
        Str home = standing.table ? table_bucket(standing.table) : (Str){0};
        if ((!ok || standing.table) && dataset_admitted(&name, home, &err))
            names->items[kept++] = names->items[i];
    }
    names->len = kept;
}

static bool names_all(Catalog *catalog, Arena *arena, NameList *out, Str *silent, Err *err) {
    NameList list = {.arena = arena};
    if (!catalog->pointers->ops->names(catalog->pointers, arena, name_seen, &list, silent, err))
        return false;
    names_settle(catalog, &list);
    *out = list;
    return true;
}

bool catalog_names(Catalog *catalog, Arena *arena, Str **names, size_t *count, Err *err) {
    NameList list;
    Str silent = {0};
    if (!names_all(catalog, arena, &list, &silent, err)) return false;
    *names = list.items;
    *count = list.len;
    return true;
}

static size_t name_distance(Str a, Str b) {
    return str_distance(str_slice(a, 0, 64), str_slice(b, 0, 64));
}

bool dataset_missing(Catalog *catalog, const DatasetName *name, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    NameList names = {0};
    Str nearest = {0}, silent = {0};
    size_t best = 4; /* further away it is another word, not a slip */
    if (!names_all(catalog, &arena, &names, &silent, err)) return false;
    if (silent.len)
        return err_code(err, LH_OFFLINE, DATASET_UNREACHABLE,
                        "no dataset named '%s' in the buckets that answer; '%.*s' is out of reach",
                        name->shown, SHOW(silent));
    for (size_t i = 0; i < names.len; i++) {
        size_t distance = name_distance(names.items[i], str_from(name->shown));
        if (distance < best) best = distance, nearest = names.items[i];
    }
    if (nearest.len)
        return err_code(err, LH_MISSING, "dataset_not_found",
                        "no dataset named '%s'; did you mean '%.*s'?", name->shown, SHOW(nearest));
    return err_code(err, LH_MISSING, "dataset_not_found", "no dataset named '%s'", name->shown);
}

bool catalog_bucket_in_use(Catalog *catalog, Str bucket, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Str *names;
    size_t count;
    if (!catalog_names(catalog, &arena, &names, &count, err)) return false;
    for (size_t i = 0; i < count; i++) {
        OWNED(table_release) Table *table = NULL;
        Err ignored = {0};
        if (!catalog_load(catalog, names[i], 0, &table, &ignored)) continue;
        if (str_equal(table_bucket(table), bucket))
            return err_code(err, LH_CONFLICT, "bucket_in_use",
                            "the bucket '%.*s' is the home of dataset '%.*s'", SHOW(bucket),
                            SHOW(names[i]));
    }
    return true;
}

/* Events. */

void catalog_subscribe(Catalog *catalog, CatalogListener *listener, void *context) {
    assert(catalog->listener_count < CATALOG_LISTENERS_MAX);
    catalog->listeners[catalog->listener_count].call = listener;
    catalog->listeners[catalog->listener_count++].context = context;
}

void catalog_publish(Catalog *catalog, CatalogEventKind kind, const DatasetName *name,
                     int64_t version, Text *enqueued) {
    CatalogEvent event = {kind, str_from(name->shown), version, enqueued};
    for (size_t i = 0; i < catalog->listener_count; i++)
        catalog->listeners[i].call(catalog->listeners[i].context, &event);
}
