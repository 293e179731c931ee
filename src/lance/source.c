/* The bytes of one immutable file: see source.h. A file's length is what it was when it was mapped:
 * everything that metadata says about positions is checked against that. */
#include "lance/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct ByteSource {
    LocalFile *file; /* NULL: bytes of the caller's */
    const uint8_t *map;
    uint64_t size;
    bool ranges; /* fetched as they are read; never mapped, for the cache may drop blocks */
};

static bool source_map(ByteSource *source, Err *err) {
    struct stat info;
    const char *path = local_file_path(source->file);
    OWNED(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info)) return err_errno(err, "cannot open '%s'", path);
    source->size = (uint64_t)info.st_size;
    if (source->ranges || source->size == 0) return true;
    void *map = mmap(NULL, (size_t)source->size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return err_errno(err, "cannot map '%s'", path);
    source->map = map;
    return true;
}

/* Without the hooks of a process that reads by ranges there are whole files only. */
static bool source_file(Store *store, Str key, ByteSource *source, Err *err) {
    if (!store_abilities(store).local) {
        source->ranges = store_local_file(store, key, LOCAL_RANGES, true, &source->file, err);
        if (source->ranges || err->kind != LH_IMPOSSIBLE) return source->ranges;
        *err = (Err){0};
    }
    return store_local_file(store, key, LOCAL_WHOLE, true, &source->file, err);
}

bool source_open(Store *store, Str key, ByteSource **out, Err *err) {
    OWNED(source_close) ByteSource *source = calloc(1, sizeof *source);
    if (!source) abort();
    if (!source_file(store, key, source, err) || !source_map(source, err)) return false;
    *out = TAKE(source);
    return true;
}

ByteSource *source_of_bytes(Bytes bytes) {
    ByteSource *source = calloc(1, sizeof *source);
    if (!source) abort();
    source->map = bytes.data;
    source->size = bytes.size;
    return source;
}

void source_close(ByteSource **source) {
    if (!*source) return;
    if ((*source)->file && (*source)->map) munmap((void *)(*source)->map, (size_t)(*source)->size);
    local_file_close(&(*source)->file);
    free(*source);
    *source = NULL;
}

uint64_t source_size(const ByteSource *source) {
    return source->size;
}

bool source_holds(const ByteSource *source, const void *data) {
    uintptr_t from = (uintptr_t)source->map, at = (uintptr_t)data;
    return source->map && at >= from && at - from < source->size;
}

static bool fd_read_all(int fd, uint64_t offset, uint64_t size, uint8_t *data, const char *path,
                        Err *err) {
    for (uint64_t done = 0; done < size;) {
        ssize_t got = pread(fd, data + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return err_errno(err, "cannot read '%s'", path);
        if (got == 0) return err_set(err, LH_CORRUPT, "'%s' ends too early", path);
        done += (uint64_t)got;
    }
    return true;
}

/* The descriptor is registered only while it is read from, so that the cache keeps its bound. */
static bool source_fetch(const ByteSource *source, uint64_t offset, uint64_t size, uint8_t *data,
                         Err *err) {
    const char *path = local_file_path(source->file);
    OWNED(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !cache_opened(path, fd)) return err_errno(err, "cannot open '%s'", path);
    bool filled = cache_fill(fd, offset, size);
    bool ok = filled && fd_read_all(fd, offset, size, data, path, err);
    if (!filled && local_file_check(source->file, err)) err_errno(err, "cannot fetch '%s'", path);
    cache_closed(fd);
    return ok;
}

bool source_read(const ByteSource *source, uint64_t offset, uint64_t size, Arena *arena, Bytes *out,
                 Err *err) {
    if (offset > source->size || size > source->size - offset)
        return err_set(err, LH_CORRUPT, "%llu bytes at %llu are beyond the end of a file of %llu",
                       (unsigned long long)size, (unsigned long long)offset,
                       (unsigned long long)source->size);
    if (!source->ranges || size == 0) {
        *out = (Bytes){source->map ? source->map + offset : NULL, (size_t)size};
        return true;
    }
    uint8_t *data = arena_alloc(arena, (size_t)size);
    if (!source_fetch(source, offset, size, data, err)) return false;
    *out = (Bytes){data, (size_t)size};
    return true;
}
