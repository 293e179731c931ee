/* What the registry keeps in the primary bucket:
 *
 *     .lakehouse/lock            an flock held while a server lives (local primaries)
 *     _lakehouse/format          {"format":1}; a newer one is refused
 *     _lakehouse/buckets.json    {"buckets":[{"name","backend","root"}],"removed":["name"]}
 */
#include "storage/bucket_registry.h"

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#define FORMAT_VERSION 1
#define FORMAT_SIZE_MAX 4096
#define BUCKETS_FILE_MAX (4u << 20)

bool primary_lock(const Bucket *primary, int *lock_fd, Err *err) {
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/.lakehouse/lock", primary->root);
    OWNED(fd_close) int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return err_errno(err, "cannot open '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno == EWOULDBLOCK)
            return err_code(err, LH_CONFLICT, "data_in_use",
                            "another lakehouse server is running on '%s'", primary->root);
        return err_errno(err, "cannot lock '%s'", path);
    }
    *lock_fd = fd;
    fd = -1;
    return true;
}

static bool format_write(Store *primary, Err *err) {
    char text[32];
    snprintf(text, sizeof text, "{\"format\":%d}\n", FORMAT_VERSION);
    return store_write(primary, STR("_lakehouse/format"), bytes_of(str_from(text)), NULL, err);
}

bool format_check(Store *primary, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    const Json *json;
    Bytes data;
    if (!store_read(primary, STR("_lakehouse/format"), FORMAT_SIZE_MAX, &arena, &data, err)) {
        if (err->kind != LH_MISSING) return false;
        *err = (Err){0};
        return format_write(primary, err);
    }
    if (!json_read(str_of(data), &arena, &json, err))
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

static void restore_bucket(Buckets *buckets, const Json *item, BucketSeen *add) {
    BucketOptions options = {.name = json_get_text(item, "name", (Str){0}),
                             .backend = json_get_text(item, "backend", STR("local")),
                             .root = json_get_text(item, "root", (Str){0})};
    if (options.name.len) add(buckets, &options);
}

bool buckets_restore(Buckets *buckets, BucketSeen *add, BucketStruck *strike, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    const Json *json;
    Bytes data;
    if (!store_read(buckets->primary->store, STR("_lakehouse/buckets.json"), BUCKETS_FILE_MAX,
                    &arena, &data, err)) {
        if (err->kind != LH_MISSING) return err_while(err, "restoring the buckets");
        *err = (Err){0};
        return true;
    }
    if (!json_read(str_of(data), &arena, &json, err))
        return err_set(err, LH_CORRUPT,
                       "'_lakehouse/buckets.json' of the primary bucket is not JSON");
    const Json *removed = json_get(json, "removed"), *list = json_get(json, "buckets");
    for (size_t i = 0; removed && removed->kind == JSON_ARRAY && i < removed->len; i++)
        if (removed->items[i].kind == JSON_TEXT) strike(buckets, removed->items[i].text);
    for (size_t i = 0; list && list->kind == JSON_ARRAY && i < list->len; i++)
        restore_bucket(buckets, &list->items[i], add);
    return true;
}

bool buckets_persist(Buckets *buckets, Err *err) {
    OWNED(text_close) Text json = {0};
    JsonWriter w = {.out = &json};
    jw_object(&w);
    jw_name(&w, "buckets");
    jw_array(&w);
    for (size_t i = 0; i < buckets->len; i++) {
        const Bucket *bucket = buckets->items[i];
        if (bucket->configured) continue;
        jw_object(&w);
        jw_member_text(&w, "name", str_from(bucket->name));
        jw_member_text(&w, "backend", STR("local"));
        jw_member_text(&w, "root", str_from(bucket->root));
        jw_end(&w);
    }
    jw_end(&w);
    jw_name(&w, "removed");
    jw_array(&w);
    for (size_t i = 0; i < buckets->removed_count; i++) jw_text(&w, buckets->removed[i]);
    jw_end(&w);
    jw_end(&w);
    return store_write(buckets->primary->store, STR("_lakehouse/buckets.json"), text_bytes(&json),
                       NULL, err) ||
           err_while(err, "keeping the list of buckets");
}
