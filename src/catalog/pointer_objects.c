/* Pointers as objects <table>/pointer/<20 digits>, each created once with if_absent. The newest
 * names the current metadata document, relative to the table, or says that the table was dropped.
 * They are never removed: whoever knows an old number can always find the newest, and can never
 * take a number twice. When the outcome of a swap is unclear, the number is read back: what stands
 * there decides. */
#include "catalog/pointer.h"

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

#define DROPPED "dropped"

typedef struct PointerKey {
    char text[STORE_KEY_MAX];
} PointerKey;

static Str pointer_key(const DatasetName *name, int64_t number, PointerKey *out) {
    int len =
        snprintf(out->text, sizeof out->text, "%s/pointer/%020lld", name->key, (long long)number);
    return (Str){out->text, (size_t)len};
}

/* The common case is one look for a number that is not there. */
static bool is_last(Store *store, Str key, bool *out, Err *err) {
    ObjectInfo info;
    if (store_head(store, key, &info, err)) return *out = false, true;
    if (err->kind != LH_MISSING) return false;
    *err = (Err){0};
    return *out = true, true;
}

/* Going up by listing, when there are newer ones. */
static bool climb(Store *store, const DatasetName *name, int64_t known, int64_t *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    PointerKey after;
    ListOptions options = {.limit = STORE_LIST_MAX};
    ObjectList list;
    options.prefix = arena_print(&arena, "%s/pointer/", name->key);
    options.after = pointer_key(name, known, &after);
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

/* The newest number, going up from one that is known to exist (0: none); 0 when there is none. */
static bool newest_number(Store *store, const DatasetName *name, int64_t known, int64_t *out,
                          Err *err) {
    PointerKey next;
    bool last;
    if (!is_last(store, pointer_key(name, known + 1, &next), &last, err)) return false;
    if (!last) return climb(store, name, known, out, err);
    *out = known;
    return true;
}

/* Empty: dropped. */
static bool read_pointer(Store *store, const DatasetName *name, int64_t number, Arena *arena,
                         Str *metadata, Err *err) {
    PointerKey buffer;
    Bytes body;
    Str key = pointer_key(name, number, &buffer);
    if (!store_read(store, key, POINTER_BODY_MAX, arena, &body, err)) return false;
    Str text = str_trim(str_of(body));
    if (str_is(text, DROPPED)) return *metadata = (Str){0}, true;
    if (!str_starts(text, STR("metadata/")) || !key_check(text, err))
        return err_set(err, LH_CORRUPT, "'%.*s' names no metadata document", SHOW(key));
    *metadata = text;
    return true;
}

/* Takes *bucket when pointers of the dataset are there. */
static bool find_in(Bucket **bucket, const DatasetName *name, const Table *known, Arena *arena,
                    Head *out, Err *err) {
    Head head = {0};
    bool same = known && known->document->bucket == *bucket;
    if (!newest_number(bucket_store(*bucket), name, same ? known->pointer : 0, &head.number, err))
        return false;
    if (head.number == 0) return true;
    if (!read_pointer(bucket_store(*bucket), name, head.number, arena, &head.metadata, err))
        return false;
    head.bucket = TAKE(*bucket);
    *out = head;
    return true;
}

/* The primary first, then by name. A live table wins over a dropped one. */
static bool objects_find(Pointers *pointers, const DatasetName *name, const Table *known,
                         Arena *arena, Head *out, Err *err) {
    OWNED(head_close) Head dropped = {0};
    size_t count;
    Str *names = bucket_names(pointers->buckets, arena, &count);
    for (size_t i = 0; i <= count; i++) {
        OWNED(bucket_release) Bucket *bucket = NULL;
        OWNED(head_close) Head here = {0};
        Err why = {0};
        Str where = i ? names[i - 1] : STR("primary");
        if (i && str_is(where, "primary")) continue;
        /* A bucket that is away must not keep the others' datasets from being used. */
        if (!bucket_find(pointers->buckets, where, &bucket, &why)) continue;
        if (!find_in(&bucket, name, known, arena, &here, &why)) {
            if (why.kind == LH_OFFLINE || why.kind == LH_TIMEOUT) continue;
            return *err = why, false;
        }
        Head *into = here.metadata.len ? out : &dropped;
        if (!here.bucket || into->bucket) continue;
        *into = here;
        here = (Head){0};
        if (into == out) return true;
    }
    *out = dropped;
    dropped = (Head){0};
    return true;
}

static bool objects_is_newest(Pointers *pointers, const Table *table, bool *out, Err *err) {
    PointerKey key;
    DatasetName name;
    (void)pointers;
    snprintf(name.key, sizeof name.key, "%s", table->key);
    return is_last(bucket_store(table->document->bucket),
                   pointer_key(&name, table->pointer + 1, &key), out, err);
}

static bool objects_start(Pointers *pointers, const DatasetName *name, Bucket *bucket,
                          int64_t *number, Err *err) {
    (void)pointers;
    return newest_number(bucket_store(bucket), name, 0, number, err);
}

/* After a failure that may have written: what is there now decides, when it can be read. */
static PointerResult settle(Store *store, const DatasetName *name, int64_t number, Str metadata,
                            Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Err again = {0};
    Str there;
    if (!read_pointer(store, name, number, &arena, &there, &again)) return POINTER_UNKNOWN;
    if (!str_equal(there, metadata)) return POINTER_LOST;
    *err = (Err){0};
    return POINTER_WON;
}

static PointerResult objects_swap(Pointers *pointers, const DatasetName *name, const Head *from,
                                  Str metadata, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    PointerKey key;
    Store *store = bucket_store(from->bucket);
    Str word = metadata.len ? metadata : STR(DROPPED);
    Str body = arena_print(&arena, "%.*s\n", SHOW(word));
    PutCondition condition = {.if_absent = true};
    int64_t number = from->number + 1;
    (void)pointers;
    if (store_write(store, pointer_key(name, number, &key), bytes_of(body), &condition, err))
        return POINTER_WON;
    if (err->kind == LH_PRECONDITION) return POINTER_LOST;
    if (err->kind == LH_OFFLINE || err->kind == LH_TIMEOUT)
        return settle(store, name, number, metadata, err);
    return POINTER_FAILED;
}

/* The folders directly below `prefix`, without it and their '/'. */
typedef void FolderSeen(void *context, Str folder);

static bool folders(Store *store, Str prefix, Arena *arena, FolderSeen *seen, void *context,
                    Err *err) {
    ListOptions options = {.prefix = prefix, .delimiter = STR("/"), .limit = STORE_LIST_MAX};
    ObjectList list;
    do {
        if (!store_list(store, &options, arena, &list, err)) return false;
        for (size_t i = 0; i < list.prefix_count; i++)
            seen(context, str_slice(list.prefixes[i], prefix.len, list.prefixes[i].len - 1));
        options.after = list.next;
    } while (list.next.len);
    return true;
}

typedef struct Spaces {
    Arena *arena;
    Str *items;
    size_t len, cap;
} Spaces;

static void space_seen(void *context, Str folder) {
    Spaces *spaces = context;
    if (spaces->len == spaces->cap) {
        spaces->cap = MAX(spaces->cap * 2, (size_t)16);
        spaces->items = realloc(spaces->items, spaces->cap * sizeof *spaces->items);
        if (!spaces->items) abort();
    }
    spaces->items[spaces->len++] = folder;
}

static void spaces_close(Spaces *spaces) {
    free(spaces->items);
}

typedef struct TableSeen {
    PointerName *seen;
    void *context;
    Str space;
} TableSeen;

static void table_seen(void *context, Str folder) {
    TableSeen *tables = context;
    tables->seen(tables->context, tables->space, folder);
}

static bool names_in(Store *store, Arena *arena, PointerName *seen, void *context, Err *err) {
    OWNED(spaces_close) Spaces spaces = {.arena = arena};
    if (!folders(store, STR("warehouse/"), arena, space_seen, &spaces, err)) return false;
    for (size_t i = 0; i < spaces.len; i++) {
        TableSeen tables = {seen, context, spaces.items[i]};
        Str prefix = arena_print(arena, "warehouse/%.*s/", SHOW(spaces.items[i]));
        if (!folders(store, prefix, arena, table_seen, &tables, err)) return false;
    }
    return true;
}

static bool objects_names(Pointers *pointers, Arena *arena, PointerName *seen, void *context,
                          Str *silent, Err *err) {
    size_t count;
    Str *names = bucket_names(pointers->buckets, arena, &count);
    for (size_t i = 0; i < count; i++) {
        OWNED(bucket_release) Bucket *bucket = NULL;
        Err why = {0};
        if (bucket_find(pointers->buckets, names[i], &bucket, &why) &&
            names_in(bucket_store(bucket), arena, seen, context, &why))
            continue;
        if (why.kind == LH_MISSING) continue; /* removed meanwhile */
        if (why.kind != LH_OFFLINE && why.kind != LH_TIMEOUT) return *err = why, false;
        *silent = names[i];
    }
    return true;
}

static void objects_close(Pointers *pointers) {
    free(pointers);
}

Pointers *pointers_objects(Buckets *buckets) {
    static const PointerOps ops = {
        .find = objects_find,
        .is_newest = objects_is_newest,
        .start = objects_start,
        .swap = objects_swap,
        .names = objects_names,
        .close = objects_close,
        .needs_if_absent = true,
    };
    Pointers *pointers = malloc(sizeof *pointers);
    if (!pointers) abort();
    *pointers = (Pointers){&ops, buckets};
    return pointers;
}
