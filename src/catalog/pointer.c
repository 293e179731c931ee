/* A swap is one exclusive create. When its outcome is unclear, the number is read back: what stands
 * there decides. */
#include "catalog/pointer.h"

#include "base/base.h"

#include <stdio.h>

#define DROPPED "dropped"

typedef struct PointerKey {
    char text[STORE_KEY_MAX];
} PointerKey;

static Str pointer_key(Str table_key, int64_t number, PointerKey *out) {
    int len = snprintf(out->text, sizeof out->text, "%.*s/pointer/%020lld", SHOW(table_key),
                       (long long)number);
    return (Str){out->text, (size_t)len};
}

/* The common case is one look for a number that is not there. */
static bool is_latest(Store *store, Str key, bool *out, Err *err) {
    ObjectInfo info;
    if (store_head(store, key, &info, err)) return *out = false, true;
    if (err->kind != LH_MISSING) return false;
    *err = (Err){0};
    return *out = true, true;
}

/* Going up by listing, when there are newer ones. */
static bool pointer_climb(Store *store, Str table_key, int64_t known, int64_t *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    PointerKey after;
    ListOptions options = {.limit = STORE_LIST_MAX};
    ObjectList list;
    options.prefix = arena_print(&arena, "%.*s/pointer/", SHOW(table_key));
    options.after = pointer_key(table_key, known, &after);
    do {
        if (!store_list(store, &options, &arena, &list, err)) return false;
        if (list.object_count == 0) break;
        Str key = list.objects[list.object_count - 1].key;
        uint64_t number;
        if (!str_to_u64(str_slice(key, options.prefix.len, key.len), &number) || number > INT64_MAX)
            return err_set(err, LH_CORRUPT, "'%.*s' is no pointer", SHOW(key));
        known = (int64_t)number;
        options.after = list.next;
    } while (list.next.len);
    *out = known;
    return true;
}

bool pointer_latest(Store *store, Str table_key, int64_t known, int64_t *out, Err *err) {
    PointerKey next;
    bool latest;
    if (!is_latest(store, pointer_key(table_key, known + 1, &next), &latest, err)) return false;
    if (!latest) return pointer_climb(store, table_key, known, out, err);
    *out = known;
    return true;
}

bool pointer_read(Store *store, Str table_key, int64_t number, Arena *arena, Str *metadata,
                  Err *err) {
    PointerKey buffer;
    Bytes body;
    Str key = pointer_key(table_key, number, &buffer);
    if (!store_read(store, key, POINTER_BODY_MAX, arena, &body, err)) return false;
    Str text = str_trim(str_of(body));
    if (str_is(text, DROPPED)) return *metadata = (Str){0}, true;
    if (!str_starts(text, STR("metadata/")) || !key_check(text, err))
        return err_set(err, LH_CORRUPT, "'%.*s' names no metadata document", SHOW(key));
    *metadata = text;
    return true;
}

/* After a failure that may have written: what is there now decides, when it can be read. */
static PointerResult pointer_settle(Store *store, Str table_key, int64_t number, Str metadata,
                                    Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Err again = {0};
    Str there;
    if (!pointer_read(store, table_key, number, &arena, &there, &again)) return POINTER_UNKNOWN;
    if (!str_equal(there, metadata)) return POINTER_LOST;
    *err = (Err){0};
    return POINTER_WON;
}

PointerResult pointer_swap(Store *store, Str table_key, int64_t number, Str metadata, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    PointerKey key;
    Str word = metadata.len ? metadata : STR(DROPPED);
    Str body = arena_print(&arena, "%.*s\n", SHOW(word));
    PutCondition condition = {.if_absent = true};
    if (store_write(store, pointer_key(table_key, number, &key), bytes_of(body), &condition, err))
        return POINTER_WON;
    if (err->kind == LH_PRECONDITION) return POINTER_LOST;
    if (err->kind == LH_OFFLINE || err->kind == LH_TIMEOUT)
        return pointer_settle(store, table_key, number, metadata, err);
    return POINTER_FAILED;
}
