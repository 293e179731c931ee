/* Commits and removals of the local backend.
 *
 * A commit stamps the finished file with a new time, makes its bytes durable, puts it in place and
 * makes the folder durable; each folder that had to be made was made durable in its own parent
 * before it could be used. A lazy commit leaves both to a later one that names it.
 *
 * Conditions hold because every commit and removal of this process takes the lock of its key's
 * stripe, and "if absent" is a rename that replaces nothing, or link(), which the kernel decides
 * between all processes. In a root that other processes open too, each of them also holds an flock
 * on the file of the stripe, root/.lakehouse/locks/<2 hex>. */
#include "storage/store_local.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/owned.h"
#include "base/parallel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define STRIPES 64
#define SEND_BYTES (8u << 20)
#define PLACE_TRIES_MAX 1000 /* each lost to a folder that another process pruned meanwhile */
#define SYNC_THREADS 2       /* a third made it slower (docs/adr/0027) */

typedef struct LocalWriter {
    ObjectWriter writer;
    LocalStore *store;
    int fd;
    uint64_t size, sent; /* bytes written, and how many of them the disk was told to begin with */
    char name[20];       /* in the staging folder; empty once it is committed */
    char key[STORE_KEY_MAX + 1];
    PutCondition condition;
    char if_match[STORE_ETAG_SIZE];
} LocalWriter;

/* One write: where it stands now and where it goes. */
typedef struct Placement {
    LocalStore *store;
    int from_folder, fd;
    const char *from_name, *key;
    const PutCondition *condition;
} Placement;

static pthread_mutex_t stripes[STRIPES] = {[0 ... STRIPES - 1] = PTHREAD_MUTEX_INITIALIZER};

typedef struct StripeLock {
    pthread_mutex_t *mutex;
    int fd; /* whose flock it holds, or -1 */
} StripeLock;

static void stripe_unlock(StripeLock *lock) {
    fd_close(&lock->fd);
    if (lock->mutex) pthread_mutex_unlock(lock->mutex);
    lock->mutex = NULL;
}

/* The file is opened anew each time: the root may be another folder since it came back. */
static bool lock_between(LocalStore *store, size_t stripe, int *out, Err *err) {
    char path[40];
    snprintf(path, sizeof path, ".lakehouse/locks/%02zx", stripe);
    OWNED(fd_close)
    int fd = openat(store->root_fd, path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) return local_errno(err, "cannot open '%s/%s'", store->root, path);
    int rc;
    do rc = flock(fd, LOCK_EX);
    while (rc && errno == EINTR);
    if (rc) return local_errno(err, "cannot lock '%s/%s'", store->root, path);
    *out = fd;
    fd = -1;
    return true;
}

static bool stripe_lock(LocalStore *store, const char *key, StripeLock *lock, Err *err) {
    size_t stripe = hash64(bytes_of(str_from(key))) % STRIPES;
    pthread_mutex_lock(&stripes[stripe]);
    lock->mutex = &stripes[stripe];
    return !store->shared || lock_between(store, stripe, &lock->fd, err);
}

/* The folder part of the key as a path ("." for none), and its last segment. */
static const char *key_split(const char *key, char folder[STORE_KEY_MAX + 1]) {
    const char *slash = strrchr(key, '/');
    if (!slash) return memcpy(folder, ".", 2), key;
    memcpy(folder, key, (size_t)(slash - key));
    folder[slash - key] = 0;
    return slash + 1;
}

static bool in_the_way(const char *key, Err *err) {
    return err_code(err, LH_CONFLICT, "key_conflict",
                    "'%s' cannot be written: a key and keys below it ('a' and 'a/b') cannot both "
                    "exist in a local bucket",
                    key);
}

/* One step down; a folder that is made is durable in its parent before anyone can use it. */
static bool folder_enter(int *folder, const char *name, const char *key, Err *err) {
    if (mkdirat(*folder, name, 0755) == 0) {
        if (fsync(*folder)) return local_errno(err, "cannot make a folder of '%s' durable", key);
    } else if (errno != EEXIST) {
        return local_errno(err, "cannot make a folder of '%s'", key);
    }
    int next = openat(*folder, name, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0 && (errno == ENOTDIR || errno == ELOOP)) return in_the_way(key, err);
    if (next < 0) return local_errno(err, "cannot open a folder of '%s'", key);
    fd_close(folder);
    *folder = next;
    return true;
}

static bool folders_make(LocalStore *store, const char *path, const char *key, Err *err) {
    OWNED(fd_close) int folder = local_resolve(store->root_fd, ".", O_DIRECTORY);
    char name[STORE_KEY_MAX + 1];
    bool ok = folder >= 0 || local_errno(err, "cannot open '%s'", store->root);
    pthread_rwlock_wrlock(&store->folders);
    for (Str rest = str_from(path); ok && rest.len > 0;) {
        Str segment = str_until(&rest, '/');
        snprintf(name, sizeof name, "%.*s", SHOW(segment));
        ok = folder_enter(&folder, name, key, err);
    }
    pthread_rwlock_unlock(&store->folders);
    return ok;
}

/* Left empty by a removal that was cut short: no object is below it, so it may go. */
static bool folder_gave_way(int folder, const char *name) {
    return unlinkat(folder, name, AT_REMOVEDIR) == 0;
}

static bool condition_holds(int folder, const char *name, const Placement *place, Err *err) {
    struct stat info;
    ObjectInfo now = {0};
    if (!place->condition || place->condition->if_match.len == 0) return true;
    if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode))
        local_info(&info, &now);
    return str_is(place->condition->if_match, now.etag) ||
           err_set(err, LH_PRECONDITION, "'%s' is no longer the object with etag '%.*s'",
                   place->key, SHOW(place->condition->if_match));
}

static bool place_failed(int folder, const char *name, const Placement *place, Err *err) {
    struct stat info;
    if (errno == EISDIR) return in_the_way(place->key, err);
    if (errno != EEXIST) return local_errno(err, "cannot write '%s'", place->key);
    if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode))
        return in_the_way(place->key, err);
    return err_set(err, LH_PRECONDITION, "'%s' exists", place->key);
}

/* Takes the name only when nothing has it. Network file systems know link() but not this flag;
 * some others know no links. */
static int move_if_absent(const Placement *place, int folder, const char *name) {
    int rc = renameat2(place->from_folder, place->from_name, folder, name, RENAME_NOREPLACE);
    if (rc == 0 || (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)) return rc;
    rc = linkat(place->from_folder, place->from_name, folder, name, 0);
    if (rc == 0) unlinkat(place->from_folder, place->from_name, 0);
    return rc;
}

/* ENOENT from here means that the folder was pruned by another process: the caller tries again. */
static bool place_in(int folder, const char *name, const Placement *place, Err *err) {
    bool if_absent = place->condition && place->condition->if_absent;
    for (int tries = 0;; tries++) {
        int rc = if_absent ? move_if_absent(place, folder, name)
                           : renameat(place->from_folder, place->from_name, folder, name);
        if (rc == 0) return true;
        int number = errno;
        bool blocked = number == EISDIR || number == EEXIST;
        if (blocked && tries == 0 && folder_gave_way(folder, name)) continue;
        errno = number;
        return place_failed(folder, name, place, err);
    }
}

typedef enum PlaceResult { PLACED, PLACE_AGAIN, PLACE_FAILED } PlaceResult;

/* Under the stripe's lock. *folder is kept open for its fsync. */
static PlaceResult place_once(const Placement *place, int *folder, Err *err) {
    char path[STORE_KEY_MAX + 1];
    const char *name = key_split(place->key, path);
    pthread_rwlock_rdlock(&place->store->folders);
    *folder = local_resolve(place->store->root_fd, path, O_DIRECTORY);
    int number = errno;
    bool ok = *folder >= 0 && condition_holds(*folder, name, place, err) &&
              place_in(*folder, name, place, err);
    pthread_rwlock_unlock(&place->store->folders);
    if (ok) return PLACED;
    if (*folder >= 0) {
        fd_close(folder);
        return err->kind == LH_MISSING ? PLACE_AGAIN : PLACE_FAILED;
    }
    if (number == ENOENT)
        return folders_make(place->store, path, place->key, err) || err->kind == LH_MISSING
                   ? PLACE_AGAIN
                   : PLACE_FAILED;
    errno = number;
    if (errno == ENOTDIR || errno == ELOOP || errno == EXDEV)
        in_the_way(place->key, err);
    else
        local_errno(err, "cannot open the folder of '%s'", place->key);
    return PLACE_FAILED;
}

static bool place_locked(const Placement *place, int *folder, Err *err) {
    PlaceResult result = PLACE_AGAIN;
    OWNED(stripe_unlock) StripeLock lock = {.fd = -1};
    if (!stripe_lock(place->store, place->key, &lock, err)) return false;
    for (int i = 0; i < PLACE_TRIES_MAX && result == PLACE_AGAIN; i++)
        result = place_once(place, folder, err);
    if (result == PLACE_AGAIN)
        return err_set(err, LH_OFFLINE, "'%s' cannot be written: its folder keeps vanishing",
                       place->key);
    return result == PLACED;
}

/* Later than every stamp before it in this process. */
static struct timespec stamp_next(void) {
    static _Atomic int64_t last;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, seen = last, mine;
    do mine = MAX(ns, seen + 1);
    while (!atomic_compare_exchange_weak(&last, &seen, mine));
    return (struct timespec){mine / 1000000000, mine % 1000000000};
}

static int sync_at(const LocalStore *store, const char *path, int flags) {
    OWNED(fd_close) int fd = local_resolve(store->root_fd, path, flags);
    return fd < 0 || fsync(fd) ? errno : 0;
}

/* What must be durable before the placement is seen: its own bytes, then two for each object that
 * was written lazily before it, which are its bytes and its entry in its folder. */
typedef struct Syncs {
    const Placement *place;
    _Atomic int error;
} Syncs;

static void syncs_run(void *context, size_t from, size_t to) {
    Syncs *syncs = context;
    char path[STORE_KEY_MAX + 1], folder[STORE_KEY_MAX + 1];
    for (size_t i = from; i < to; i++) {
        const Placement *place = syncs->place;
        int error = 0;
        if (i == 0) {
            error = fsync(place->fd) ? errno : 0;
        } else {
            Str key = place->condition->after.items[(i - 1) / 2];
            snprintf(path, sizeof path, "%.*s", SHOW(key));
            key_split(path, folder);
            error = i % 2 ? sync_at(place->store, path, O_RDONLY)
                          : sync_at(place->store, folder, O_RDONLY | O_DIRECTORY);
        }
        if (error) syncs->error = error;
    }
}

/* Side by side: while one waits for the bytes of a file the other waits for the journal, which
 * takes what both ask of it into one commit. */
static bool place_sync(const Placement *place, Err *err) {
    Syncs syncs = {.place = place};
    size_t count = 1 + (place->condition ? place->condition->after.len * 2 : 0);
    parallel_for(SYNC_THREADS, count, 1, syncs_run, &syncs);
    errno = syncs.error;
    return !syncs.error ||
           local_errno(err, "cannot make '%s' and what it needs durable", place->key);
}

static bool local_place(const Placement *place, ObjectInfo *out, Err *err) {
    struct stat info;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, stamp_next()};
    OWNED(fd_close) int folder = -1;
    bool lazy = place->condition && place->condition->lazy;
    if (futimens(place->fd, times) || fstat(place->fd, &info))
        return local_errno(err, "cannot make '%s' durable", place->key);
    if (lazy) /* a hint: the disk has them, most likely, when they shall be durable */
        sync_file_range(place->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    else if (!place_sync(place, err))
        return false;
    if (!place_locked(place, &folder, err)) return false;
    if (!lazy && fsync(folder))
        return err_set(err, LH_OFFLINE, "'%s' was written but may not be durable: %s", place->key,
                       strerror(errno));
    local_info(&info, out);
    return true;
}

/* An etag that is longer than any of ours matches none, cut or not. */
static void writer_condition(LocalWriter *writer, const PutCondition *condition) {
    if (!condition) return;
    writer->condition = *condition;
    int len = (int)MIN(condition->if_match.len, sizeof writer->if_match - 1);
    snprintf(writer->if_match, sizeof writer->if_match, "%.*s", len, condition->if_match.data);
    writer->condition.if_match = str_from(writer->if_match);
}

bool local_create(Store *base, Str key, const PutCondition *condition, ObjectWriter **out,
                  Err *err) {
    LocalStore *store = (LocalStore *)base;
    LocalWriter *writer = calloc(1, sizeof *writer);
    if (!writer) abort();
    *writer = (LocalWriter){.writer = {base->ops}, .store = store, .fd = -1};
    writer_condition(writer, condition);
    OWNED(writer_close) ObjectWriter *closing = &writer->writer;
    if (!local_ready(store, err) || !local_key(key, writer->key, err)) return false;
    snprintf(writer->name, sizeof writer->name, "%016llx", (unsigned long long)random_u64());
    writer->fd =
        openat(store->staging_fd, writer->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (writer->fd < 0) return local_errno(err, "cannot write below '%s'", store->root);
    *out = TAKE(closing);
    return true;
}

/* The disk begins with what is here while more comes, so that a large object's fsync finds little
 * left to wait for. A hint: whatever fails shows again at the fsync. */
static void writer_send(LocalWriter *writer) {
    if (writer->size - writer->sent < SEND_BYTES) return;
    sync_file_range(writer->fd, (off_t)writer->sent, (off_t)(writer->size - writer->sent),
                    SYNC_FILE_RANGE_WRITE);
    writer->sent = writer->size;
}

bool local_writer_write(ObjectWriter *base, Bytes data, Err *err) {
    LocalWriter *writer = (LocalWriter *)base;
    while (data.size > 0) {
        size_t size = MIN(data.size, (size_t)SEND_BYTES);
        if (!fd_write(writer->fd, (Bytes){data.data, size}, err))
            return err_while(err, "'%s'", writer->key);
        data = (Bytes){data.data + size, data.size - size};
        writer->size += size;
        writer_send(writer);
    }
    return true;
}

bool local_writer_commit(ObjectWriter *base, ObjectInfo *out, Err *err) {
    LocalWriter *writer = (LocalWriter *)base;
    if (!local_ready(writer->store, err)) return false;
    Placement place = {.store = writer->store,
                       .from_folder = writer->store->staging_fd,
                       .from_name = writer->name,
                       .fd = writer->fd,
                       .key = writer->key,
                       .condition = &writer->condition};
    return local_place(&place, out, err);
}

void local_writer_close(ObjectWriter *base) {
    LocalWriter *writer = (LocalWriter *)base;
    /* Once it is in place the name is gone already, and unlinking it does nothing. */
    if (writer->fd >= 0) unlinkat(writer->store->staging_fd, writer->name, 0);
    fd_close(&writer->fd);
    free(writer);
}

bool local_adopt(Store *base, const char *path, Str key, const PutCondition *condition,
                 ObjectInfo *out, Err *err) {
    LocalStore *store = (LocalStore *)base;
    char name[STORE_KEY_MAX + 1];
    struct stat info;
    if (!local_ready(store, err) || !local_key(key, name, err)) return false;
    OWNED(fd_close) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info)) return local_errno(err, "cannot open '%s'", path);
    if (!S_ISREG(info.st_mode)) return err_set(err, LH_INVALID, "'%s' is not a file", path);
    Placement place = {.store = store,
                       .from_folder = AT_FDCWD,
                       .from_name = path,
                       .fd = fd,
                       .key = name,
                       .condition = condition};
    return local_place(&place, out, err);
}

/* Removing. */

/* Best effort, from the object's folder upwards, as far as they are empty. */
static void folders_prune(LocalStore *store, char path[STORE_KEY_MAX + 1]) {
    char parent[STORE_KEY_MAX + 1];
    pthread_rwlock_wrlock(&store->folders);
    while (strcmp(path, ".") != 0) {
        const char *name = key_split(path, parent);
        OWNED(fd_close) int folder = local_resolve(store->root_fd, parent, O_DIRECTORY | O_PATH);
        if (folder < 0 || unlinkat(folder, name, AT_REMOVEDIR)) break;
        memcpy(path, parent, sizeof parent);
    }
    pthread_rwlock_unlock(&store->folders);
}

static bool is_missing(int number) {
    return number == ENOENT || number == ENOTDIR || number == ELOOP || number == EXDEV;
}

static bool remove_in(int folder, const char *name, Str key, Err *err) {
    struct stat info;
    if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) || !S_ISREG(info.st_mode)) return true;
    if (unlinkat(folder, name, 0) && errno != ENOENT)
        return local_errno(err, "cannot remove '%.*s'", SHOW(key));
    if (fsync(folder)) return local_errno(err, "cannot remove '%.*s' for good", SHOW(key));
    return true;
}

static bool remove_locked(LocalStore *store, const char *folder_path, const char *name, Str key,
                          Err *err) {
    OWNED(fd_close) int folder = local_resolve(store->root_fd, folder_path, O_DIRECTORY);
    if (folder < 0 && is_missing(errno)) return true;
    if (folder < 0) return local_errno(err, "cannot remove '%.*s'", SHOW(key));
    return remove_in(folder, name, key, err);
}

bool local_remove(Store *base, Str key, Err *err) {
    LocalStore *store = (LocalStore *)base;
    char path[STORE_KEY_MAX + 1], folder_path[STORE_KEY_MAX + 1];
    if (!local_ready(store, err) || !local_key(key, path, err)) return false;
    const char *name = key_split(path, folder_path);
    StripeLock lock = {.fd = -1};
    bool ok =
        stripe_lock(store, path, &lock, err) && remove_locked(store, folder_path, name, key, err);
    stripe_unlock(&lock);
    if (ok) folders_prune(store, folder_path);
    return ok;
}
