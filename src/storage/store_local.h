/* Between the files of the local backend: store_local.c opens, reads and finds paths,
 * store_local_write.c commits and removes, store_local_list.c lists. */
#pragma once

#include "storage/store_ops.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define LOCAL_SEGMENT_MAX 255 /* bytes of one path segment on every Linux file system */

typedef struct LocalStore {
    Store store;
    char root[PATH_MAX]; /* absolute, no symbolic link in it */
    char location[PATH_MAX + 8];
    /* These numbers stay for life; when the root comes back after an outage, dup3 puts the new
     * folder under the same number, so that nobody needs a lock to use them. */
    int root_fd, staging_fd;
    _Atomic uint64_t root_device, root_inode;
    bool shared;           /* with other processes: see lock_between in store_local_write.c */
    char staging_name[20]; /* our own folder below .lakehouse/staging, locked while we live */
    pthread_mutex_t attach_lock;
    pthread_rwlock_t folders; /* read: placing an object; write: making or pruning folders */
} LocalStore;

typedef struct LocalReader {
    ObjectReader reader;
    int fd;
} LocalReader;

/* openat2 beneath `folder`, no symbolic link on the way: a descriptor, or -1 with errno. */
int local_resolve(int folder, const char *path, int flags);
/* As err_errno, but what the server itself may not do on its disk is no fault of the client's:
 * LH_OFFLINE, not LH_DENIED. */
#define local_errno(err, ...) (err_errno((err), __VA_ARGS__), local_not_denied(err))
bool local_not_denied(Err *err); /* false, so that it ends a return statement */
/* Whether the root is still the folder that was opened, or has come back: LH_OFFLINE if not. */
bool local_ready(LocalStore *store, Err *err);
bool local_key(Str key, char out[STORE_KEY_MAX + 1], Err *err);
void local_info(const struct stat *info, ObjectInfo *out);

bool local_create(Store *store, Str key, const PutCondition *condition, ObjectWriter **out,
                  Err *err);
bool local_remove(Store *store, Str key, Err *err);
bool local_adopt(Store *store, const char *path, Str key, const PutCondition *condition,
                 ObjectInfo *out, Err *err);
bool local_writer_write(ObjectWriter *writer, Bytes data, Err *err);
bool local_writer_commit(ObjectWriter *writer, ObjectInfo *out, Err *err);
void local_writer_close(ObjectWriter *writer);
bool local_list(Store *store, const ListOptions *options, Arena *arena, ObjectList *out, Err *err);
