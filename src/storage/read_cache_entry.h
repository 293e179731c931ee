/* Between the files of the read cache: read_cache.c holds the entries and evicts, read_cache_fill.c
 * fetches their blocks, read_cache_files.c knows which descriptors read which entry.
 *
 * Two locks, the cache's before an entry's. The cache's: the table, the order of use, who holds and
 * who has open. An entry's: its blocks, its failures and the fetches that run. */
#pragma once

#include "storage/read_cache.h"
#include "storage/store_ops.h"

#include <pthread.h>
#include <stdatomic.h>

/* With the columns of a table side by side, each chunk that is read costs up to two blocks too
 * much, so blocks are small; requests are as long as what is missing in a row. */
#define CACHE_BLOCK_SIZE (16u << 10)
/* The first request for a file's end asks for this much: a Parquet footer mostly fits. */
#define CACHE_TAIL_SIZE (64u << 10)
/* Of a file that is new and not larger than this, the end is fetched when it is held: a dataset of
 * many files holds them side by side, and DuckDB would ask for one footer after another. */
#define CACHE_EAGER_SIZE_MAX (16u << 20)
#define CACHE_REQUEST_SIZE_MAX (4u << 20) /* held in memory while it is fetched */
#define CACHE_ENTRIES_MAX 65536           /* files without a block cost an inode each */
#define CACHE_NAME_SIZE 33                /* 128 bits in hex */

typedef enum BlockState { BLOCK_ABSENT, BLOCK_FETCHING, BLOCK_PRESENT } BlockState;

typedef struct CacheEntry CacheEntry;

/* A LocalFile of the cache. */
typedef struct CacheFile CacheFile;
struct CacheFile {
    LocalFile file;
    CacheEntry *entry;
    Store *store;
    int busy;          /* fetches through its store that run; entry's lock */
    uint64_t failures; /* of the entry before it was held */
    CacheFile *next;   /* of the entry's holders; entry's lock */
};

struct CacheEntry {
    ReadCache *cache;
    char name[CACHE_NAME_SIZE]; /* of its file, from location, key and etag */
    char *path;                 /* and in the same allocation: */
    Str location, key;          /* of the object */
    uint64_t inode;             /* of the file: another may come to have its path */
    char etag[STORE_ETAG_SIZE];
    uint64_t size;
    int64_t modified_ms;

    /* The cache's lock. */
    CacheEntry *same_slot;     /* of the table */
    CacheEntry *older, *newer; /* in the order of use */
    int holders;               /* LocalFiles */
    int opens;                 /* descriptors */
    bool whole;                /* somebody may have mapped it: its blocks go only with the file */
    bool listed;               /* in the table; one that is not goes with its last user */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a fetch ended */
    CacheFile *files;       /* that hold it; fetches go through the store of the first */
    uint64_t failures;
    Err *err; /* of the last failure, or NULL */
    size_t block_count;
    _Atomic uint8_t *blocks; /* BlockState; PRESENT may be read without the lock */
};

struct ReadCache {
    char root[PATH_MAX], dir[PATH_MAX], staging[PATH_MAX];
    int64_t bytes_max;
    _Atomic int64_t bytes;
    pthread_mutex_t lock;
    CacheEntry **table;
    size_t entry_count;
    CacheEntry *oldest, *newest;
    ReadCache *next; /* of all caches, read_cache_files.c */
};

/* read_cache_fill.c: all blocks of the range are present when it returns true, fetched by parallel
 * requests when they are many. The caller holds the entry or has it open. */
bool entry_fill(CacheEntry *entry, uint64_t from, uint64_t count, Err *err);
void entry_keep_time(const CacheEntry *entry, int fd);
int64_t entry_bytes(CacheEntry *entry); /* on disk */
int64_t entry_drop(CacheEntry *entry);  /* its blocks; nobody may be reading. Bytes that it freed */

/* read_cache.c, none with a lock held. */
void cache_evict(ReadCache *cache, int64_t bytes_max);
void entry_unlist(CacheEntry *entry); /* it is not what the store has now */

/* read_cache_files.c: makes descriptors of this cache known, until it closes. */
void cache_enlist(ReadCache *cache);
void cache_delist(ReadCache *cache);
bool cache_is_hooked(void);
/* read_cache.c: counts a descriptor of the file of that name, and takes that back. NULL when the
 * descriptor is not of that file (any more). */
CacheEntry *entry_open(ReadCache *cache, const char *name, int fd);
void entry_close(CacheEntry *entry);
