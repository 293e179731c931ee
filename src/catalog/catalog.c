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

bool catalog_open(Buckets *buckets, Catalog **out, Err *err) {
    (void)err;
    Catalog *catalog = calloc(1, sizeof *catalog);
    if (!catalog) abort();
    catalog->buckets = buckets;
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
    int64_t latest;
    *fresh = false;
    if (!table) return true;
    if (!bucket_find(catalog->buckets, table_bucket(table), &bucket, err)) {
        if (err->kind != LH_MISSING) return false;
        *err = (Err){0};
        return true;
    }
    if (bucket != table->document->bucket) return true;
    if (!pointer_latest(bucket_store(bucket), str_from(table->key), table->pointer, &latest, err))
        return false;
    *fresh = latest == table->pointer;
    if (*fresh) *out = (Standing){.table = TAKE(table), .pointer = latest};
    return true;
}

/* Looks into one bucket; *found says that pointers of the dataset are there. */
static bool stand_in(Entry *entry, Bucket **bucket, Standing *out, bool *found, Err *err) {
    OWNED(table_release) Table *before = entry_table(entry);
    int64_t latest;
    Str key = str_from(entry->name.key);
    bool same = before && before->document->bucket == *bucket;
    int64_t known = same ? before->pointer : 0;
    if (!pointer_latest(bucket_store(*bucket), key, known, &latest, err)) return false;
    *found = latest > 0;
    if (!*found) return true;
    TableAt at = {str_from(entry->name.shown), key, *bucket, latest, same ? before : NULL};
    Standing standing = {.pointer = latest};
    if (!table_open(&at, &standing.table, err)) return false;
    *bucket = at.bucket; /* taken when there is a table */
    if (!standing.table) standing.bucket = TAKE(*bucket);
    *out = standing;
    return true;
}

/* All buckets, the primary first, then by name. A live table wins over a dropped one. */
static bool stand_anywhere(Catalog *catalog, Entry *entry, Standing *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(standing_close) Standing dropped = {0};
    size_t count;
    Str *names = bucket_names(catalog->buckets, &arena, &count);
    for (size_t i = 0; i <= count; i++) {
        OWNED(bucket_release) Bucket *bucket = NULL;
        OWNED(standing_close) Standing here = {0};
        bool found = false;
        Err why = {0};
        Str name = i ? names[i - 1] : STR("primary");
        if (i && str_is(name, "primary")) continue;
        /* A bucket that is away must not keep the others' datasets from being used. */
        if (!bucket_find(catalog->buckets, name, &bucket, &why)) continue;
        if (!stand_in(entry, &bucket, &here, &found, &why)) {
            if (why.kind == LH_OFFLINE) continue;
            return *err = why, false;
        }
        if (here.table) {
            *out = here;
            here = (Standing){0};
            return true;
        }
        if (found && !dropped.bucket) {
            dropped = here;
            here = (Standing){0};
        }
    }
    *out = dropped;
    dropped = (Standing){0};
    return true;
}

bool entry_stand(Catalog *catalog, Entry *entry, Standing *out, Err *err) {
    bool fresh;
    if (!stand_on_cache(catalog, entry, out, &fresh, err)) return false;
    if (fresh) return true;
    pthread_mutex_lock(&entry->refresh);
    bool ok = stand_on_cache(catalog, entry, out, &fresh, err);
    if (ok && !fresh) {
        ok = stand_anywhere(catalog, entry, out, err);
        if (ok) entry_set(entry, out->table ? table_hold(out->table) : NULL);
    }
    pthread_mutex_unlock(&entry->refresh);
    return ok;
}

/* Loading. */

static size_t name_distance(Str a, Str b) {
    return str_distance(str_slice(a, 0, 64), str_slice(b, 0, 64));
}

bool dataset_missing(Catalog *catalog, const DatasetName *name, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Str *names, nearest = {0};
    size_t count, best = 4; /* further away it is another word, not a slip */
    Err ignored = {0};
    if (catalog_names(catalog, &arena, &names, &count, &ignored))
        for (size_t i = 0; i < count; i++) {
            size_t distance = name_distance(names[i], str_from(name->shown));
            if (distance < best) best = distance, nearest = names[i];
        }
    if (nearest.len)
        return err_code(err, LH_MISSING, "dataset_not_found",
                        "no dataset named '%s'; did you mean '%.*s'?", name->shown, SHOW(nearest));
    return err_code(err, LH_MISSING, "dataset_not_found", "no dataset named '%s'", name->shown);
}

/* Names that nobody ever had make no entry, so that asking for them costs no memory. */
static bool stand_by_name(Catalog *catalog, const DatasetName *name, Standing *out, Err *err) {
    Entry *entry = entry_known(catalog, name);
    if (entry) return entry_stand(catalog, entry, out, err);
    Entry passing = {.name = *name};
    pthread_mutex_init(&passing.lock, NULL);
    bool ok = stand_anywhere(catalog, &passing, out, err);
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
    if (!dataset_name_read(name, &dataset, err) ||
        !stand_by_name(catalog, &dataset, &standing, err))
        return false;
    if (!standing.table) return dataset_missing(catalog, &dataset, err);
    if (version != 0 && version != standing.table->version)
        return table_at_version(standing.table, version, out, err);
    *out = TAKE(standing.table);
    return true;
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

/* The folders directly below `prefix`, without it and their '/'. */
static bool folders(Store *store, Str prefix, NameList *out, Err *err) {
    ListOptions options = {.prefix = prefix, .delimiter = STR("/"), .limit = STORE_LIST_MAX};
    ObjectList list;
    do {
        if (!store_list(store, &options, out->arena, &list, err)) return false;
        for (size_t i = 0; i < list.prefix_count; i++)
            name_add(out, str_slice(list.prefixes[i], prefix.len, list.prefixes[i].len - 1));
        options.after = list.next;
    } while (list.next.len);
    return true;
}

static bool names_in(Store *store, NameList *out, Err *err) {
    NameList spaces = {.arena = out->arena};
    if (!folders(store, STR("warehouse/"), &spaces, err)) return false;
    for (size_t i = 0; i < spaces.len; i++) {
        NameList tables = {.arena = out->arena};
        Str space = spaces.items[i];
        if (!folders(store, arena_print(out->arena, "warehouse/%.*s/", SHOW(space)), &tables, err))
            return false;
        for (size_t j = 0; j < tables.len; j++) {
            DatasetName name;
            Err ignored = {0}; /* a folder that is no dataset's */
            Str full = arena_print(out->arena, "%.*s.%.*s", SHOW(space), SHOW(tables.items[j]));
            if (dataset_name_read(full, &name, &ignored))
                name_add(out, arena_copy(out->arena, str_from(name.shown)));
        }
    }
    return true;
}

static int str_order(const void *a, const void *b) {
    return str_compare(*(const Str *)a, *(const Str *)b);
}

/* In order, each once, dropped ones left out. A broken one stays: whoever loads it is told why. */
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
        if (!ok || standing.table) names->items[kept++] = names->items[i];
    }
    names->len = kept;
}

bool catalog_names(Catalog *catalog, Arena *arena, Str **names, size_t *count, Err *err) {
    NameList list = {.arena = arena};
    size_t bucket_count;
    Str *buckets = bucket_names(catalog->buckets, arena, &bucket_count);
    for (size_t i = 0; i < bucket_count; i++) {
        OWNED(bucket_release) Bucket *bucket = NULL;
        Err why = {0};
        if ((!bucket_find(catalog->buckets, buckets[i], &bucket, &why) ||
             !names_in(bucket_store(bucket), &list, &why)) &&
            why.kind != LH_OFFLINE && why.kind != LH_MISSING)
            return *err = why, false;
    }
    names_settle(catalog, &list);
    *names = list.items;
    *count = list.len;
    return true;
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
                     int64_t version) {
    CatalogEvent event = {kind, str_from(name->shown), version};
    for (size_t i = 0; i < catalog->listener_count; i++)
        catalog->listeners[i].call(catalog->listeners[i].context, &event);
}
