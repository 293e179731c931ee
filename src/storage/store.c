/* The front of every backend: keys and limits are checked here, once, then the table is called. */
#include "storage/store_ops.h"

#include "base/owned.h"

#include <assert.h>
#include <string.h>

static bool segment_check(Str key, Str segment, Err *err) {
    if (segment.len == 0)
        return err_code(err, LH_INVALID, "bad_key", "the key '%.*s' has an empty segment",
                        SHOW(key));
    if (str_is(segment, ".") || str_is(segment, ".."))
        return err_code(err, LH_INVALID, "bad_key", "the key '%.*s' has a segment '%.*s'",
                        SHOW(key), SHOW(segment));
    return true;
}

static bool has_control_byte(Str text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f) return true;
    return false;
}

bool key_check(Str key, Err *err) {
    if (key.len == 0 || key.len > STORE_KEY_MAX)
        return err_code(err, LH_INVALID, "bad_key", "a key has 1 to %d bytes, not %zu",
                        STORE_KEY_MAX, key.len);
    if (has_control_byte(key))
        return err_code(err, LH_INVALID, "bad_key", "the key holds a NUL or control byte");
    if (!str_is_utf8(key)) return err_code(err, LH_INVALID, "bad_key", "the key is not UTF-8");
    if (key.data[key.len - 1] == '/') return segment_check(key, STR(""), err);
    Str rest = key, segment = str_until(&rest, '/');
    if (str_is(segment, ".lakehouse"))
        return err_code(err, LH_INVALID, "bad_key",
                        "keys below '.lakehouse/' are the server's own");
    for (;; segment = str_until(&rest, '/')) {
        if (!segment_check(key, segment, err)) return false;
        if (rest.len == 0) return true;
    }
}

bool store_open(Store *store, Str key, const ReadHint *hint, ObjectReader **out, Err *err) {
    return key_check(key, err) && store->ops->open(store, key, hint, out, err);
}

void object_close(ObjectReader **reader) {
    if (*reader) (*reader)->ops->reader_close(*reader);
    *reader = NULL;
}

const ObjectInfo *object_info(const ObjectReader *reader) {
    return &reader->info;
}

bool object_read(ObjectReader *reader, uint64_t offset, void *buffer, size_t size, size_t *got,
                 Err *err) {
    return reader->ops->reader_read(reader, offset, buffer, size, got, err);
}

int object_take_fd(ObjectReader *reader) {
    return reader->ops->reader_take_fd(reader);
}

bool store_check_condition(Store *store, const PutCondition *condition, Err *err) {
    for (size_t i = 0; condition && i < condition->after.len; i++)
        if (!key_check(condition->after.items[i], err)) return false;
    if (!condition || (!condition->if_absent && condition->if_match.len == 0)) return true;
    StoreAbilities can = store_abilities(store);
    bool ok =
        (can.if_absent || !condition->if_absent) && (can.if_match || condition->if_match.len == 0);
    return ok || can.unknown ||
           err_code(err, LH_IMPOSSIBLE, "no_conditional_writes",
                    "'%.*s' does not honour %s, so that a conditional write could lose data",
                    SHOW(store->location), condition->if_absent ? "If-None-Match" : "If-Match");
}

bool store_create(Store *store, Str key, const PutCondition *condition, ObjectWriter **out,
                  Err *err) {
    return key_check(key, err) && store_check_condition(store, condition, err) &&
           store->ops->create(store, key, condition, out, err);
}

bool writer_write(ObjectWriter *writer, Bytes data, Err *err) {
    return writer->ops->writer_write(writer, data, err);
}

bool writer_commit(ObjectWriter *writer, ObjectInfo *out, Err *err) {
    ObjectInfo info;
    if (!writer->ops->writer_commit(writer, &info, err)) return false;
    if (out) *out = info;
    return true;
}

void writer_close(ObjectWriter **writer) {
    if (*writer) (*writer)->ops->writer_close(*writer);
    *writer = NULL;
}

bool store_head(Store *store, Str key, ObjectInfo *out, Err *err) {
    return key_check(key, err) && store->ops->head(store, key, out, err);
}

bool store_remove(Store *store, Str key, Err *err) {
    return key_check(key, err) && store->ops->remove(store, key, err);
}

bool store_probe(Store *store, Err *err) {
    return store->ops->probe(store, err);
}

StoreAbilities store_abilities(Store *store) {
    return store->ops->abilities(store);
}

Str store_location(const Store *store) {
    return store->location;
}

bool store_read(Store *store, Str key, size_t size_max, Arena *arena, Bytes *out, Err *err) {
    OWNED(object_close) ObjectReader *reader = NULL;
    if (!store_open(store, key, NULL, &reader, err)) return false;
    if (reader->info.size > size_max)
        return err_set(err, LH_TOO_BIG, "'%.*s' has %llu bytes, at most %zu are read here",
                       SHOW(key), (unsigned long long)reader->info.size, size_max);
    size_t size = (size_t)reader->info.size, got = 0;
    uint8_t *data = arena_alloc(arena, size + 1);
    for (size_t at = 0; at < size; at += got) {
        if (!object_read(reader, at, data + at, size - at, &got, err)) return false;
        if (got == 0)
            return err_set(err, LH_CORRUPT, "'%.*s' ends after %zu of %zu bytes", SHOW(key), at,
                           size);
    }
    *out = (Bytes){data, size};
    return true;
}

bool store_write(Store *store, Str key, Bytes data, const PutCondition *condition, Err *err) {
    OWNED(writer_close) ObjectWriter *writer = NULL;
    return store_create(store, key, condition, &writer, err) && writer_write(writer, data, err) &&
           writer_commit(writer, NULL, err);
}

/* A prefix may end anywhere inside a key, but must not walk out of the bucket. */
static bool prefix_check(Str prefix, Err *err) {
    if (prefix.len > STORE_KEY_MAX)
        return err_code(err, LH_INVALID, "bad_prefix", "a prefix has at most %d bytes",
                        STORE_KEY_MAX);
    if (has_control_byte(prefix) || !str_is_utf8(prefix))
        return err_code(err, LH_INVALID, "bad_prefix",
                        "the prefix is not UTF-8, or holds a control byte");
    for (Str rest = prefix; rest.len > 0;) {
        Str before = rest, segment = str_until(&rest, '/');
        if (segment.len == before.len) break; /* the last one may be any part of a segment */
        if (segment.len == 0 || str_is(segment, ".") || str_is(segment, ".."))
            return err_code(err, LH_INVALID, "bad_prefix",
                            "the prefix '%.*s' has an empty, '.' or '..' segment", SHOW(prefix));
    }
    return true;
}

bool store_list(Store *store, const ListOptions *options, Arena *arena, ObjectList *out, Err *err) {
    if (!prefix_check(options->prefix, err)) return false;
    if (options->delimiter.len > 0 && !str_is(options->delimiter, "/"))
        return err_set(err, LH_INVALID, "the delimiter is '/' or absent, not '%.*s'",
                       SHOW(options->delimiter));
    if (options->limit < 1 || options->limit > STORE_LIST_MAX)
        return err_set(err, LH_INVALID, "limit is 1 to %d, not %zu", STORE_LIST_MAX,
                       options->limit);
    return store->ops->list(store, options, arena, out, err);
}

bool store_remove_below(Store *store, Str prefix, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    ListOptions options = {.prefix = prefix, .limit = STORE_LIST_MAX};
    ObjectList list;
    do {
        if (!store_list(store, &options, &arena, &list, err)) return false;
        for (size_t i = 0; i < list.object_count; i++)
            if (!store_remove(store, list.objects[i].key, err)) return false;
        options.after = list.next;
    } while (list.next.len > 0);
    return true;
}

bool store_local_file(Store *store, Str key, LocalUse use, bool immutable, LocalFile **out,
                      Err *err) {
    return key_check(key, err) && store->ops->local_file(store, key, use, immutable, out, err);
}

const char *local_file_path(const LocalFile *file) {
    return file->path;
}

bool local_file_check(LocalFile *file, Err *err) {
    return !file->check || file->check(file, err);
}

void local_file_close(LocalFile **file) {
    if (*file) (*file)->close(*file);
    *file = NULL;
}

bool store_staging(Store *store, char out[PATH_MAX], Err *err) {
    return store->ops->staging(store, out, err);
}

bool store_adopt(Store *store, const char *path, Str key, const PutCondition *condition,
                 ObjectInfo *out, Err *err) {
    ObjectInfo info;
    if (!key_check(key, err) || !store_check_condition(store, condition, err)) return false;
    if (!store->ops->adopt(store, path, key, condition, &info, err)) return false;
    if (out) *out = info;
    return true;
}

void store_close(Store **store) {
    if (*store) (*store)->ops->close(*store);
    *store = NULL;
}
