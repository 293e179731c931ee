#include "vector/temp_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PENDING_MAX (1 << 18)

bool temp_file_open(const char *path, TempFile *out, Err *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return err_errno(err, "cannot create a temporary file");
    unlink(path);
    *out = (TempFile){.fd = fd};
    return true;
}

void temp_file_close(TempFile *file) {
    if (file->map) munmap(file->map, file->map_size);
    fd_close(&file->fd);
    text_close(&file->pending);
    *file = (TempFile)TEMP_FILE_EMPTY;
}

static bool temp_file_flush(TempFile *file, Err *err) {
    if (!fd_write(file->fd, text_bytes(&file->pending), err)) return false;
    text_clear(&file->pending);
    return true;
}

bool temp_file_add(TempFile *file, Bytes data, Err *err) {
    text_add(&file->pending, str_of(data));
    file->size += data.size;
    return file->pending.len < PENDING_MAX || temp_file_flush(file, err);
}

bool temp_file_map(TempFile *file, Bytes *out, Err *err) {
    if (!temp_file_flush(file, err)) return false;
    if (!file->map && file->size > 0) {
        void *map = mmap(NULL, file->size, PROT_READ, MAP_SHARED, file->fd, 0);
        if (map == MAP_FAILED) return err_errno(err, "cannot map a temporary file");
        file->map = map;
        file->map_size = file->size;
    }
    *out = (Bytes){file->map, file->size};
    return true;
}
