/* The read cache: objects of remote buckets as sparse files of this machine, filled block by block
 * as they are read, so that SQL transfers the footer and the column chunks that it needs and no
 * more. A file belongs to one object as its ETag names it; when the object changed there is another
 * file. What is open stays, and what is held (LocalFile) keeps its path, but its blocks only while
 * it is open or was asked for as a whole; of the rest the least recently used goes when the blocks
 * on disk exceed the bound. When everything is in use the bound is passed until something is not.
 * Nothing of it survives a restart. Thread safe. */
#pragma once

#include "storage/store.h"

typedef struct ReadCache ReadCache;

/* `dir` is made when missing; what an earlier process left in it is removed. It must be this
 * process's own. */
bool read_cache_open(const char *dir, int64_t bytes_max, ReadCache **out, Err *err);
void read_cache_close(ReadCache **cache); /* after every LocalFile of it */
/* The folder that holds the files and nothing else: absolute, no symbolic link in it, no '/' at its
 * end. */
const char *read_cache_dir(const ReadCache *cache);
int64_t read_cache_bytes(ReadCache *cache); /* on disk now */

/* The local_file and staging of every remote store: from its ops it needs head and read_range.
 * LOCAL_RANGES is refused (LH_IMPOSSIBLE, "no_range_reads") until cache_hooked was called. The
 * store may be closed while files of it are cached, not while one is held. */
bool read_cache_file(ReadCache *cache, Store *store, Str key, LocalUse use, bool immutable,
                     LocalFile **out, Err *err);
bool read_cache_staging(ReadCache *cache, char out[PATH_MAX], Err *err);

/* For query's hooks below DuckDB's reads. A descriptor is known from cache_opened to cache_closed.
 * cache_fill returns false with errno set when bytes could not be fetched; for a descriptor that is
 * none of the cache's it is true at once. All are cheap when no cache is open. */
void cache_hooked(void); /* from now on whoever reads a file of LOCAL_RANGES comes through here */
bool cache_opened(const char *path, int fd); /* false with errno: do not read it, close it */
void cache_closed(int fd);
bool cache_has(int fd); /* whether it is one of the cache's */
bool cache_fill(int fd, uint64_t from, uint64_t count);
