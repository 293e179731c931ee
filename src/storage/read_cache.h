/* The read cache: objects of remote buckets as sparse files of this machine, filled block by block
 * as they are read, so that SQL transfers the footer and the column chunks that it needs and no
 * more. A file belongs to one object as its ETag names it; when the object changed there is another
 * file. What is held (LocalFile) or open stays; of the rest the least recently used goes when the
 * blocks on disk exceed the bound. Nothing of it survives a restart. Thread safe. */
#pragma once

#include "storage/store.h"

typedef struct ReadCache ReadCache;

/* `dir` is made when missing and emptied; it must be this process's own. */
bool read_cache_open(const char *dir, int64_t bytes_max, ReadCache **out, Err *err);
void read_cache_close(ReadCache **cache);
const char *read_cache_dir(const ReadCache *cache); /* absolute, no symbolic link in it */
int64_t read_cache_bytes(ReadCache *cache);         /* on disk now */

/* The local_file and staging of every remote store: from its ops it needs head and read_range. */
bool read_cache_file(ReadCache *cache, Store *store, Str key, LocalUse use, bool immutable,
                     LocalFile **out, Err *err);
bool read_cache_staging(ReadCache *cache, char out[PATH_MAX], Err *err);

/* For query's hooks below DuckDB's reads. A descriptor is known from cache_opened to cache_closed.
 * cache_fill returns false with errno set when bytes could not be fetched; for a descriptor that is
 * none of the cache's it is true at once. All are cheap when no cache is open. */
void cache_opened(const char *path, int fd);
void cache_closed(int fd);
bool cache_fill(int fd, uint64_t from, uint64_t count);
