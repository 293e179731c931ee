#include "vector/log_object.h"

#include "base/base.h"

#define TRIES 50

/* *etag is empty when there is none. */
static bool read_whole(Store *store, Str key, Arena *arena, Bytes *out, Str *etag, Err *err) {
    OWNED(object_close) ObjectReader *reader = NULL;
    *out = (Bytes){0};
    *etag = (Str){0};
    if (!store_open(store, key, NULL, &reader, err)) return err->kind == LH_MISSING;
    const ObjectInfo *info = object_info(reader);
    if (info->size > LOG_SIZE_MAX)
        return err_set(err, LH_TOO_BIG, "'%.*s' is over %d bytes", SHOW(key), LOG_SIZE_MAX);
    uint8_t *data = arena_alloc(arena, info->size + 1);
    for (size_t got = 1; out->size < info->size && got; out->size += got)
        if (!object_read(reader, out->size, data + out->size, info->size - out->size, &got, err))
            return false;
    out->data = data;
    *etag = arena_copy(arena, str_from(info->etag));
    return true;
}

/* *whole: how much of the data is whole records. */
static void take_records(Str key, Bytes data, Arena *arena, LogRecords *out, size_t *whole) {
    Bytes rest = data, payload;
    FrameResult result;
    out->items = arena_array(arena, Bytes, data.size / JOURNAL_HEADER_SIZE + 1);
    out->count = 0;
    while ((result = frame_next(&rest, &payload)) == FRAME_RECORD)
        out->items[out->count++] = payload;
    *whole = data.size - rest.size;
    if (result == FRAME_TORN)
        log_warn("'%.*s' is torn after %zu records: the rest is left out", SHOW(key), out->count);
}

bool log_read(Store *store, Str key, Arena *arena, LogRecords *out, Err *err) {
    Bytes data;
    Str etag;
    size_t whole;
    if (!read_whole(store, key, arena, &data, &etag, err)) return false;
    take_records(key, data, arena, out, &whole);
    return true;
}

static bool append_once(Store *store, Str key, LogMake *make, void *context, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text payload = {0};
    OWNED(text_close) Text all = {0};
    LogRecords before;
    Bytes data;
    Str etag;
    size_t whole;
    if (!read_whole(store, key, &arena, &data, &etag, err)) return false;
    take_records(key, data, &arena, &before, &whole);
    if (!make(context, &before, &payload, err)) return false;
    if (whole) text_add(&all, (Str){(const char *)data.data, whole});
    frame_add(&all, text_bytes(&payload));
    PutCondition condition = {.if_absent = etag.len == 0, .if_match = etag};
    return store_write(store, key, text_bytes(&all), &condition, err);
}

bool log_append(Store *store, Str key, LogMake *make, void *context, Err *err) {
    for (int tries = 0; tries < TRIES; tries++) {
        if (append_once(store, key, make, context, err)) return true;
        if (err->kind != LH_PRECONDITION) return false;
    }
    return err_set(err, LH_BUSY, "others write '%.*s' all the time: try again", SHOW(key));
}
