/* One backend of objects behind a table of functions (StoreOps in store_ops.h): store_local now,
 * store_s3 later, and wrappers. Callers use the store_* functions, which check keys once.
 *
 * A key is 1..1024 bytes of UTF-8 without empty, "." and ".." segments, NUL or control bytes. A
 * write is durable before it is acknowledged and atomic: a reader sees the old object or the new.
 * Thread rule: a Store is thread safe; a reader or writer belongs to one thread at a time. */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

#include <limits.h>

#define STORE_KEY_MAX 1024
#define STORE_ETAG_SIZE 64
#define STORE_LIST_MAX 1000

typedef struct Store Store;

typedef struct ObjectInfo {
    uint64_t size;
    int64_t modified_ms;
    char etag[STORE_ETAG_SIZE]; /* without quotes; changes with every write */
} ObjectInfo;

/* An object opened for reading: unaffected by later writes to its key. */
typedef struct ObjectReader ObjectReader;
bool store_open(Store *store, Str key, ObjectReader **out, Err *err); /* LH_MISSING, LH_OFFLINE */
void object_close(ObjectReader **reader);
const ObjectInfo *object_info(const ObjectReader *reader);
/* Up to `size` bytes from `offset`; *got is 0 at the end. */
bool object_read(ObjectReader *reader, uint64_t offset, void *buffer, size_t size, size_t *got,
                 Err *err);
/* A descriptor for sendfile, the caller's to close, or -1 where the backend has none. */
int object_take_fd(ObjectReader *reader);

/* A write: begin, add bytes, commit. Closing an uncommitted writer leaves no trace. */
typedef struct ObjectWriter ObjectWriter;
typedef struct PutCondition {
    bool if_absent; /* If-None-Match: *   LH_PRECONDITION when the key exists */
    Str if_match;   /* an etag without quotes; LH_PRECONDITION when it is not the object's */
    bool lazy;      /* atomic, but a machine that loses power may lose it: for what can be remade */
} PutCondition;
bool store_create(Store *store, Str key, ObjectWriter **out, Err *err);
bool writer_write(ObjectWriter *writer, Bytes data, Err *err);
/* Durable when it returns true. An LH_OFFLINE failure may mean an unknown outcome. */
bool writer_commit(ObjectWriter *writer, const PutCondition *condition, ObjectInfo *out, Err *err);
void writer_close(ObjectWriter **writer);

bool store_head(Store *store, Str key, ObjectInfo *out, Err *err);
bool store_remove(Store *store, Str key, Err *err); /* a missing key is no error */
bool store_probe(Store *store, Err *err);           /* is it reachable and writable */
Str store_location(const Store *store); /* for people: file:///srv/lake, s3://b/prefix */

/* Whole objects. size_max guards memory. */
bool store_read(Store *store, Str key, size_t size_max, Arena *arena, Bytes *out, Err *err);
bool store_write(Store *store, Str key, Bytes data, const PutCondition *condition, Err *err);

typedef struct ObjectEntry {
    Str key;
    ObjectInfo info;
} ObjectEntry;
typedef struct ListOptions {
    Str prefix, delimiter, after; /* delimiter empty or "/" */
    size_t limit;                 /* 1..STORE_LIST_MAX */
} ListOptions;
typedef struct ObjectList {
    ObjectEntry *objects;
    size_t object_count;
    Str *prefixes;
    size_t prefix_count;
    Str next; /* pass as `after`; empty at the end */
} ObjectList;
/* In byte order of keys. Lives in the arena. */
bool store_list(Store *store, const ListOptions *options, Arena *arena, ObjectList *out, Err *err);

/* Files that another library must read or write by path (DuckDB, mapped indexes). */
/* The object's path on this machine; LH_IMPOSSIBLE where the backend has no files. */
bool store_local_path(Store *store, Str key, char out[PATH_MAX], Err *err);
/* A fresh path of a file that does not exist yet, on the store's own file system when it has one.
 * store_adopt makes it an object (durable, atomic, the file is gone from `path`); otherwise unlink
 * it. Left-overs of a crash are swept at open. */
bool store_staging(Store *store, char out[PATH_MAX], Err *err);
bool store_adopt(Store *store, const char *path, Str key, const PutCondition *condition,
                 ObjectInfo *out, Err *err);

bool key_check(Str key, Err *err); /* LH_INVALID, code "bad_key", says what is wrong */

void store_close(Store **store);
/* `root` is made when missing. Everything stays beneath it: openat2(RESOLVE_BENEATH |
 * RESOLVE_NO_SYMLINKS). Layout: one file per object at root/<key>; staging in root/.lakehouse/. */
bool store_local_open(Str root, Store **out, Err *err);
