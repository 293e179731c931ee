#include "storage/errors_spool.h"

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct ErrorSpool {
    int fd;
    size_t size; /* bytes of whole records; what stands behind them is cut before the next add */
    char path[PATH_MAX];
};

static bool read_file(const ErrorSpool *spool, size_t size, Text *out, Err *err) {
    char *data = text_reserve(out, size + 1);
    for (size_t at = 0; at < size;) {
        ssize_t n = pread(spool->fd, data + at, size - at, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_errno(err, "cannot read '%s'", spool->path);
        if (n == 0) return err_set(err, LH_CORRUPT, "'%s' became shorter", spool->path);
        at += (size_t)n;
    }
    out->len += size;
    return true;
}

static bool cut(ErrorSpool *spool, size_t size, Err *err) {
    if (ftruncate(spool->fd, (off_t)size)) return err_errno(err, "cannot cut '%s'", spool->path);
    spool->size = size;
    if (fsync(spool->fd)) return err_errno(err, "cannot make '%s' durable", spool->path);
    return true;
}

/* A file that grew beyond the bound is not one of ours; it is read as far as the bound. */
static bool recover(ErrorSpool *spool, JournalVisit *visit, void *context, Err *err) {
    OWNED(text_close) Text text = {0};
    struct stat info;
    if (fstat(spool->fd, &info)) return err_errno(err, "cannot read '%s'", spool->path);
    size_t size = (size_t)MIN(info.st_size, (off_t)ERROR_SPOOL_SIZE_MAX);
    if (!read_file(spool, size, &text, err)) return false;
    Bytes rest = text_bytes(&text), payload;
    while (frame_next(&rest, &payload) == FRAME_RECORD) visit(context, payload);
    spool->size = size - rest.size;
    if (spool->size == (size_t)info.st_size) return true;
    log_warn("'%s' ends in a torn record: %lld bytes cut", spool->path,
             (long long)info.st_size - (long long)spool->size);
    return cut(spool, spool->size, err);
}

static bool sync_folder(const char *path, Err *err) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0;
    return file_sync_dir(slash ? folder : ".", err);
}

bool error_spool_open(const char *path, JournalVisit *visit, void *context, ErrorSpool **out,
                      Err *err) {
    OWNED(error_spool_close) ErrorSpool *spool = calloc(1, sizeof *spool);
    if (!spool) abort();
    snprintf(spool->path, sizeof spool->path, "%s", path);
    spool->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (spool->fd < 0) return err_errno(err, "cannot open '%s'", path);
    if (!sync_folder(path, err) || !recover(spool, visit, context, err)) return false;
    *out = TAKE(spool);
    return true;
}

void error_spool_close(ErrorSpool **spool) {
    if (!*spool) return;
    fd_close(&(*spool)->fd);
    free(*spool);
    *spool = NULL;
}

size_t error_spool_size(const ErrorSpool *spool) {
    return spool->size;
}

bool error_spool_add(ErrorSpool *spool, Bytes frames, Err *err) {
    if (frames.size > ERROR_SPOOL_SIZE_MAX - spool->size)
        return err_set(err, LH_FULL, "'%s' has its %u bytes of events already", spool->path,
                       ERROR_SPOOL_SIZE_MAX);
    struct stat info;
    if (fstat(spool->fd, &info)) return err_errno(err, "cannot write '%s'", spool->path);
    if ((size_t)info.st_size != spool->size && !cut(spool, spool->size, err)) return false;
    if (!fd_write(spool->fd, frames, err)) return err_while(err, "'%s'", spool->path);
    if (fsync(spool->fd)) return err_errno(err, "cannot make '%s' durable", spool->path);
    spool->size += frames.size;
    return true;
}

bool error_spool_read(const ErrorSpool *spool, Text *frames, Err *err) {
    return read_file(spool, spool->size, frames, err);
}

bool error_spool_clear(ErrorSpool *spool, Err *err) {
    return cut(spool, 0, err);
}
