/* One backend of objects behind a table of functions (StoreOps in store_ops.h): store_local and
 * store_s3, and wrappers. Callers use the store_* functions, which check keys once.
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
    char etag[STORE_ETAG_SIZE]; /* without quotes; changes with the bytes, locally with every write
                                 */
} ObjectInfo;

/* An object opened for reading. A later write to its key does not mix into it: a local reader goes
 * on with the old bytes, a remote one fails with LH_CONFLICT once it would have to. */
typedef struct ObjectReader ObjectReader;
/* What the caller is about to read, so that a remote store asks for it with its first request. */
typedef struct ReadHint {
    uint64_t from, count; /* count 0: to the end */
} ReadHint;
/* hint NULL: all of it. LH_MISSING, LH_OFFLINE. */
bool store_open(Store *store, Str key, const ReadHint *hint, ObjectReader **out, Err *err);
void object_close(ObjectReader **reader);
const ObjectInfo *object_info(const ObjectReader *reader);
/* Up to `size` bytes from `offset`; *got is 0 at the end. */
bool object_read(ObjectReader *reader, uint64_t offset, void *buffer, size_t size, size_t *got,
                 Err *err);
/* A descriptor for sendfile, the caller's to close, or -1 where the backend has none. */
int object_take_fd(ObjectReader *reader);

/* A write: begin, add bytes, commit. Closing an uncommitted writer leaves no trace. */
typedef struct ObjectWriter ObjectWriter;
typedef struct Keys { /* of objects; borrowed */
    const Str *items;
    size_t len;
} Keys;
typedef struct PutCondition {
    bool if_absent; /* If-None-Match: *   LH_PRECONDITION when the key exists */
    Str if_match;   /* an etag without quotes; LH_PRECONDITION when it is not the object's */
    bool lazy;      /* atomic, but a machine that loses power may lose it or leave a part of it: for
                     * what can be remade, or that another object's `after` names */
    Keys after;     /* objects that were written lazily: durable before this one can be seen, for
                     * less than one by one. Until the writer is closed */
} PutCondition;
/* The condition (NULL: none) is known before the first byte, for a store may have to send them in
 * another way; it is checked when the write is committed. */
bool store_create(Store *store, Str key, const PutCondition *condition, ObjectWriter **out,
                  Err *err);
bool writer_write(ObjectWriter *writer, Bytes data, Err *err);
/* Durable when it returns true. An LH_OFFLINE failure may mean an unknown outcome. */
bool writer_commit(ObjectWriter *writer, ObjectInfo *out, Err *err);
void writer_close(ObjectWriter **writer);

bool store_head(Store *store, Str key, ObjectInfo *out, Err *err);
bool store_remove(Store *store, Str key, Err *err); /* a missing key is no error */
bool store_probe(Store *store, Err *err);           /* is it reachable and writable */
/* What the store honours, as its probe found: a condition that it would ignore is refused
 * (LH_IMPOSSIBLE, code "no_conditional_writes") instead of losing data. */
typedef struct StoreAbilities {
    bool if_absent, if_match;
    bool local;   /* reads never wait for a network */
    bool unknown; /* out of reach: a conditional write says so itself */
} StoreAbilities;
StoreAbilities store_abilities(Store *store);
/* That check alone, before work that ends in such a write. */
bool store_check_condition(Store *store, const PutCondition *condition, Err *err);
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
/* Every object whose key begins with the prefix; on failure some of them are left. */
bool store_remove_below(Store *store, Str prefix, Err *err);

/* Files that another library must read or write by path (DuckDB, mapped indexes). */
/* An object as a file of this machine: the store's own file, or one of the read cache, which the
 * holder keeps from being evicted. Close it before its store. */
typedef struct LocalFile LocalFile;
typedef enum LocalUse {
    LOCAL_RANGES, /* read through query's hooks: what is not there yet is fetched when it is read */
    LOCAL_WHOLE,  /* all of it is there when the call returns, for mapping */
} LocalUse;
/* `immutable`: the key is never written twice, so that what is cached needs no look at the store.
 */
bool store_local_file(Store *store, Str key, LocalUse use, bool immutable, LocalFile **out,
                      Err *err);
const char *local_file_path(const LocalFile *file);
/* False, and why, when a later read through it failed: the library only told that it did. */
bool local_file_check(LocalFile *file, Err *err);
void local_file_close(LocalFile **file);

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
/* The same for a root that other processes open too: conditions hold between all of them. */
bool store_local_open_shared(Str root, Store **out, Err *err);
