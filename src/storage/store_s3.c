/* Objects of an S3 bucket: this file opens the store, looks at objects, removes and adopts them,
 * and holds the table of operations. What talks to the server is s3_client.c.
 *
 * A bucket is opened without talking to anybody. Keys may be anything that store.h allows; they are
 * stored below the store's own prefix, and keys that others made and store.h refuses are not seen.
 * An ETag is the server's, mostly a hash of the bytes: writing equal bytes again keeps it. */
#include "storage/s3_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool s3_name(const S3Store *store, Str key, S3Name *out, Err *err) {
    int len = snprintf(out->full, sizeof out->full, "%s%.*s", store->prefix, SHOW(key));
    snprintf(out->shown, sizeof out->shown, "%.*s", SHOW(key));
    return len <= STORE_KEY_MAX ||
           err_code(err, LH_INVALID, "bad_key",
                    "a key and its bucket's prefix have at most %d bytes together, not %d",
                    STORE_KEY_MAX, len);
}

bool s3_head(S3Client *client, const S3Name *name, ObjectInfo *out, char write_id[UUID_SIZE],
             Err *err) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    S3Call call = {.method = "HEAD", .key = str_from(name->full)};
    if (!s3_call(client, &call, &answer, err)) return false;
    if (answer.status != 200)
        return s3_head_refused(client, &answer, call.key, str_from(name->shown), err);
    Str headers = text_str(&answer.reply.headers);
    ObjectInfo info;
    if (!s3_info(headers, &info, err)) return false;
    if (!str_to_u64(http_header(headers, "content-length"), &info.size))
        return err_code(err, LH_CORRUPT, "bad_answer",
                        "the bucket's server did not say the size of '%s'", name->shown);
    *out = info;
    if (write_id) snprintf(write_id, UUID_SIZE, "%.*s", SHOW(http_header(headers, S3_WRITE_ID)));
    return true;
}

static bool s3_store_head(Store *base, Str key, ObjectInfo *out, Err *err) {
    S3Store *store = (S3Store *)base;
    S3Name name;
    return s3_name(store, key, &name, err) && s3_head(store->client, &name, out, NULL, err);
}

static bool s3_store_remove(Store *base, Str key, Err *err) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    S3Store *store = (S3Store *)base;
    S3Name name;
    if (!s3_name(store, key, &name, err)) return false;
    S3Call call = {.method = "DELETE", .key = str_from(name.full)};
    if (!s3_call(store->client, &call, &answer, err)) return false;
    if (answer.status / 100 == 2) return s3_sweep(store->client), true;
    s3_refused(store->client, &answer, key, err);
    return err->kind == LH_MISSING;
}

static bool s3_store_read_range(Store *base, Str key, Str etag, uint64_t from, uint64_t count,
                                void *buffer, Err *err) {
    S3Store *store = (S3Store *)base;
    S3Name name;
    ObjectInfo info = {0};
    if (!s3_name(store, key, &name, err)) return false;
    if (count == 0) return true;
    S3Fetch fetch = {.client = store->client,
                     .name = &name,
                     .from = from,
                     .count = count,
                     .buffer = buffer,
                     .info = &info};
    /* The size is not given: the first answer's is taken, its etag must be the caller's. */
    if (!s3_fetch_of(&fetch, etag, err)) return false;
    return fetch.count == count ||
           err_set(err, LH_RANGE, "'%s' has %llu bytes: nothing to read at %llu", name.shown,
                   (unsigned long long)info.size, (unsigned long long)(from + fetch.count));
}

/* Adopting: the file goes up as it is, without a copy in memory. */

static bool adopt_parts(S3Store *store, const S3Name *name, int fd, uint64_t size, ObjectInfo *out,
                        Err *err) {
    OWNED(s3_upload_close) S3Upload *upload = NULL;
    uint64_t part = (uint64_t)store->client->limits.part_bytes;
    while (part * S3_PARTS_MAX < size) part *= 2;
    if (!s3_upload_open(store, name, &upload, err)) return false;
    for (uint64_t at = 0; at < size; at += part)
        if (!s3_upload_file(upload, fd, at, MIN(part, size - at), err)) return false;
    return s3_upload_complete(upload, out, err);
}

bool s3_store_adopt(Store *base, const char *path, Str key, const PutCondition *condition,
                    ObjectInfo *out, Err *err) {
    S3Store *store = (S3Store *)base;
    S3Name name;
    struct stat info;
    PutCondition none = {0};
    OWNED(fd_close) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (!condition) condition = &none;
    if (fd < 0 || fstat(fd, &info)) return err_errno(err, "cannot open '%s'", path);
    if (!S_ISREG(info.st_mode)) return err_set(err, LH_INVALID, "'%s' is not a file", path);
    if (!s3_name(store, key, &name, err) || !s3_conditions_check(store, condition, err))
        return false;
    uint64_t size = (uint64_t)info.st_size;
    bool conditional = condition->if_absent || condition->if_match.len > 0;
    S3Put put = {store, &name, *condition, .fd = fd, .fd_size = size};
    bool whole = conditional || size <= (uint64_t)store->client->limits.part_bytes;
    bool ok = whole ? s3_put(&put, out, err) : adopt_parts(store, &name, fd, size, out, err);
    if (ok) unlink(path);
    return ok;
}

static bool s3_store_local_file(Store *base, Str key, LocalUse use, bool immutable, LocalFile **out,
                                Err *err) {
    return read_cache_file(((S3Store *)base)->cache, base, key, use, immutable, out, err);
}

static bool s3_store_staging(Store *base, char out[PATH_MAX], Err *err) {
    return read_cache_staging(((S3Store *)base)->cache, out, err);
}

/* Threads that still transfer for readers are waited for; the readers go on without them. */
static void s3_store_close(Store *base) {
    S3Store *store = (S3Store *)base;
    crew_stop(&store->client->crew);
    s3_client_release(&store->client);
    pthread_mutex_destroy(&store->finding);
    free(store);
}

static const StoreOps s3_ops = {
    .name = "s3",
    .open = s3_store_open,
    .head = s3_store_head,
    .create = s3_store_create,
    .remove = s3_store_remove,
    .list = s3_store_list,
    .probe = s3_store_probe,
    .abilities = s3_store_abilities,
    .local_file = s3_store_local_file,
    .read_range = s3_store_read_range,
    .staging = s3_store_staging,
    .adopt = s3_store_adopt,
    .close = s3_store_close,
    .reader_read = s3_reader_read,
    .reader_take_fd = s3_reader_take_fd,
    .reader_close = s3_reader_close,
    .writer_write = s3_writer_write,
    .writer_commit = s3_writer_commit,
    .writer_close = s3_writer_close,
};

bool store_s3_open(const S3Options *options, Store **out, Err *err) {
    S3Client *client;
    if (!s3_client_open(options, &client, err)) return false;
    S3Store *store = calloc(1, sizeof *store);
    if (!store) abort();
    store->client = client;
    store->cache = options->cache;
    pthread_mutex_init(&store->finding, NULL);
    if (options->prefix.len)
        snprintf(store->prefix, sizeof store->prefix, "%.*s/", SHOW(options->prefix));
    int len = snprintf(store->location, sizeof store->location, "s3://%.*s%s%.*s",
                       SHOW(client->bucket), options->prefix.len ? "/" : "", SHOW(options->prefix));
    store->store = (Store){
        &s3_ops, {store->location, (size_t)len}
    };
    *out = &store->store;
    return true;
}
