/* Writing an object. Up to part_bytes wait in memory and go up as one signed PUT; more goes up in
 * parts while it comes in. A conditional write must be one PUT, since servers ignore conditions on
 * an upload in parts (Ceph) or know none there: what does not fit in memory is spooled to a file.
 */
#include "storage/s3_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct S3Writer {
    ObjectWriter writer;
    S3Store *store;
    S3Name name;
    PutCondition condition;
    char if_match[STORE_ETAG_SIZE + 1]; /* one longer than any: such a one matches none */
    Text data;                          /* not sent yet, or all of it */
    S3Upload *upload;
    int spool;
    uint64_t spooled;
    bool failed; /* bytes are missing: it cannot be committed any more */
} S3Writer;

bool s3_store_create(Store *base, Str key, const PutCondition *condition, ObjectWriter **out,
                     Err *err) {
    S3Store *store = (S3Store *)base;
    S3Name name;
    if (!s3_name(store, key, &name, err) || !s3_conditions_check(store, condition, err))
        return false;
    S3Writer *writer = calloc(1, sizeof *writer);
    if (!writer) abort();
    *writer = (S3Writer){.writer = {base->ops}, .store = store, .name = name, .spool = -1};
    if (condition) {
        int len = (int)MIN(condition->if_match.len, sizeof writer->if_match - 1);
        snprintf(writer->if_match, sizeof writer->if_match, "%.*s", len, condition->if_match.data);
        writer->condition = *condition;
        writer->condition.if_match = str_from(writer->if_match);
    }
    *out = &writer->writer;
    return true;
}

static bool is_conditional(const S3Writer *writer) {
    return writer->condition.if_absent || writer->condition.if_match.len > 0;
}

static bool spool_open(S3Writer *writer, Err *err) {
    char path[PATH_MAX];
    if (!read_cache_staging(writer->store->cache, path, err)) return false;
    writer->spool = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (writer->spool < 0) return err_errno(err, "cannot spool '%s'", writer->name.shown);
    unlink(path); /* it lives as long as it is open */
    return true;
}

static bool spool(S3Writer *writer, Err *err) {
    if (writer->spooled + writer->data.len > S3_PUT_SIZE_MAX)
        return err_set(err, LH_TOO_BIG,
                       "a conditional write to S3 has at most %llu bytes, the most of one request",
                       (unsigned long long)S3_PUT_SIZE_MAX);
    if (writer->spool < 0 && !spool_open(writer, err)) return false;
    if (!fd_write(writer->spool, text_bytes(&writer->data), err))
        return err_while(err, "spooling '%s'", writer->name.shown);
    writer->spooled += writer->data.len;
    text_clear(&writer->data);
    return true;
}

/* The buffer is full and more comes. */
static bool flush(S3Writer *writer, Err *err) {
    if (is_conditional(writer)) return spool(writer, err);
    if (!writer->upload && !s3_upload_open(writer->store, &writer->name, &writer->upload, err))
        return false;
    return s3_upload_bytes(writer->upload, &writer->data, err);
}

bool s3_writer_write(ObjectWriter *base, Bytes data, Err *err) {
    S3Writer *writer = (S3Writer *)base;
    size_t most = (size_t)writer->store->client->limits.part_bytes;
    while (data.size > 0) {
        if (writer->data.len == most && !flush(writer, err)) return writer->failed = true, false;
        size_t size = MIN(data.size, most - writer->data.len);
        text_add(&writer->data, str_of((Bytes){data.data, size}));
        data = (Bytes){data.data + size, data.size - size};
    }
    return true;
}

bool s3_writer_commit(ObjectWriter *base, ObjectInfo *out, Err *err) {
    S3Writer *writer = (S3Writer *)base;
    if (writer->failed)
        return err_set(err, LH_OFFLINE, "'%s' was not written: a part of it failed before",
                       writer->name.shown);
    if (writer->upload)
        return s3_upload_bytes(writer->upload, &writer->data, err) &&
               s3_upload_complete(writer->upload, out, err);
    if (writer->spooled && !spool(writer, err)) return false;
    S3Put put = {writer->store,       &writer->name,
                 writer->condition,   .body = text_bytes(&writer->data),
                 .fd = writer->spool, .fd_size = writer->spooled};
    return s3_put(&put, out, err);
}

void s3_writer_close(ObjectWriter *base) {
    S3Writer *writer = (S3Writer *)base;
    s3_upload_close(&writer->upload);
    fd_close(&writer->spool);
    text_close(&writer->data);
    free(writer);
}
