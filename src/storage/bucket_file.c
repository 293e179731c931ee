/* What the registry keeps in the primary bucket:
 *
 *     .lakehouse/lock            an flock held while a server lives (local primaries, not shared)
 *     _lakehouse/format          {"format":1}; a newer one is refused
 *     _lakehouse/buckets.json    {"buckets":[{"name","backend","root"|"bucket","endpoint",...}],
 *                                "removed":["name"]}
 *
 * buckets.json is changed by reading it, changing that and writing it back on the condition that it
 * is still what was read: another server's buckets stay in it, and what a newer version of us put
 * into an entry does too. A name is struck out ("removed") when the configuration has it; an entry
 * of that name in "buckets" counts all the same. */
#include "storage/bucket_registry.h"

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define FORMAT_VERSION 1
#define FORMAT_SIZE_MAX 4096
#define FORMAT_KEY STR("_lakehouse/format")
#define BUCKETS_FILE_MAX (4u << 20)
#define BUCKETS_KEY STR("_lakehouse/buckets.json")

bool folder_lock(const char *path, const char *what, int *lock_fd, Err *err) {
    OWNED(fd_close) int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return err_errno(err, "cannot open '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno == EWOULDBLOCK)
            return err_code(err, LH_CONFLICT, "data_in_use",
                            "another lakehouse server is running on '%s'", what);
        return err_errno(err, "cannot lock '%s'", path);
    }
    *lock_fd = fd;
    fd = -1;
    return true;
}

/* "If it is not there" and "if it is still that one", unless the store is known not to hold it. */
static PutCondition condition_of(Store *store, const char *etag) {
    StoreAbilities can = store_abilities(store);
    if (etag[0] && (can.if_match || can.unknown)) return (PutCondition){.if_match = str_from(etag)};
    return (PutCondition){.if_absent = !etag[0] && (can.if_absent || can.unknown)};
}

static bool format_write(Store *primary, Err *err) {
    char text[32];
    PutCondition absent = condition_of(primary, "");
    snprintf(text, sizeof text, "{\"format\":%d}\n", FORMAT_VERSION);
    return store_write(primary, FORMAT_KEY, bytes_of(str_from(text)), &absent, err);
}

static bool format_read(Str text, Arena *arena, Err *err) {
    const Json *json;
    if (!json_read(text, arena, &json, err))
        return err_set(err, LH_CORRUPT, "'_lakehouse/format' of the primary bucket is not JSON");
    int64_t format = json_get_int(json, "format", 0);
    if (format < 1)
        return err_set(err, LH_CORRUPT,
                       "'_lakehouse/format' of the primary bucket names no format");
    if (format > FORMAT_VERSION)
        return err_code(err, LH_CONFLICT, "format_newer",
                        "the data has on-disk format %lld; this version reads up to %d",
                        (long long)format, FORMAT_VERSION);
    return true;
}

bool format_check(Store *primary, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Bytes data;
    for (bool again = false;; again = true) {
        if (store_read(primary, FORMAT_KEY, FORMAT_SIZE_MAX, &arena, &data, err))
            return format_read(str_of(data), &arena, err);
        if (err->kind != LH_MISSING) return false;
        *err = (Err){0};
        if (format_write(primary, err)) return true;
        if (err->kind != LH_PRECONDITION || again)
            return false; /* else another server was faster */
        *err = (Err){0};
    }
}

/* buckets.json */

void buckets_file_close(BucketsFile *file) {
    arena_close(&file->arena);
    *file = (BucketsFile){0};
}

static const Json *array_of(const Json *json, const char *name) {
    const Json *value = json_get(json, name);
    return value && value->kind == JSON_ARRAY ? value : NULL;
}

/* The bytes and the etag are of one reader, so that they belong together. */
static bool read_with_etag(Store *primary, BucketsFile *out, Bytes *data, Err *err) {
    OWNED(object_close) ObjectReader *reader = NULL;
    if (!store_open(primary, BUCKETS_KEY, NULL, &reader, err)) return false;
    const ObjectInfo *info = object_info(reader);
    if (info->size > BUCKETS_FILE_MAX)
        return err_set(err, LH_CORRUPT, "'_lakehouse/buckets.json' has %llu bytes",
                       (unsigned long long)info->size);
    size_t size = (size_t)info->size, got = 1;
    uint8_t *bytes = arena_alloc(&out->arena, size + 1);
    for (size_t at = 0; at < size && got > 0; at += got)
        if (!object_read(reader, at, bytes + at, size - at, &got, err)) return false;
    memcpy(out->etag, info->etag, sizeof out->etag);
    *data = (Bytes){bytes, size};
    return true;
}

bool buckets_file_read(Store *primary, BucketsFile *out, Err *err) {
    OWNED(buckets_file_close) BucketsFile file = {0};
    const Json *json;
    Bytes data = {0};
    if (!read_with_etag(primary, &file, &data, err)) {
        if (err->kind != LH_MISSING) return err_while(err, "reading the list of buckets");
        *err = (Err){0};
    } else if (!json_read(str_of(data), &file.arena, &json, err) || json->kind != JSON_OBJECT) {
        return err_set(err, LH_CORRUPT,
                       "'_lakehouse/buckets.json' of the primary bucket is not JSON");
    } else {
        file.buckets = array_of(json, "buckets");
        file.removed = array_of(json, "removed");
    }
    *out = file;
    file = (BucketsFile){0};
    return true;
}

static void write_entries(const BucketsFile *file, const Bucket *add, Str drop, JsonWriter *w) {
    jw_name(w, "buckets");
    jw_array(w);
    for (size_t i = 0; file->buckets && i < file->buckets->len; i++) {
        const Json *item = &file->buckets->items[i];
        Str name = json_get_text(item, "name", (Str){0});
        if ((drop.len && str_equal(name, drop)) || (add && str_is(name, add->name))) continue;
        jw_json(w, item);
    }
    if (add) bucket_options_write(add, w);
    jw_end(w);
}

static void write_removed(const BucketsFile *file, Str drop, bool strike, JsonWriter *w) {
    jw_name(w, "removed");
    jw_array(w);
    for (size_t i = 0; file->removed && i < file->removed->len; i++) {
        const Json *item = &file->removed->items[i];
        if (item->kind != JSON_TEXT) continue;
        strike = strike && !str_equal(item->text, drop);
        jw_text(w, item->text);
    }
    if (strike) jw_text(w, drop);
    jw_end(w);
}

bool buckets_file_write(Store *primary, const BucketsFile *file, const Bucket *add, Str drop,
                        bool strike, Err *err) {
    OWNED(text_close) Text json = {0};
    JsonWriter w = {.out = &json};
    PutCondition same = condition_of(primary, file->etag);
    jw_object(&w);
    write_entries(file, add, drop, &w);
    write_removed(file, drop, strike, &w);
    jw_end(&w);
    return store_write(primary, BUCKETS_KEY, text_bytes(&json), &same, err) ||
           err_while(err, "keeping the list of buckets");
}
