#include "base/file.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/owned.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_US 1000000

void fd_close(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

bool fd_write(int fd, Bytes data, Err *err) {
    while (data.size > 0) {
        ssize_t n = write(fd, data.data, data.size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_errno(err, "cannot write");
        data = (Bytes){data.data + n, data.size - (size_t)n};
    }
    return true;
}

static bool fd_read(int fd, uint8_t *data, size_t size, size_t *got, Err *err) {
    for (*got = 0; *got < size;) {
        ssize_t n = read(fd, data + *got, size - *got);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_errno(err, "cannot read");
        if (n == 0) break;
        *got += (size_t)n;
    }
    return true;
}

bool file_read(const char *path, size_t size_max, Arena *arena, Bytes *out, Err *err) {
    OWNED(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0) return err_errno(err, "cannot open '%s'", path);
    if (fstat(fd, &info)) return err_errno(err, "cannot read '%s'", path);
    if (!S_ISREG(info.st_mode)) return err_set(err, LH_INVALID, "'%s' is not a file", path);
    if ((uint64_t)info.st_size > size_max)
        return err_set(err, LH_TOO_BIG, "'%s' has %lld bytes, at most %zu are read", path,
                       (long long)info.st_size, size_max);
    uint8_t *data = arena_alloc(arena, (size_t)info.st_size + 1);
    size_t got;
    if (!fd_read(fd, data, (size_t)info.st_size, &got, err)) return err_while(err, "'%s'", path);
    *out = (Bytes){data, got};
    return true;
}

static void parent_of(const char *path, char out[PATH_MAX]) {
    snprintf(out, PATH_MAX, "%s", path);
    char *slash = strrchr(out, '/');
    if (!slash)
        snprintf(out, PATH_MAX, ".");
    else if (slash == out)
        out[1] = 0;
    else
        *slash = 0;
}

bool file_sync_dir(const char *path, Err *err) {
    OWNED(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return err_errno(err, "cannot open '%s'", path);
    if (fsync(fd)) return err_errno(err, "cannot make '%s' durable", path);
    return true;
}

static bool file_create(const char *path, Bytes data, Err *err) {
    OWNED(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) return err_errno(err, "cannot create '%s'", path);
    if (!fd_write(fd, data, err)) return err_while(err, "'%s'", path);
    if (fsync(fd)) return err_errno(err, "cannot make '%s' durable", path);
    return true;
}

bool file_replace(const char *path, Bytes data, Err *err) {
    char temporary[PATH_MAX], parent[PATH_MAX];
    snprintf(temporary, sizeof temporary, "%s.%016llx.tmp", path, (unsigned long long)random_u64());
    if (!file_create(temporary, data, err)) return unlink(temporary), false;
    if (rename(temporary, path)) {
        err_errno(err, "cannot replace '%s'", path);
        return unlink(temporary), false;
    }
    parent_of(path, parent);
    return file_sync_dir(parent, err);
}

bool dir_make(const char *path, Err *err) {
    char parent[PATH_MAX];
    struct stat info;
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode)) return true;
        return err_set(err, LH_CONFLICT, "'%s' is not a directory", path);
    }
    parent_of(path, parent);
    if (strcmp(parent, path) != 0 && !dir_make(parent, err)) return false;
    if (mkdir(path, 0755) && errno != EEXIST) return err_errno(err, "cannot make '%s'", path);
    return file_sync_dir(parent, err);
}

/* Through directory descriptors, so that a link swapped in half-way is not followed. */
static bool dir_empty(int parent, const char *name, Err *err) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    bool ok = true;
    if (!dir) return err_errno(err, "cannot open '%s'", name);
    for (struct dirent *entry; ok && (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (unlinkat(fd, entry->d_name, 0) == 0) continue;
        ok = dir_empty(fd, entry->d_name, err);
        if (ok && unlinkat(fd, entry->d_name, AT_REMOVEDIR))
            ok = err_errno(err, "cannot remove '%s'", entry->d_name);
    }
    closedir(dir);
    return ok;
}

bool dir_remove(const char *path, Err *err) {
    if (!dir_empty(AT_FDCWD, path, err)) return err_while(err, "removing '%s'", path);
    if (rmdir(path)) return err_errno(err, "cannot remove '%s'", path);
    return true;
}

bool file_look_is_due(const FileLook *look) {
    return look->at_us == 0 || clock_us() - look->at_us >= LOOK_US;
}

bool file_look_changed(FileLook *look, const char *path) {
    struct stat info;
    look->at_us = clock_us();
    if (stat(path, &info)) return true;
    FileLook now = {look->at_us, (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec,
                    (int64_t)info.st_size, (uint64_t)info.st_ino};
    bool changed =
        now.modified_ns != look->modified_ns || now.size != look->size || now.inode != look->inode;
    *look = now;
    return changed;
}
