/* Reading a btree: see btree.h. */
#include "lance/btree_view.h"

#include <stdlib.h>
#include <string.h>

static bool damaged(Err *err, const char *what) {
    return err_set(err, LH_CORRUPT, "a btree %s", what);
}

static bool batch_size_read(const LanceFile *lookup, uint64_t *out, Err *err) {
    Bytes text;
    if (lance_file_find_meta(lookup, STR("batch_size"), &text) && str_to_u64(str_of(text), out) &&
        *out > 0 && *out <= LANCE_BATCH_ROWS_MAX)
        return true;
    return damaged(err, "does not say how long its pages are");
}

static bool lookup_columns(const LanceFile *lookup, BtreeSegment *out, LanceColumn columns[3],
                           size_t rows, Err *err) {
    static const char *const names[] = {"min", "max", "page_idx"};
    LanceType number = lance_type(STR("uint32"));
    const LanceField *field;
    for (size_t c = 0; c < 3; c++) {
        size_t at = 0;
        while ((field = lance_file_field(lookup, at)) && !str_is(field->name, names[c])) at++;
        if (!field) return damaged(err, "lacks a column");
        if (c < 2 && !str_equal(field->type.logical, out->type.logical))
            return damaged(err, "is of another type than its column");
        if (!lance_file_read(lookup, at, c < 2 ? &out->type : &number, 0, rows, &out->arena,
                             &columns[c], err))
            return false;
    }
    return true;
}

static BtreeEntry entry_copy(BtreeSegment *segment, const LanceColumn *column, size_t row) {
    BtreeEntry entry = btree_entry(&segment->type, column, row);
    if (entry.text.len) entry.text = arena_copy(&segment->arena, entry.text);
    return entry;
}

static bool lookup_read(const LanceFile *lookup, BtreeSegment *out, Err *err) {
    LanceColumn columns[3] = {0};
    uint64_t pages = (out->rows + out->page_rows - 1) / out->page_rows;
    uint64_t rows = lance_file_rows(lookup);
    if (rows > pages) return damaged(err, "has more pages than rows for them");
    if (!lookup_columns(lookup, out, columns, (size_t)rows, err)) return false;
    out->least = arena_array(&out->arena, BtreeEntry, rows);
    out->most = arena_array(&out->arena, BtreeEntry, rows);
    out->pages = arena_array(&out->arena, uint32_t, rows);
    for (size_t i = 0; i < rows; i++) {
        if (lance_is_null(&columns[0], i) || lance_is_null(&columns[1], i)) continue;
        size_t at = out->page_count++;
        out->least[at] = entry_copy(out, &columns[0], i);
        out->most[at] = entry_copy(out, &columns[1], i);
        memcpy(&out->pages[at], (const uint8_t *)columns[2].values + i * 4, 4);
        if (out->pages[at] >= pages) return damaged(err, "names a page that is not there");
        if (at > 0 && btree_compare(&out->most[at - 1], &out->least[at]) > 0)
            return damaged(err, "is not in order");
    }
    return true;
}

bool btree_segment_read(const LanceFile *lookup, LanceFile *data, const LanceType *type,
                        BtreeSegment *out, Err *err) {
    out->type = *type;
    out->type.logical = arena_copy(&out->arena, type->logical);
    out->data = data;
    out->rows = lance_file_rows(data);
    const LanceField *values = lance_file_field(data, 0), *ids = lance_file_field(data, 1);
    if (!values || !ids || !str_is(values->name, "values") || !str_is(ids->name, "ids"))
        return damaged(err, "lacks its values, or their addresses");
    return batch_size_read(lookup, &out->page_rows, err) && lookup_read(lookup, out, err);
}

void btree_segment_release(BtreeSegment **out) {
    BtreeSegment *segment = *out;
    *out = NULL;
    if (!segment || __atomic_sub_fetch(&segment->holders, 1, __ATOMIC_ACQ_REL) > 0) return;
    lance_file_close(&segment->data);
    arena_close(&segment->arena);
    free(segment);
}

static bool files_open(Store *store, Str path, const LanceIndex *index, Arena *arena,
                       LanceFile **lookup, LanceFile **data, Err *err) {
    uint64_t sizes[2] = {0};
    const Str names[] = {STR(BTREE_LOOKUP_NAME), STR(BTREE_DATA_NAME)};
    for (size_t i = 0; i < index->file_count; i++)
        for (size_t k = 0; k < 2; k++)
            if (str_equal(index->files[i].path, names[k])) sizes[k] = index->files[i].size;
    return lance_file_open(store, index_key(path, index->uuid, names[0], arena), sizes[0], lookup,
                           err) &&
           lance_file_open(store, index_key(path, index->uuid, names[1], arena), sizes[1], data,
                           err);
}

bool btree_segment_open(Store *store, Str path, const LanceIndex *index, const LanceType *type,
                        BtreeSegment **out, Err *err) {
    OWNED(lance_file_close) LanceFile *lookup = NULL;
    OWNED(btree_segment_release) BtreeSegment *segment = calloc(1, sizeof *segment);
    LanceFile *data = NULL;
    if (!segment) abort();
    segment->holders = 1;
    memcpy(segment->uuid, index->uuid, sizeof segment->uuid);
    bool ok = files_open(store, path, index, &segment->arena, &lookup, &data, err);
    segment->data = data;
    if (!ok || !btree_segment_read(lookup, data, type, segment, err))
        return err_while(err, "index '%.*s'", SHOW(index->name));
    *out = TAKE(segment);
    return true;
}

/* Finding. */

/* The first page that does not end before the key. */
static size_t page_first(const BtreeSegment *segment, const BtreeEntry *key) {
    size_t low = 0, high = segment->page_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (btree_compare(&segment->most[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first row from `low` on, behind the nulls, that does not come before the key. */
static size_t row_first(const BtreeSegment *segment, const LanceColumn *values, size_t count,
                        const BtreeEntry *key) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        BtreeEntry entry = {0};
        bool null = lance_is_null(values, middle);
        if (!null) entry = btree_entry(&segment->type, values, middle);
        if (null || btree_compare(&entry, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool page_find(const BtreeSegment *segment, size_t page, const BtreeEntry *key,
                      BtreeEach *each, void *context, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    LanceColumn values, ids;
    LanceType address = lance_type(STR("uint64"));
    uint64_t from = segment->pages[page] * segment->page_rows;
    size_t count = (size_t)MIN(segment->page_rows, segment->rows - from);
    if (!lance_file_read(segment->data, 0, &segment->type, from, count, &arena, &values, err))
        return false;
    size_t first = row_first(segment, &values, count, key), end = first;
    for (; end < count && !lance_is_null(&values, end); end++) {
        BtreeEntry entry = btree_entry(&segment->type, &values, end);
        if (btree_compare(&entry, key) != 0) break;
    }
    if (first == end) return true;
    if (!lance_file_read(segment->data, 1, &address, from + first, end - first, &arena, &ids, err))
        return false;
    const uint64_t *found = ids.values;
    for (size_t i = 0; i < end - first; i++) each(context, found[i]);
    return true;
}

bool btree_segment_find(const BtreeSegment *segment, const BtreeEntry *key, BtreeEach *each,
                        void *context, Err *err) {
    for (size_t page = page_first(segment, key); page < segment->page_count; page++) {
        if (btree_compare(&segment->least[page], key) > 0) return true;
        if (!page_find(segment, page, key, each, context, err)) return false;
    }
    return true;
}
