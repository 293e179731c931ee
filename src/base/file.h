/* Whole files and durability on a local disk. Thread safe. */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

bool file_read(const char *path, size_t size_max, Arena *arena, Bytes *out, Err *err);
/* Temp file beside it, fsync, rename, fsync of the directory: a reader sees the old or the new. */
bool file_replace(const char *path, Bytes data, Err *err);
bool file_sync_dir(const char *path, Err *err);
bool dir_make(const char *path, Err *err); /* and its parents, each made durable */
bool dir_remove(const char *path,
                Err *err); /* and everything below it; symbolic links not followed */
/* Writes all of it, going on after EINTR and short writes. */
bool fd_write(int fd, Bytes data, Err *err);
void fd_close(int *fd); /* -1 is empty */

/* What a file looked like (time, size, inode), so that whether it changed costs one stat. {0}
 * before the first look. */
typedef struct FileLook {
    int64_t at_us; /* 0: never */
    int64_t modified_ns, size;
    uint64_t inode;
} FileLook;

bool file_look_is_due(const FileLook *look); /* the last one was a second ago */
/* Whether the file is another one than at the last look. Says yes when it is gone: then reading
 * tells why. */
bool file_look_changed(FileLook *look, const char *path);
