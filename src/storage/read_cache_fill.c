/* The block map of one object and what fills it. A range that is asked for is fetched by one
 * request per run of absent blocks; blocks that another thread fetches are waited for, so that no
 * block is asked for twice at the same time. A fetch that failed leaves its blocks absent, and
 * whoever waited for it fails with it instead of asking a store that is down once more. */
#include "storage/read_cache_entry.h"

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG_THREADS 4 /* that fetch the parts of a long range */

typedef struct Run { /* of blocks, [from, to) */
    size_t from, to;
} Run;

static BlockState state_of(const CacheEntry *entry, size_t block) {
    return atomic_load_explicit(&entry->blocks[block], memory_order_acquire);
}

static void set_run(CacheEntry *entry, Run run, BlockState state) {
    for (size_t i = run.from; i < run.to; i++)
        atomic_store_explicit(&entry->blocks[i], (uint8_t)state, memory_order_release);
}

static bool is_present(const CacheEntry *entry, Run run) {
    for (size_t i = run.from; i < run.to; i++)
        if (state_of(entry, i) != BLOCK_PRESENT) return false;
    return true;
}

static uint64_t run_size(const CacheEntry *entry, Run run) {
    return MIN((uint64_t)run.to * CACHE_BLOCK_SIZE, entry->size) -
           (uint64_t)run.from * CACHE_BLOCK_SIZE;
}

/* The first absent blocks of the range, or an empty run. The end of a file is asked for with what
 * stands before it: whoever reads it reads a footer. */
static Run find_absent(const CacheEntry *entry, Run asked) {
    Run run = asked;
    while (run.from < asked.to && state_of(entry, run.from) != BLOCK_ABSENT) run.from++;
    size_t most = run.from + CACHE_REQUEST_SIZE_MAX / CACHE_BLOCK_SIZE;
    for (run.to = run.from; run.to < MIN(asked.to, most); run.to++)
        if (state_of(entry, run.to) != BLOCK_ABSENT) break;
    if (run.to != entry->block_count || run.from == run.to) return run;
    size_t tail = entry->size > CACHE_TAIL_SIZE
                      ? (size_t)((entry->size - CACHE_TAIL_SIZE) / CACHE_BLOCK_SIZE)
                      : 0;
    while (run.from > tail && state_of(entry, run.from - 1) == BLOCK_ABSENT) run.from--;
    return run;
}

/* The file's time stays that of the object: DuckDB drops what it knows of a file that changed. */
void entry_keep_time(const CacheEntry *entry, int fd) {
    struct timespec time = {.tv_sec = entry->modified_ms / 1000,
                            .tv_nsec = entry->modified_ms % 1000 * 1000000};
    futimens(fd, (struct timespec[2]){time, time});
}

/* The file is gone from its path, and maybe another is there, once the store had another version.
 */
static bool open_file(const CacheEntry *entry, int *fd, Err *err) {
    struct stat info;
    *fd = open(entry->path, O_WRONLY | O_CLOEXEC);
    if (*fd < 0 && errno != ENOENT) return err_errno(err, "cannot open a file of the read cache");
    if (*fd >= 0 && fstat(*fd, &info) == 0 && info.st_ino == entry->inode) return true;
    return err_code(err, LH_CONFLICT, "object_changed", "'%.*s' was changed while it was read",
                    SHOW(entry->key));
}

static bool write_run(const CacheEntry *entry, const char *data, uint64_t from, uint64_t size,
                      Err *err) {
    OWNED(fd_close) int fd = -1;
    if (!open_file(entry, &fd, err)) return false;
    for (uint64_t done = 0; done < size;) {
        ssize_t n = pwrite(fd, data + done, size - done, (off_t)(from + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_errno(err, "cannot write to the read cache");
        done += (uint64_t)n;
    }
    entry_keep_time(entry, fd);
    return true;
}

/* A full disk is what the cache itself can make room on. */
static bool write_or_evict(CacheEntry *entry, const char *data, uint64_t from, uint64_t size,
                           Err *err) {
    if (write_run(entry, data, from, size, err)) return true;
    if (err->kind != LH_FULL) return false;
    cache_evict(entry->cache, 0);
    return write_run(entry, data, from, size, err);
}

static bool fetch(CacheEntry *entry, Store *store, Run run, Err *err) {
    uint64_t from = (uint64_t)run.from * CACHE_BLOCK_SIZE, size = run_size(entry, run);
    char *data = malloc(size);
    if (!data) return err_set(err, LH_FULL, "no memory to read an object with");
    bool ok =
        store->ops->read_range(store, entry->key, str_from(entry->etag), from, size, data, err) &&
        write_or_evict(entry, data, from, size, err);
    free(data);
    return ok;
}

static void note_failure(CacheEntry *entry, const Err *err) {
    if (!entry->err && !(entry->err = malloc(sizeof *entry->err))) abort();
    *entry->err = *err;
    entry->failures++;
}

/* With the entry's lock held, as when it returns. */
static bool fetch_run(CacheEntry *entry, Run run, Err *err) {
    CacheFile *through = entry->files;
    if (!through) {
        err_set(err, LH_OFFLINE, "an object is read by nobody that holds it");
        return note_failure(entry, err), false;
    }
    set_run(entry, run, BLOCK_FETCHING);
    through->busy++;
    pthread_mutex_unlock(&entry->lock);
    bool ok = fetch(entry, through->store, run, err);
    if (!ok && (err->kind == LH_CONFLICT || err->kind == LH_MISSING)) entry_unlist(entry);
    pthread_mutex_lock(&entry->lock);
    through->busy--;
    if (ok) {
        entry->bytes += (int64_t)run_size(entry, run);
        atomic_fetch_add(&entry->cache->bytes, (int64_t)run_size(entry, run));
    }
    set_run(entry, run, ok ? BLOCK_PRESENT : BLOCK_ABSENT);
    if (!ok) note_failure(entry, err);
    pthread_cond_broadcast(&entry->changed);
    return ok;
}

/* One step towards a range that is present: a fetch, or a wait for another's. */
static bool advance(CacheEntry *entry, Run asked, Err *err) {
    Run run = find_absent(entry, asked);
    if (run.from < run.to) return fetch_run(entry, run, err);
    uint64_t failures = entry->failures;
    pthread_cond_wait(&entry->changed, &entry->lock);
    if (entry->failures == failures) return true;
    run = find_absent(entry, asked);
    return run.from == run.to || (*err = *entry->err, false);
}

static bool fill_run(CacheEntry *entry, Run asked, Err *err) {
    bool ok = true;
    pthread_mutex_lock(&entry->lock);
    while (ok && !is_present(entry, asked)) ok = advance(entry, asked, err);
    pthread_mutex_unlock(&entry->lock);
    if (atomic_load(&entry->cache->bytes) > entry->cache->bytes_max)
        cache_evict(entry->cache, entry->cache->bytes_max);
    return ok;
}

typedef struct Long { /* a range of several requests */
    CacheEntry *entry;
    size_t from; /* block */
    atomic_bool failed;
    Err err; /* of the one that set `failed` */
} Long;

static void fill_part(void *context, size_t from, size_t to) {
    Long *range = context;
    Err err = {0};
    if (range->failed) return;
    if (fill_run(range->entry, (Run){range->from + from, range->from + to}, &err)) return;
    if (!atomic_exchange(&range->failed, true)) range->err = err;
}

bool entry_fill(CacheEntry *entry, uint64_t from, uint64_t count, Err *err) {
    if (from >= entry->size || count == 0) return true;
    count = MIN(count, entry->size - from);
    Run asked = {(size_t)(from / CACHE_BLOCK_SIZE),
                 (size_t)((from + count - 1) / CACHE_BLOCK_SIZE) + 1};
    if (is_present(entry, asked)) return true;
    if (run_size(entry, asked) <= CACHE_REQUEST_SIZE_MAX) return fill_run(entry, asked, err);
    Long range = {.entry = entry, .from = asked.from};
    parallel_for(LONG_THREADS, asked.to - asked.from, CACHE_REQUEST_SIZE_MAX / CACHE_BLOCK_SIZE,
                 fill_part, &range);
    return !range.failed || (*err = range.err, false);
}

static bool is_fetched(const CacheEntry *entry) {
    for (const CacheFile *file = entry->files; file; file = file->next)
        if (file->busy > 0) return true;
    return false;
}

void entry_drop(CacheEntry *entry) {
    OWNED(fd_close) int fd = -1;
    Err ignored;
    pthread_mutex_lock(&entry->lock);
    if (entry->bytes > 0 && !is_fetched(entry) && open_file(entry, &fd, &ignored) &&
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)entry->size) == 0) {
        entry_keep_time(entry, fd);
        set_run(entry, (Run){0, entry->block_count}, BLOCK_ABSENT);
        atomic_fetch_sub(&entry->cache->bytes, entry->bytes);
        entry->bytes = 0;
    }
    pthread_mutex_unlock(&entry->lock);
}
