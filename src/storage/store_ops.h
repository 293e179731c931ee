/* What a backend of objects must provide. store.c checks keys and limits once and then calls this
 * table, so that a backend may rely on them. A backend's own structs begin with the ones below. */
#pragma once

#include "storage/store.h"

typedef struct StoreOps {
    const char *name; /* as written in the configuration: backend = "local" */
    bool (*open)(Store *store, Str key, const ReadHint *hint, ObjectReader **out, Err *err);
    bool (*head)(Store *store, Str key, ObjectInfo *out, Err *err);
    bool (*create)(Store *store, Str key, const PutCondition *condition, ObjectWriter **out,
                   Err *err);
    bool (*remove)(Store *store, Str key, Err *err);
    bool (*list)(Store *store, const ListOptions *options, Arena *arena, ObjectList *out, Err *err);
    bool (*probe)(Store *store, Err *err);
    StoreAbilities (*abilities)(Store *store);
    bool (*local_file)(Store *store, Str key, LocalUse use, bool immutable, LocalFile **out,
                       Err *err);
    /* Remote stores only, for the read cache: exactly `count` bytes of the object with this etag;
     * LH_CONFLICT when it is another one by now. */
    bool (*read_range)(Store *store, Str key, Str etag, uint64_t from, uint64_t count, void *buffer,
                       Err *err);
    bool (*staging)(Store *store, char out[PATH_MAX], Err *err);
    bool (*adopt)(Store *store, const char *path, Str key, const PutCondition *condition,
                  ObjectInfo *out, Err *err);
    void (*close)(Store *store); /* frees it too */

    bool (*reader_read)(ObjectReader *reader, uint64_t offset, void *buffer, size_t size,
                        size_t *got, Err *err);
    int (*reader_take_fd)(ObjectReader *reader);
    void (*reader_close)(ObjectReader *reader);

    bool (*writer_write)(ObjectWriter *writer, Bytes data, Err *err);
    bool (*writer_commit)(ObjectWriter *writer, ObjectInfo *out, Err *err);
    void (*writer_close)(ObjectWriter *writer);
} StoreOps;

struct Store {
    const StoreOps *ops;
    Str location; /* the backend's memory */
};
struct ObjectReader { /* needs its store no longer once it is open */
    const StoreOps *ops;
    ObjectInfo info;
};
struct ObjectWriter { /* closed before its store */
    const StoreOps *ops;
};
struct LocalFile {
    bool (*check)(LocalFile *file, Err *err); /* NULL: nothing can fail later */
    void (*close)(LocalFile *file);           /* frees it too */
    const char *path;                         /* the backend's memory */
};
