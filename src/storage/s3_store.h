/* Between the files of the S3 backend: store_s3.c opens, looks, removes, adopts; store_s3_read.c
 * and store_s3_write.c move bytes; store_s3_list.c lists; store_s3_probe.c finds what the server
 * honours; s3_fetch.c, s3_put.c and s3_upload.c are one transfer each. */
#pragma once

#include "storage/s3_client.h"
#include "storage/store_ops.h"

#define S3_WRITE_ID "x-amz-meta-lakehouse-write"
#define S3_PARTS_MAX 10000                  /* of one object; S3's own */
#define S3_PUT_SIZE_MAX ((uint64_t)5 << 30) /* S3's own, for one request */

typedef struct S3Store {
    Store store;
    S3Client *client;
    ReadCache *cache;
    char prefix[STORE_KEY_MAX + 2]; /* with its '/', or empty */
    char location[STORE_KEY_MAX + 128];
    pthread_mutex_t finding; /* held while a probe finds the four below */
    _Atomic bool known, if_absent, if_match, unquoted;
    _Atomic int64_t known_us;
} S3Store;

/* A key as the bucket knows it and as the caller does. */
typedef struct S3Name {
    char full[STORE_KEY_MAX + 1], shown[STORE_KEY_MAX + 1];
} S3Name;
bool s3_name(const S3Store *store, Str key, S3Name *out, Err *err);

/* Bytes of one object, as many requests as it takes, all of the version that the first one saw. */
typedef struct S3Fetch {
    S3Client *client;
    const S3Name *name;
    uint64_t from, count; /* cut at the object's end when the fetch learns it */
    uint8_t *buffer;
    ObjectInfo *info; /* its etag is empty: this fetch learns it; else LH_CONFLICT on another */
    void (*moved)(void *context, uint64_t got); /* after each piece; may be NULL */
    void *context;
    const _Atomic bool *cancelled; /* may be NULL */
    uint64_t got;                  /* zero to start */
    bool sized;  /* info->size is known; s3_fetch sets it when info came with an etag */
    bool headed; /* this attempt's head was as it should be */
} S3Fetch;
bool s3_fetch(S3Fetch *fetch, Err *err);
/* The same for a caller that knows the object's etag, not its size: learns the size only. */
bool s3_fetch_of(S3Fetch *fetch, Str etag, Err *err);

/* Looks at an object: LH_MISSING when it is not there. `write_id` (or NULL) gets the id of the
 * write that made it. */
bool s3_head(S3Client *client, const S3Name *name, ObjectInfo *out, char write_id[UUID_SIZE],
             Err *err);

/* One object in one request, from memory or (fd_size > 0) from a file. */
typedef struct S3Put {
    S3Store *store;
    const S3Name *name;
    PutCondition condition;
    Bytes body;
    int fd;
    uint64_t fd_size;
} S3Put;
bool s3_put(const S3Put *put, ObjectInfo *out, Err *err);

/* One object in parts, sent side by side. Closing it before it is complete aborts it. */
typedef struct S3Upload S3Upload;
bool s3_upload_open(S3Store *store, const S3Name *name, S3Upload **out, Err *err);
/* Takes the bytes and leaves an empty buffer, perhaps with memory of an earlier part. */
bool s3_upload_bytes(S3Upload *upload, Text *data, Err *err);
bool s3_upload_file(S3Upload *upload, int fd, uint64_t from, uint64_t size, Err *err);
bool s3_upload_complete(S3Upload *upload, ObjectInfo *out, Err *err);
void s3_upload_close(S3Upload **upload);

/* Finds what the server honours, when that is not known yet. */
bool s3_find_abilities(S3Store *store, Err *err);
bool s3_conditions_check(S3Store *store, const PutCondition *condition, Err *err);

bool s3_store_open(Store *store, Str key, const ReadHint *hint, ObjectReader **out, Err *err);
bool s3_store_create(Store *store, Str key, const PutCondition *condition, ObjectWriter **out,
                     Err *err);
bool s3_store_adopt(Store *store, const char *path, Str key, const PutCondition *condition,
                    ObjectInfo *out, Err *err);
bool s3_store_list(Store *store, const ListOptions *options, Arena *arena, ObjectList *out,
                   Err *err);
bool s3_store_probe(Store *store, Err *err);
StoreAbilities s3_store_abilities(Store *store);
bool s3_reader_read(ObjectReader *reader, uint64_t offset, void *buffer, size_t size, size_t *got,
                    Err *err);
int s3_reader_take_fd(ObjectReader *reader);
void s3_reader_close(ObjectReader *reader);
bool s3_writer_write(ObjectWriter *writer, Bytes data, Err *err);
bool s3_writer_commit(ObjectWriter *writer, ObjectInfo *out, Err *err);
void s3_writer_close(ObjectWriter *writer);
