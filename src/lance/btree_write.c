/* The two files of a btree: see btree.h. */
#include "lance/btree.h"
#include "lance/data_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_PAGES 32 /* of BTREE_PAGE rows, as one page of the file */
#define SIGN ((uint64_t)1 << 63)

static int by_value_then_address(const void *a, const void *b) {
    const BtreeEntry *left = a, *right = b;
    int order = btree_compare(left, right);
    if (order) return order;
    return left->address < right->address ? -1 : left->address > right->address;
}

static int by_number(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* Entry i of all rows: nulls are before the first value. NULL: it is one of them. */
static const BtreeEntry *entry_at(const BtreeRows *rows, size_t i) {
    return i < rows->null_count ? NULL : &rows->entries[i - rows->null_count];
}

static void number_put(const LanceType *type, uint64_t key, uint8_t *out) {
    uint64_t bits = type->kind == LANCE_UINT ? key : key ^ SIGN;
    double wide;
    if (type->kind == LANCE_FLOAT) {
        bits = key & SIGN ? key ^ SIGN : ~key;
        memcpy(&wide, &bits, sizeof wide);
        float narrow = (float)wide;
        if (type->bits == 32) memcpy(&bits, &narrow, sizeof narrow);
    }
    memcpy(out, &bits, type->bits / 8);
}

/* `count` entries, NULL for a null, as a column. */
static LanceColumn column_make(const LanceType *type, const BtreeEntry *const *entries,
                               size_t count, Arena *arena) {
    uint8_t *validity = arena_alloc(arena, count / 8 + 1);
    size_t size = 0, width = type->bits / 8;
    for (size_t i = 0; i < count; i++) {
        if (entries[i]) validity[i >> 3] |= (uint8_t)(1u << (i & 7));
        size += entries[i] ? entries[i]->text.len : 0;
    }
    if (type->kind != LANCE_TEXT) {
        uint8_t *values = arena_alloc(arena, count * width + 1);
        for (size_t i = 0; i < count; i++)
            if (entries[i]) number_put(type, entries[i]->key, values + i * width);
        return (LanceColumn){.values = values, .validity = validity};
    }
    uint64_t *offsets = arena_array(arena, uint64_t, count + 1);
    char *bytes = arena_alloc(arena, size + 1);
    for (size_t i = 0; i < count; i++) {
        Str text = entries[i] ? entries[i]->text : STR("");
        if (text.len) memcpy(bytes + offsets[i], text.data, text.len);
        offsets[i + 1] = offsets[i] + text.len;
    }
    return (LanceColumn){.values = bytes, .offsets = offsets, .validity = validity};
}

static bool data_pages_write(LanceFileWriter *writer, const BtreeRows *rows, Err *err) {
    size_t all = rows->null_count + rows->count;
    for (size_t from = 0; from < all; from += (size_t)WRITE_PAGES * BTREE_PAGE) {
        OWNED(arena_close) Arena arena = {0};
        size_t count = MIN((size_t)WRITE_PAGES * BTREE_PAGE, all - from);
        const BtreeEntry **entries = arena_array(&arena, const BtreeEntry *, count);
        uint64_t *ids = arena_array(&arena, uint64_t, count);
        for (size_t i = 0; i < count; i++) {
            entries[i] = entry_at(rows, from + i);
            ids[i] = entries[i] ? entries[i]->address : rows->nulls[from + i];
        }
        LanceColumn values = column_make(&rows->type, entries, count, &arena);
        LanceColumn addresses = {.values = ids};
        if (!lance_file_page(writer, 0, &values, count, err) ||
            !lance_file_page(writer, 1, &addresses, count, err))
            return false;
    }
    return true;
}

static bool data_write(LanceTable *table, const BtreeRows *rows, Arena *arena,
                       const LanceIndex *index, uint64_t *size, Err *err) {
    LanceField fields[] = {
        {.name = STR("values"), .type = rows->type, .nullable = true,                 .id = 0},
        {.name = STR("ids"),                     .type = lance_type(STR("uint64")),                      .id = 1},
    };
    LanceSchema schema = {fields, COUNT(fields)};
    OWNED(lance_file_discard) LanceFileWriter *writer = NULL; /* closed before its schema goes */
    Str key = index_key(table_path(table), index->uuid, STR(BTREE_DATA_NAME), arena);
    return table_file_create(table, key, &schema, &writer, err) &&
           data_pages_write(writer, rows, err) && lance_file_finish(writer, size, NULL, err);
}

/* A row a page of BTREE_PAGE entries. */
typedef struct Lookup {
    const BtreeEntry **least, **most;
    uint32_t *nulls, *numbers;
    size_t pages;
} Lookup;

static Lookup lookup_make(const BtreeRows *rows, Arena *arena) {
    size_t all = rows->null_count + rows->count;
    Lookup lookup = {.pages = (all + BTREE_PAGE - 1) / BTREE_PAGE};
    lookup.least = arena_array(arena, const BtreeEntry *, lookup.pages);
    lookup.most = arena_array(arena, const BtreeEntry *, lookup.pages);
    lookup.nulls = arena_array(arena, uint32_t, lookup.pages);
    lookup.numbers = arena_array(arena, uint32_t, lookup.pages);
    for (size_t p = 0; p < lookup.pages; p++) {
        size_t from = p * BTREE_PAGE, end = MIN(from + BTREE_PAGE, all);
        size_t first = MAX(from, MIN(end, rows->null_count)); /* behind its nulls */
        lookup.numbers[p] = (uint32_t)p;
        lookup.nulls[p] = (uint32_t)(first - from);
        if (first == end) continue;
        lookup.least[p] = entry_at(rows, first);
        lookup.most[p] = entry_at(rows, end - 1);
    }
    return lookup;
}

static bool lookup_fill(LanceFileWriter *writer, const BtreeRows *rows, Arena *arena,
                        uint64_t *size, Err *err) {
    char text[16];
    Lookup lookup = lookup_make(rows, arena);
    LanceColumn columns[] = {
        column_make(&rows->type, lookup.least, lookup.pages, arena),
        column_make(&rows->type, lookup.most, lookup.pages, arena),
        {.values = lookup.nulls},
        {.values = lookup.numbers},
    };
    for (size_t i = 0; i < COUNT(columns); i++)
        if (!lance_file_page(writer, i, &columns[i], lookup.pages, err)) return false;
    snprintf(text, sizeof text, "%d", BTREE_PAGE);
    lance_file_meta(writer, STR("batch_size"), bytes_of(str_from(text)));
    return lance_file_finish(writer, size, NULL, err);
}

static bool lookup_write(LanceTable *table, const BtreeRows *rows, Arena *arena,
                         const LanceIndex *index, uint64_t *size, Err *err) {
    LanceType number = lance_type(STR("uint32"));
    LanceField fields[] = {
        {.name = STR("min"), .type = rows->type, .nullable = true,       .id = 0},
        {.name = STR("max"),                  .type = rows->type,                   .nullable = true,      .id = 1},
        {.name = STR("null_count"),           .type = number,                             .id = 2                     },
        {.name = STR("page_idx"),           .type = number, .id = 3},
    };
    LanceSchema schema = {fields, COUNT(fields)};
    OWNED(lance_file_discard) LanceFileWriter *writer = NULL; /* closed before its schema goes */
    Str key = index_key(table_path(table), index->uuid, STR(BTREE_LOOKUP_NAME), arena);
    return table_file_create(table, key, &schema, &writer, err) &&
           lookup_fill(writer, rows, arena, size, err);
}

bool btree_write(LanceTable *table, BtreeRows *rows, Arena *arena, LanceIndex *index, Err *err) {
    IndexFileEntry *files = arena_array(arena, IndexFileEntry, 2);
    if (rows->count)
        qsort(rows->entries, rows->count, sizeof *rows->entries, by_value_then_address);
    if (rows->null_count) qsort(rows->nulls, rows->null_count, sizeof *rows->nulls, by_number);
    files[0].path = STR(BTREE_DATA_NAME);
    files[1].path = STR(BTREE_LOOKUP_NAME);
    uuid_make(index->uuid);
    index->files = files;
    index->file_count = 2;
    index->details_url = STR(BTREE_DETAILS_URL);
    index->details = (Bytes){0};
    index->version = 0;
    if (data_write(table, rows, arena, index, &files[0].size, err) &&
        lookup_write(table, rows, arena, index, &files[1].size, err))
        return true;
    index_files_remove(table, index);
    return false;
}
