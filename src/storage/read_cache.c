/* The entries of the cache: found by what they are copies of, made when somebody asks, evicted when
 * nobody uses them. The order of use is a list from the oldest; an entry moves to its end when it
 * is held and when it is closed. */
#include "storage/read_cache_entry.h"

#include "base/base.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TABLE_SLOTS 16384
#define OBJECT_SIZE_MAX ((uint64_t)1 << 46) /* the map of a larger one would not fit memory */

/* The table. Its slot is the hash of location and key, which the file's name begins with, so that
 * all versions of an object share a slot and a name leads there too. */

static uint64_t hash_object(Str location, Str key) {
    return hash64(bytes_of(location)) * 31 + hash64(bytes_of(key));
}

static CacheEntry **slot_of(ReadCache *cache, uint64_t hash) {
    return &cache->table[hash % TABLE_SLOTS];
}

static void order_remove(ReadCache *cache, CacheEntry *entry) {
    *(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
    *(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
    entry->older = entry->newer = NULL;
}

static void order_add(ReadCache *cache, CacheEntry *entry) {
    entry->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = entry;
    cache->newest = entry;
}

static uint64_t entry_hash(const CacheEntry *entry) {
    return hash_object(entry->location, entry->key);
}

static void table_add(ReadCache *cache, CacheEntry *entry) {
    CacheEntry **slot = slot_of(cache, entry_hash(entry));
    entry->same_slot = *slot;
    *slot = entry;
    entry->listed = true;
    cache->entry_count++;
    order_add(cache, entry);
}

/* The file goes with it: what is open goes on reading it without a name. */
static void table_remove(ReadCache *cache, CacheEntry *entry) {
    CacheEntry **link = slot_of(cache, entry_hash(entry));
    while (*link != entry) link = &(*link)->same_slot;
    *link = entry->same_slot;
    entry->listed = false;
    cache->entry_count--;
    order_remove(cache, entry);
    unlink(entry->path);
}

/* `etag` NULL: any. */
static CacheEntry *table_find(ReadCache *cache, Str location, Str key, const char *etag) {
    CacheEntry *entry = *slot_of(cache, hash_object(location, key));
    for (; entry; entry = entry->same_slot)
        if (str_equal(key, entry->key) && str_equal(location, entry->location) &&
            (!etag || strcmp(etag, entry->etag) == 0))
            return entry;
    return NULL;
}

/* Entries. */

static void entry_free(CacheEntry *entry) {
    atomic_fetch_sub(&entry->cache->bytes, entry_bytes(entry));
    pthread_cond_destroy(&entry->changed);
    pthread_mutex_destroy(&entry->lock);
    free(entry->path);
    free(entry->err);
    free(entry->blocks);
    free(entry);
}

static bool is_used(const CacheEntry *entry) {
    return entry->holders > 0 || entry->opens > 0;
}

/* The same object has the same path again after it was evicted, so that what DuckDB remembers of
 * the path goes on being true. */
static void name_entry(CacheEntry *entry, Str location, Str key) {
    size_t path_size = strlen(entry->cache->dir) + 1 + CACHE_NAME_SIZE;
    char *words = malloc(path_size + location.len + key.len);
    if (!words) abort();
    entry->path = words;
    entry->location = (Str){memcpy(words + path_size, location.data, location.len), location.len};
    entry->key = (Str){memcpy(words + path_size + location.len, key.data, key.len), key.len};
    snprintf(entry->name, sizeof entry->name, "%016llx%016llx",
             (unsigned long long)entry_hash(entry),
             (unsigned long long)hash64(bytes_of(str_from(entry->etag))));
    snprintf(words, path_size, "%s/%s", entry->cache->dir, entry->name);
}

static CacheEntry *entry_new(ReadCache *cache, Str location, Str key, const ObjectInfo *info) {
    CacheEntry *entry = calloc(1, sizeof *entry);
    size_t blocks = (size_t)((info->size + CACHE_BLOCK_SIZE - 1) / CACHE_BLOCK_SIZE);
    if (!entry || !(entry->blocks = calloc(blocks + 1, 1))) abort();
    entry->cache = cache;
    memcpy(entry->etag, info->etag, sizeof entry->etag);
    entry->size = info->size;
    entry->modified_ms = info->modified_ms;
    entry->block_count = blocks;
    pthread_mutex_init(&entry->lock, NULL);
    pthread_cond_init(&entry->changed, NULL);
    name_entry(entry, location, key);
    return entry;
}

static bool make_file(CacheEntry *entry, Err *err) {
    struct stat info;
    OWNED(fd_close) int fd = open(entry->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return err_errno(err, "cannot make a file of the read cache");
    if (ftruncate(fd, (off_t)entry->size) == 0 && fstat(fd, &info) == 0) {
        entry->inode = info.st_ino;
        entry_keep_time(entry, fd);
        return true;
    }
    err_errno(err, "cannot make a file of the read cache");
    unlink(entry->path);
    return false;
}

/* A name's entry: the first half of the name is the hash that its slot follows from. */
static CacheEntry *find_named(ReadCache *cache, const char *name) {
    char half[17] = "";
    strncpy(half, name, sizeof half - 1);
    CacheEntry *entry = *slot_of(cache, strtoull(half, NULL, 16));
    while (entry && strcmp(entry->name, name) != 0) entry = entry->same_slot;
    return entry;
}

CacheEntry *entry_open(ReadCache *cache, const char *name, int fd) {
    struct stat info;
    if (fstat(fd, &info)) return NULL;
    pthread_mutex_lock(&cache->lock);
    CacheEntry *entry = find_named(cache, name);
    if (entry && entry->inode != info.st_ino) entry = NULL;
    if (entry) entry->opens++;
    pthread_mutex_unlock(&cache->lock);
    return entry;
}

/* Takes one use back; what is used no more moves to the end of the order, or goes. */
static void entry_leave(CacheEntry *entry, int *uses) {
    ReadCache *cache = entry->cache;
    pthread_mutex_lock(&cache->lock);
    (*uses)--;
    bool gone = !entry->listed && !is_used(entry);
    if (entry->listed) {
        order_remove(cache, entry);
        order_add(cache, entry);
    }
    pthread_mutex_unlock(&cache->lock);
    if (gone) entry_free(entry);
    if (atomic_load(&cache->bytes) > cache->bytes_max) cache_evict(cache, cache->bytes_max);
}

void entry_close(CacheEntry *entry) {
    entry_leave(entry, &entry->opens);
}

void entry_unlist(CacheEntry *entry) {
    ReadCache *cache = entry->cache;
    pthread_mutex_lock(&cache->lock);
    if (entry->listed) table_remove(cache, entry);
    pthread_mutex_unlock(&cache->lock);
}

/* Under the cache's lock. */
static void evict_entry(ReadCache *cache, CacheEntry *entry) {
    if (entry->opens > 0) return;
    if (entry->holders > 0) {
        if (!entry->whole) atomic_fetch_sub(&cache->bytes, entry_drop(entry));
        return;
    }
    table_remove(cache, entry);
    entry_free(entry);
}

void cache_evict(ReadCache *cache, int64_t bytes_max) {
    pthread_mutex_lock(&cache->lock);
    for (CacheEntry *entry = cache->oldest, *newer; entry; entry = newer) {
        newer = entry->newer;
        if (atomic_load(&cache->bytes) <= bytes_max) break;
        evict_entry(cache, entry);
    }
    pthread_mutex_unlock(&cache->lock);
}

/* Files held. */

static bool cache_file_check(LocalFile *base, Err *err) {
    CacheFile *file = (CacheFile *)base;
    CacheEntry *entry = file->entry;
    pthread_mutex_lock(&entry->lock);
    bool ok = entry->failures == file->failures;
    if (!ok) *err = *entry->err;
    pthread_mutex_unlock(&entry->lock);
    return ok;
}

/* Fetches of others that go through this holder's store are waited for: the store may close. */
static void cache_file_close(LocalFile *base) {
    CacheFile *file = (CacheFile *)base;
    CacheEntry *entry = file->entry;
    pthread_mutex_lock(&entry->lock);
    CacheFile **link = &entry->files;
    while (*link != file) link = &(*link)->next;
    *link = file->next;
    while (file->busy > 0) pthread_cond_wait(&entry->changed, &entry->lock);
    pthread_mutex_unlock(&entry->lock);
    free(file);
    entry_leave(entry, &entry->holders);
}

/* Under the cache's lock, so that the entry stays. */
static CacheFile *hold(CacheEntry *entry, Store *store, LocalUse use) {
    CacheFile *file = calloc(1, sizeof *file);
    if (!file) abort();
    file->file =
        (LocalFile){.check = cache_file_check, .close = cache_file_close, .path = entry->path};
    file->entry = entry;
    file->store = store;
    entry->holders++;
    entry->whole |= use == LOCAL_WHOLE;
    order_remove(entry->cache, entry);
    order_add(entry->cache, entry);
    pthread_mutex_lock(&entry->lock);
    file->failures = entry->failures;
    file->next = entry->files;
    entry->files = file;
    pthread_mutex_unlock(&entry->lock);
    return file;
}

static CacheFile *hold_cached(ReadCache *cache, Store *store, Str key, const char *etag,
                              LocalUse use) {
    pthread_mutex_lock(&cache->lock);
    CacheEntry *entry = table_find(cache, store->location, key, etag);
    CacheFile *file = entry ? hold(entry, store, use) : NULL;
    pthread_mutex_unlock(&cache->lock);
    return file;
}

/* Older versions of the object are read no more; and there are only so many entries. */
static void make_room(ReadCache *cache, Str location, Str key) {
    CacheEntry *stale = table_find(cache, location, key, NULL);
    if (stale) {
        table_remove(cache, stale);
        if (!is_used(stale)) entry_free(stale);
    }
    CacheEntry *oldest = cache->oldest;
    while (oldest && is_used(oldest)) oldest = oldest->newer;
    if (oldest && cache->entry_count >= CACHE_ENTRIES_MAX) evict_entry(cache, oldest);
}

static bool fill_first(CacheEntry *entry, LocalUse use, bool fresh, Err *err) {
    if (use == LOCAL_WHOLE) return entry_fill(entry, 0, entry->size, err);
    if (!fresh || entry->size == 0 || entry->size > CACHE_EAGER_SIZE_MAX) return true;
    return entry_fill(entry, entry->size - 1, 1, err);
}

/* Another thread may have made the same entry in the meantime. */
static CacheFile *hold_new(ReadCache *cache, Store *store, Str key, const ObjectInfo *info,
                           LocalUse use, Err *err) {
    CacheFile *file = NULL;
    pthread_mutex_lock(&cache->lock);
    CacheEntry *entry = table_find(cache, store->location, key, info->etag);
    if (!entry) {
        make_room(cache, store->location, key);
        entry = entry_new(cache, store->location, key, info);
        if (make_file(entry, err)) {
            table_add(cache, entry);
        } else {
            entry_free(entry);
            entry = NULL;
        }
    }
    if (entry) file = hold(entry, store, use);
    pthread_mutex_unlock(&cache->lock);
    return file;
}

static bool hold_object(ReadCache *cache, Store *store, Str key, LocalUse use, bool immutable,
                        CacheFile **out, bool *fresh, Err *err) {
    ObjectInfo info;
    if (immutable && (*out = hold_cached(cache, store, key, NULL, use))) return true;
    if (!store->ops->head(store, key, &info, err)) return false;
    if ((*out = hold_cached(cache, store, key, info.etag, use))) return true;
    if (info.size > OBJECT_SIZE_MAX)
        return err_set(err, LH_TOO_BIG, "'%.*s' has %llu bytes, which no file may have", SHOW(key),
                       (unsigned long long)info.size);
    *fresh = true;
    return (*out = hold_new(cache, store, key, &info, use, err)) != NULL;
}

bool read_cache_file(ReadCache *cache, Store *store, Str key, LocalUse use, bool immutable,
                     LocalFile **out, Err *err) {
    CacheFile *file;
    bool fresh = false;
    if (use == LOCAL_RANGES && !cache_is_hooked())
        return err_code(err, LH_IMPOSSIBLE, "no_range_reads",
                        "'%.*s' cannot be read: the SQL engine's library is not one whose reads "
                        "this server can follow",
                        SHOW(store->location));
    if (!hold_object(cache, store, key, use, immutable, &file, &fresh, err)) return false;
    LocalFile *held = &file->file;
    if (!fill_first(file->entry, use, fresh, err)) return local_file_close(&held), false;
    *out = held;
    return true;
}

/* The cache. */

/* Only what a cache makes is removed: the folder itself may be somebody's choice. */
static bool make_empty(const char *path, Err *err) {
    struct stat info;
    if (lstat(path, &info) == 0 && !dir_remove(path, err)) return false;
    return mkdir(path, 0700) == 0 || err_errno(err, "cannot make '%s'", path);
}

static bool open_dirs(ReadCache *cache, const char *dir, Err *err) {
    if (!dir_make(dir, err)) return false;
    if (!realpath(dir, cache->root)) return err_errno(err, "cannot find '%s'", dir);
    if (snprintf(cache->dir, PATH_MAX, "%s/objects", cache->root) >= PATH_MAX - CACHE_NAME_SIZE ||
        snprintf(cache->staging, PATH_MAX, "%s/staging", cache->root) >= PATH_MAX - CACHE_NAME_SIZE)
        return err_set(err, LH_INVALID, "the path '%s' of the read cache is too long", dir);
    return make_empty(cache->dir, err) && make_empty(cache->staging, err);
}

bool read_cache_open(const char *dir, int64_t bytes_max, ReadCache **out, Err *err) {
    ReadCache *cache = calloc(1, sizeof *cache);
    if (!cache || !(cache->table = calloc(TABLE_SLOTS, sizeof(CacheEntry *)))) abort();
    cache->bytes_max = bytes_max;
    pthread_mutex_init(&cache->lock, NULL);
    cache_enlist(cache);
    if (!open_dirs(cache, dir, err)) return read_cache_close(&cache), false;
    *out = cache;
    return true;
}

void read_cache_close(ReadCache **closing) {
    ReadCache *cache = TAKE(*closing);
    Err ignored;
    if (!cache) return;
    cache_delist(cache);
    while (cache->oldest) {
        CacheEntry *entry = cache->oldest;
        assert(!is_used(entry));
        table_remove(cache, entry);
        entry_free(entry);
    }
    if (cache->dir[0]) dir_remove(cache->dir, &ignored);
    if (cache->staging[0]) dir_remove(cache->staging, &ignored);
    pthread_mutex_destroy(&cache->lock);
    free(cache->table);
    free(cache);
}

const char *read_cache_dir(const ReadCache *cache) {
    return cache->dir;
}

int64_t read_cache_bytes(ReadCache *cache) {
    return atomic_load(&cache->bytes);
}

bool read_cache_staging(ReadCache *cache, char out[PATH_MAX], Err *err) {
    if (snprintf(out, PATH_MAX, "%s/%016llx", cache->staging, (unsigned long long)random_u64()) <
        PATH_MAX)
        return true;
    return err_set(err, LH_INVALID, "the path of the read cache is too long");
}
