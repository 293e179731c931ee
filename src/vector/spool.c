#include "vector/spool.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PENDING_MAX (1 << 18)

bool spool_open(const char *path, Spool *out, Err *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return err_errno(err, "cannot create a temporary file");
    unlink(path);
    *out = (Spool){.fd = fd};
    return true;
}

void spool_close(Spool *spool) {
    if (spool->map) munmap(spool->map, spool->map_size);
    fd_close(&spool->fd);
    text_close(&spool->pending);
    *spool = (Spool)SPOOL_EMPTY;
}

static bool spool_flush(Spool *spool, Err *err) {
    if (!fd_write(spool->fd, text_bytes(&spool->pending), err)) return false;
    text_clear(&spool->pending);
    return true;
}

bool spool_add(Spool *spool, Bytes data, Err *err) {
    text_add(&spool->pending, str_of(data));
    spool->size += data.size;
    return spool->pending.len < PENDING_MAX || spool_flush(spool, err);
}

bool spool_map(Spool *spool, Bytes *out, Err *err) {
    if (!spool_flush(spool, err)) return false;
    if (!spool->map && spool->size > 0) {
        void *map = mmap(NULL, spool->size, PROT_READ, MAP_SHARED, spool->fd, 0);
        if (map == MAP_FAILED) return err_errno(err, "cannot map a temporary file");
        spool->map = map;
        spool->map_size = spool->size;
    }
    *out = (Bytes){spool->map, spool->size};
    return true;
}
