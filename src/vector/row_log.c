#include "vector/row_log.h"

#include <stdlib.h>
#include <string.h>

#define TRIES 50
#define DIGITS 20

static Str object_key(const RowLog *log, uint64_t first, uint64_t last, Arena *arena) {
    if (first == last)
        return arena_print(arena, "%.*s%020llu.rows", SHOW(log->prefix), (unsigned long long)last);
    return arena_print(arena, "%.*s%020llu_%020llu.rows", SHOW(log->prefix),
                       (unsigned long long)last, (unsigned long long)first);
}

static bool read_number(Str text, uint64_t *out) {
    return text.len == DIGITS && str_to_u64(text, out) && *out > 0;
}

/* False for what is no object of a log. */
static bool read_name(const RowLog *log, Str key, RowObject *out) {
    Str name = str_slice(key, log->prefix.len, key.len);
    if (!str_ends(name, STR(".rows"))) return false;
    name.len -= STR(".rows").len;
    Str last = str_until(&name, '_');
    if (!read_number(last, &out->last)) return false;
    out->first = out->last;
    return (name.len == 0 || read_number(name, &out->first)) && out->first <= out->last;
}

static int object_order(const void *a, const void *b) {
    const RowObject *x = a, *y = b;
    if (x->last != y->last) return x->last < y->last ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

/* From behind: what ends earlier, and begins no earlier than something that ends later, is covered.
 */
static size_t drop_covered(RowObject *objects, size_t count) {
    uint64_t first = UINT64_MAX;
    size_t at = count;
    for (size_t i = count; i-- > 0;) {
        bool twin = i > 0 && objects[i - 1].last == objects[i].last; /* the longer one is first */
        if (objects[i].first >= first || twin) continue;
        first = objects[i].first;
        objects[--at] = objects[i];
    }
    if (at > 0) memmove(objects, objects + at, (count - at) * sizeof *objects);
    return count - at;
}

static bool list_all(const RowLog *log, uint64_t after, Arena *arena, RowObject **out,
                     size_t *count, Err *err) {
    ListOptions options = {.prefix = log->prefix, .limit = STORE_LIST_MAX};
    ObjectList list;
    RowObject object;
    size_t cap = 0;
    *out = NULL, *count = 0;
    if (after) options.after = object_key(log, after, after, arena);
    do {
        if (!store_list(log->store, &options, arena, &list, err)) return false;
        if (*count + list.object_count > cap) {
            cap = (*count + list.object_count) * 2;
            RowObject *grown = arena_array(arena, RowObject, cap);
            if (*count) memcpy(grown, *out, *count * sizeof *grown);
            *out = grown;
        }
        for (size_t i = 0; i < list.object_count; i++) {
            if (!read_name(log, list.objects[i].key, &object) || object.last <= after) continue;
            object.key = list.objects[i].key;
            object.size = list.objects[i].info.size;
            (*out)[(*count)++] = object;
        }
        options.after = list.next;
    } while (list.next.len > 0);
    return true;
}

bool row_log_list(const RowLog *log, uint64_t after, Arena *arena, RowObject **out, size_t *count,
                  Err *err) {
    if (!list_all(log, after, arena, out, count, err)) return false;
    if (*count) qsort(*out, *count, sizeof **out, object_order);
    *count = drop_covered(*out, *count);
    return true;
}

bool row_log_read(const RowLog *log, const RowObject *object, Arena *arena, RowBatch *out,
                  Err *err) {
    Bytes data;
    if (!store_read(log->store, object->key, ROW_BATCH_SIZE_MAX, arena, &data, err)) return false;
    if (!row_batch_decode(data, arena, out, err)) return err_while(err, "%.*s", SHOW(object->key));
    return (out->first == object->first && out->last == object->last) ||
           err_set(err, LH_CORRUPT, "%.*s: holds the rows of another name", SHOW(object->key));
}

/* One listing's worth. *whole is false when something in between was not there: it was merged
 * meanwhile, or is lost. */
static bool replay_once(const RowLog *log, uint64_t *known, RowApply *apply, void *context,
                        bool *whole, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    RowObject *objects;
    size_t count;
    *whole = true;
    if (!row_log_list(log, *known, &arena, &objects, &count, err)) return false;
    for (size_t i = 0; i < count; i++) {
        OWNED(arena_close) Arena one = {0};
        RowBatch batch;
        *whole = objects[i].first <= *known + 1;
        if (!*whole) return true;
        if (!row_log_read(log, &objects[i], &one, &batch, err)) {
            *whole = err->kind != LH_MISSING;
            return !*whole;
        }
        if (!apply(context, &batch, err)) return err_while(err, "%.*s", SHOW(objects[i].key));
        *known = batch.last;
    }
    return true;
}

bool row_log_replay(const RowLog *log, uint64_t *known, RowApply *apply, void *context, Err *err) {
    bool whole = false;
    for (int tries = 0; tries < TRIES && !whole; tries++)
        if (!replay_once(log, known, apply, context, &whole, err)) return false;
    return whole || err_set(err, LH_CORRUPT, "the batch %llu of '%.*s' is lost",
                            (unsigned long long)*known + 1, SHOW(log->prefix));
}

/* Whether what stands under `number` is covered by a merged object, and so counts for nothing. */
static bool is_covered(const RowLog *log, uint64_t number, bool *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    RowObject *objects;
    size_t count;
    *out = false;
    if (!list_all(log, number - 1, &arena, &objects, &count, err)) return false;
    for (size_t i = 0; i < count; i++)
        *out |= objects[i].first < objects[i].last && objects[i].first <= number;
    return true;
}

/* *taken: another batch has this number; nothing of ours is there. */
static bool write_once(const RowLog *log, RowBatch *batch, uint64_t number, bool *taken, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text text = {0};
    const PutCondition fresh = {.if_absent = true};
    Str key = object_key(log, number, number, &arena);
    batch->first = batch->last = number;
    row_batch_encode(batch, &text);
    *taken = false;
    if (!store_write(log->store, key, text_bytes(&text), &fresh, err)) {
        *taken = err->kind == LH_PRECONDITION;
        return *taken;
    }
    if (!is_covered(log, number, taken, err)) return false;
    return !*taken || store_remove(log->store, key, err);
}

bool row_log_append(const RowLog *log, RowBatch *batch, uint64_t *known, RowApply *apply,
                    void *context, Err *err) {
    if (row_batch_size(batch) > ROW_BATCH_SIZE_MAX)
        return err_code(err, LH_TOO_BIG, "too_many_rows", "the rows take %zu bytes, %u fit",
                        row_batch_size(batch), ROW_BATCH_SIZE_MAX);
    for (int tries = 0; tries < TRIES; tries++) {
        bool taken;
        uint64_t number = *known + 1;
        if (!write_once(log, batch, number, &taken, err)) return false;
        if (!taken) {
            if (!apply(context, batch, err)) return false;
            *known = number;
            return true;
        }
        if (!row_log_replay(log, known, apply, context, err)) return false;
    }
    return err_set(err, LH_BUSY, "others write to '%.*s' all the time: try again",
                   SHOW(log->prefix));
}

bool row_log_replace(const RowLog *log, const RowBatch *merged, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text text = {0};
    const PutCondition fresh = {.if_absent = true};
    RowObject *objects;
    size_t count;
    Str key = object_key(log, merged->first, merged->last, &arena);
    row_batch_encode(merged, &text);
    /* One that is there already came from the same batches. */
    if (!store_write(log->store, key, text_bytes(&text), &fresh, err) &&
        err->kind != LH_PRECONDITION)
        return false;
    if (!list_all(log, merged->first - 1, &arena, &objects, &count, err)) return false;
    for (size_t i = 0; i < count; i++)
        if (objects[i].first >= merged->first && objects[i].last <= merged->last &&
            !str_equal(objects[i].key, key) && !store_remove(log->store, objects[i].key, err))
            return false;
    return true;
}
