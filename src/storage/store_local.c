/* Objects as files: root/<key>, one each. Writes go to root/.lakehouse/staging/<ours>/ first and
 * are linked or renamed into place, so that a reader sees the old object or the new one.
 *
 * Every path is resolved by the kernel beneath the root's descriptor (openat2 with RESOLVE_BENEATH
 * and RESOLVE_NO_SYMLINKS), so that neither a key nor a symbolic link that somebody placed in the
 * root can lead out of it. Each opened store has a staging folder of its own and holds a lock on
 * it; at open, folders that nobody locks are what a crash left, and are swept.
 *
 * Each operation first compares the root's path with the folder that is open (one stat): a root
 * that was unmounted or moved away is out of reach at once, not when a write happens to fail, and
 * serves again when it is back. Thread safe. */
#include "storage/store_local.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/owned.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

int local_resolve(int folder, const char *path, int flags) {
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    int fd;
    do fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    return fd;
}

bool local_not_denied(Err *err) {
    if (err->kind == LH_DENIED) err->kind = LH_OFFLINE;
    return false;
}

bool local_key(Str key, char out[STORE_KEY_MAX + 1], Err *err) {
    for (Str rest = key; rest.len > 0;) {
        Str segment = str_until(&rest, '/');
        if (segment.len > LOCAL_SEGMENT_MAX)
            return err_code(err, LH_INVALID, "bad_key",
                            "a segment of a key in a local bucket has at most %d bytes, not %zu",
                            LOCAL_SEGMENT_MAX, segment.len);
    }
    memcpy(out, key.data, key.len);
    out[key.len] = 0;
    return true;
}

/* Every write stamps its file with a time that no other write of this process has, so that time,
 * size and inode together change with each write, however fast they follow each other. */
void local_info(const struct stat *info, ObjectInfo *out) {
    int64_t ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
    *out = (ObjectInfo){.size = (uint64_t)info->st_size, .modified_ms = ns / 1000000};
    snprintf(out->etag, sizeof out->etag, "%llx-%llx-%llx", (unsigned long long)ns,
             (unsigned long long)info->st_size, (unsigned long long)info->st_ino);
}

/* Opening and re-opening the root. */

static void staging_sweep(const LocalStore *store, int staging) {
    char path[PATH_MAX + 320];
    DIR *dir = fdopendir(dup(staging));
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        OWNED(fd_close)
        int folder = openat(staging, entry->d_name, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (folder < 0 || flock(folder, LOCK_EX | LOCK_NB)) continue; /* of a store that lives */
        Err ignored = {0};
        snprintf(path, sizeof path, "%s/.lakehouse/staging/%s", store->root, entry->d_name);
        dir_remove(path, &ignored);
    }
    if (dir) closedir(dir);
}

/* The lock on the folder of all stagings keeps two stores from sweeping while one is between
 * making its own and locking it. */
static bool staging_open(LocalStore *store, int root, int *out, Err *err) {
    OWNED(fd_close) int staging = local_resolve(root, ".lakehouse/staging", O_DIRECTORY);
    if (staging < 0 || flock(staging, LOCK_EX))
        return local_errno(err, "cannot open '%s/.lakehouse/staging'", store->root);
    staging_sweep(store, staging);
    if (mkdirat(staging, store->staging_name, 0700) && errno != EEXIST)
        return local_errno(err, "cannot write below '%s'", store->root);
    OWNED(fd_close) int own = local_resolve(staging, store->staging_name, O_DIRECTORY);
    if (own < 0 || flock(own, LOCK_EX | LOCK_NB))
        return local_errno(err, "cannot lock a folder below '%s'", store->root);
    *out = own;
    own = -1;
    return true;
}

static bool put_under(int fd, int *number, Err *err) {
    if (*number < 0) {
        *number = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (*number < 0) return local_errno(err, "cannot keep a folder open");
    } else if (dup3(fd, *number, O_CLOEXEC) < 0) {
        return local_errno(err, "cannot keep a folder open");
    }
    return true;
}

static bool local_attach(LocalStore *store, Err *err) {
    struct stat info;
    OWNED(fd_close) int staging = -1;
    OWNED(fd_close) int root = open(store->root, O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || fstat(root, &info)) return local_errno(err, "cannot open '%s'", store->root);
    if (!staging_open(store, root, &staging, err)) return false;
    if (!put_under(staging, &store->staging_fd, err) || !put_under(root, &store->root_fd, err))
        return false;
    store->root_device = info.st_dev;
    store->root_inode = info.st_ino;
    return true;
}

static bool root_is_there(const LocalStore *store) {
    struct stat info;
    return stat(store->root, &info) == 0 && info.st_ino == store->root_inode &&
           info.st_dev == store->root_device;
}

/* A folder that stands at the root's path but lacks .lakehouse is a mount point whose disk is
 * gone: writing there would hide the data once the disk is back, so it is refused. */
bool local_ready(LocalStore *store, Err *err) {
    if (root_is_there(store)) return true;
    pthread_mutex_lock(&store->attach_lock);
    bool ok = root_is_there(store) || local_attach(store, err);
    pthread_mutex_unlock(&store->attach_lock);
    return ok || err_code(err, LH_OFFLINE, "bucket_unreachable",
                          "the root '%s' of the bucket is out of reach", store->root);
}

/* Reading. */

static bool local_missing(Str key, Err *err) {
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP: /* a symbolic link is not an object */
    case EXDEV:
    case ENXIO:
        return err_code(err, LH_MISSING, "object_not_found", "no object '%.*s'", SHOW(key));
    default:
        return local_errno(err, "cannot open '%.*s'", SHOW(key));
    }
}

/* O_NONBLOCK keeps a named pipe in the root from blocking the reader for ever. */
static bool local_open_file(LocalStore *store, Str key, int *fd, struct stat *info, Err *err) {
    char path[STORE_KEY_MAX + 1];
    if (!local_ready(store, err) || !local_key(key, path, err)) return false;
    OWNED(fd_close) int file = local_resolve(store->root_fd, path, O_RDONLY | O_NONBLOCK);
    if (file < 0) return local_missing(key, err);
    if (fstat(file, info)) return local_errno(err, "cannot read '%.*s'", SHOW(key));
    if (!S_ISREG(info->st_mode)) return errno = ENOENT, local_missing(key, err);
    *fd = file;
    file = -1;
    return true;
}

static bool local_open(Store *base, Str key, const ReadHint *hint, ObjectReader **out, Err *err) {
    (void)hint;
    struct stat info;
    int fd;
    if (!local_open_file((LocalStore *)base, key, &fd, &info, err)) return false;
    LocalReader *reader = calloc(1, sizeof *reader);
    if (!reader) abort();
    reader->reader.ops = base->ops;
    reader->fd = fd;
    local_info(&info, &reader->reader.info);
    *out = &reader->reader;
    return true;
}

static bool local_head(Store *base, Str key, ObjectInfo *out, Err *err) {
    struct stat info;
    OWNED(fd_close) int fd = -1;
    if (!local_open_file((LocalStore *)base, key, &fd, &info, err)) return false;
    local_info(&info, out);
    return true;
}

static bool local_reader_read(ObjectReader *base, uint64_t offset, void *buffer, size_t size,
                              size_t *got, Err *err) {
    LocalReader *reader = (LocalReader *)base;
    if (offset > INT64_MAX) return err_set(err, LH_RANGE, "the offset is beyond any object");
    if (reader->fd < 0) return err_set(err, LH_BUG, "the reader's descriptor was taken");
    ssize_t n;
    do n = pread(reader->fd, buffer, MIN(size, (size_t)1 << 30), (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n < 0) return local_errno(err, "cannot read an object");
    *got = (size_t)n;
    return true;
}

static int local_reader_take_fd(ObjectReader *base) {
    LocalReader *reader = (LocalReader *)base;
    int fd = reader->fd;
    reader->fd = -1;
    return fd;
}

static void local_reader_close(ObjectReader *base) {
    LocalReader *reader = (LocalReader *)base;
    fd_close(&reader->fd);
    free(reader);
}

/* Paths for others. */

typedef struct OwnFile {
    LocalFile file;
    char path[];
} OwnFile;

static void own_file_close(LocalFile *file) {
    free(file);
}

static bool local_local_file(Store *base, Str key, LocalUse use, bool immutable, LocalFile **out,
                             Err *err) {
    LocalStore *store = (LocalStore *)base;
    struct stat info;
    OWNED(fd_close) int fd = -1;
    (void)use, (void)immutable;
    if (!local_open_file(store, key, &fd, &info, err)) return false;
    Str root = str_from(store->root);
    size_t size = root.len + 1 + key.len + 1;
    if (size > PATH_MAX)
        return err_set(err, LH_INVALID, "the path of '%.*s' is longer than %d bytes", SHOW(key),
                       PATH_MAX);
    OwnFile *own = malloc(sizeof *own + size);
    if (!own) abort();
    own->file = (LocalFile){.close = own_file_close, .path = own->path};
    memcpy(own->path, root.data, root.len);
    own->path[root.len] = '/';
    memcpy(own->path + root.len + 1, key.data, key.len);
    own->path[size - 1] = 0;
    *out = &own->file;
    return true;
}

static StoreAbilities local_abilities(Store *store) {
    (void)store;
    return (StoreAbilities){.if_absent = true, .if_match = true, .local = true};
}

static bool local_staging(Store *base, char out[PATH_MAX], Err *err) {
    LocalStore *store = (LocalStore *)base;
    if (!local_ready(store, err)) return false;
    if (snprintf(out, PATH_MAX, "%s/.lakehouse/staging/%s/%016llx", store->root,
                 store->staging_name, (unsigned long long)random_u64()) >= PATH_MAX)
        return err_set(err, LH_INVALID, "the path of a temporary file is longer than %d bytes",
                       PATH_MAX);
    return true;
}

static bool local_probe(Store *base, Err *err) {
    LocalStore *store = (LocalStore *)base;
    char name[24];
    if (!local_ready(store, err)) return false;
    snprintf(name, sizeof name, "probe-%016llx", (unsigned long long)random_u64());
    OWNED(fd_close)
    int fd = openat(store->staging_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, "x", 1) == 1;
    if (!ok) local_errno(err, "cannot write below '%s'", store->root);
    unlinkat(store->staging_fd, name, 0);
    return ok;
}

static void local_close(Store *base) {
    LocalStore *store = (LocalStore *)base;
    if (store->staging_fd >= 0) {
        char path[PATH_MAX + 64];
        Err ignored = {0};
        snprintf(path, sizeof path, "%s/.lakehouse/staging/%s", store->root, store->staging_name);
        if (root_is_there(store)) dir_remove(path, &ignored);
    }
    fd_close(&store->staging_fd);
    fd_close(&store->root_fd);
    pthread_rwlock_destroy(&store->folders);
    pthread_mutex_destroy(&store->attach_lock);
    free(store);
}

static const StoreOps local_ops = {
    .name = "local",
    .open = local_open,
    .head = local_head,
    .create = local_create,
    .remove = local_remove,
    .list = local_list,
    .probe = local_probe,
    .abilities = local_abilities,
    .local_file = local_local_file,
    .staging = local_staging,
    .adopt = local_adopt,
    .close = local_close,
    .reader_read = local_reader_read,
    .reader_take_fd = local_reader_take_fd,
    .reader_close = local_reader_close,
    .writer_write = local_writer_write,
    .writer_commit = local_writer_commit,
    .writer_close = local_writer_close,
};

static LocalStore *local_new(void) {
    LocalStore *store = calloc(1, sizeof *store);
    if (!store) abort();
    store->store.ops = &local_ops;
    store->root_fd = store->staging_fd = -1;
    snprintf(store->staging_name, sizeof store->staging_name, "%016llx",
             (unsigned long long)random_u64());
    pthread_mutex_init(&store->attach_lock, NULL);
    /* Readers come in a stream under load; without this the makers of folders would starve. */
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&store->folders, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return store;
}

static bool open_root(Str root, bool shared, Store **out, Err *err) {
    char path[PATH_MAX], below[PATH_MAX + 32];
    if (str_trim(root).len == 0 || root.len >= PATH_MAX - 64 || memchr(root.data, 0, root.len))
        return err_set(err, LH_INVALID, "a local bucket's root is a path of 1 to %d bytes",
                       PATH_MAX - 64);
    snprintf(path, sizeof path, "%.*s", SHOW(root));
    if (!dir_make(path, err)) return false;
    LocalStore *store = local_new();
    OWNED(store_close) Store *closing = &store->store;
    if (!realpath(path, store->root)) return local_errno(err, "cannot resolve '%s'", path);
    store->shared = shared;
    snprintf(below, sizeof below, "%s/.lakehouse/locks", store->root);
    if (shared && !dir_make(below, err)) return false;
    snprintf(below, sizeof below, "%s/.lakehouse/staging", store->root);
    if (!dir_make(below, err) || !local_attach(store, err)) return false;
    snprintf(store->location, sizeof store->location, "file://%s", store->root);
    store->store.location = str_from(store->location);
    *out = TAKE(closing);
    return true;
}

bool store_local_open(Str root, Store **out, Err *err) {
    return open_root(root, false, out, err);
}

bool store_local_open_shared(Str root, Store **out, Err *err) {
    return open_root(root, true, out, err);
}
