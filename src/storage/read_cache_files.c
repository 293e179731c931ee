/* Which descriptor reads which entry. DuckDB reads with plain descriptors; query's hooks call
 * cache_fill before each read, so that for a descriptor that is none of ours it must cost no more
 * than one load from an array. */
#include "storage/read_cache_entry.h"

#include "base/base.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define DESCRIPTORS_MAX 65536

static _Atomic(CacheEntry *) descriptors[DESCRIPTORS_MAX];
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER; /* over caches */
static ReadCache *caches;
static _Atomic bool any; /* whether there is a cache */
static _Atomic bool hooked;

void cache_hooked(void) {
    hooked = true;
}

bool cache_is_hooked(void) {
    return hooked;
}

void cache_enlist(ReadCache *cache) {
    pthread_rwlock_wrlock(&lock);
    cache->next = caches;
    caches = cache;
    any = true;
    pthread_rwlock_unlock(&lock);
}

void cache_delist(ReadCache *cache) {
    pthread_rwlock_wrlock(&lock);
    ReadCache **link = &caches;
    while (*link != cache) link = &(*link)->next;
    *link = cache->next;
    any = caches != NULL;
    pthread_rwlock_unlock(&lock);
}

/* Whether the path is below a cache's folder; the entry, opened, when the descriptor is its file.
 */
static bool find_open(const char *path, int fd, CacheEntry **entry) {
    bool found = false;
    *entry = NULL;
    pthread_rwlock_rdlock(&lock);
    for (ReadCache *cache = caches; cache && !found; cache = cache->next) {
        Str dir = str_from(cache->dir);
        found = strncmp(path, dir.data, dir.len) == 0 && path[dir.len] == '/';
        if (found) *entry = entry_open(cache, path + dir.len + 1, fd);
    }
    pthread_rwlock_unlock(&lock);
    return found;
}

/* A file whose entry is gone is refused: its holes would be read as zeros. */
bool cache_opened(const char *path, int fd) {
    CacheEntry *entry;
    if (!any || !find_open(path, fd, &entry)) return true;
    if (!entry) return errno = ESTALE, false;
    if (fd >= DESCRIPTORS_MAX) return entry_close(entry), errno = EMFILE, false;
    CacheEntry *before = atomic_exchange(&descriptors[fd], entry);
    assert(!before);
    return true;
}

static CacheEntry *find_descriptor(int fd) {
    if (fd < 0 || fd >= DESCRIPTORS_MAX) return NULL;
    return atomic_load_explicit(&descriptors[fd], memory_order_acquire);
}

bool cache_has(int fd) {
    return find_descriptor(fd) != NULL;
}

void cache_closed(int fd) {
    if (!find_descriptor(fd)) return;
    CacheEntry *entry = atomic_exchange(&descriptors[fd], NULL);
    if (entry) entry_close(entry);
}

/* The caller gets no more than an errno; why is kept in the entry for local_file_check. */
static int errno_of(const Err *err) {
    switch (err->kind) {
    case LH_FULL:
        return ENOSPC;
    case LH_TIMEOUT:
        return ETIMEDOUT;
    case LH_CONFLICT:
    case LH_MISSING:
        return ESTALE;
    default:
        return EIO;
    }
}

bool cache_fill(int fd, uint64_t from, uint64_t count) {
    CacheEntry *entry = find_descriptor(fd);
    if (!entry) return true;
    Err err = {0};
    if (entry_fill(entry, from, count, &err)) return true;
    errno = errno_of(&err);
    return false;
}
