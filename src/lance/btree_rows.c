/* What a btree is made of: see btree.h. */
#include "lance/btree.h"
#include "lance/columns.h"
#include "lance/kmeans.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIGN ((uint64_t)1 << 63)

bool btree_type_check(const LanceField *field, Err *err) {
    const LanceType *type = &field->type;
    bool number = type->kind == LANCE_INT || type->kind == LANCE_UINT ||
                  (type->kind == LANCE_FLOAT && type->bits >= 32);
    if (number || type->kind == LANCE_TEXT) return true;
    return err_set(err, LH_INVALID,
                   "column '%.*s' has the type '%.*s'; integers, floats and texts are found",
                   SHOW(field->name), SHOW(type->logical));
}

static uint64_t double_key(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & SIGN ? ~bits : bits | SIGN;
}

static uint64_t text_key(Str text) {
    uint64_t key = 0;
    for (size_t i = 0; i < 8; i++) key = key << 8 | (i < text.len ? (uint8_t)text.data[i] : 0);
    return key;
}

/* Floats of 32 bits sort as the doubles that they are. */
static uint64_t number_key(const LanceType *type, const uint8_t *at) {
    uint64_t bits = 0;
    float narrow;
    double wide;
    unsigned unused = 64 - type->bits;
    if (type->kind == LANCE_FLOAT && type->bits == 32) {
        memcpy(&narrow, at, sizeof narrow);
        return double_key((double)narrow);
    }
    if (type->kind == LANCE_FLOAT) {
        memcpy(&wide, at, sizeof wide);
        return double_key(wide);
    }
    memcpy(&bits, at, type->bits / 8);
    if (type->kind == LANCE_UINT) return bits;
    return (uint64_t)((int64_t)(bits << unused) >> unused) ^ SIGN;
}

BtreeEntry btree_entry(const LanceType *type, const LanceColumn *column, size_t row) {
    if (type->kind == LANCE_TEXT) {
        Str text = lance_text(column, row);
        return (BtreeEntry){.key = text_key(text), .text = text};
    }
    const uint8_t *values = column->values;
    return (BtreeEntry){.key = number_key(type, values + row * (type->bits / 8))};
}

/* Whether an integer column can hold it, or a float one: 0.1 is no float of 32 bits, and is
 * compared as the float nearest to it. */
bool btree_key(const LanceType *type, const LanceKey *key, BtreeEntry *out, bool *possible,
               Err *err) {
    int64_t most = INT64_MAX;
    if (type->bits > 0 && type->bits < 64) most = ((int64_t)1 << (type->bits - 1)) - 1;
    if (key->kind != type->kind)
        return err_set(err, LH_INVALID, "a column of type '%.*s' holds no such key",
                       SHOW(type->logical));
    *possible = true;
    *out = (BtreeEntry){0};
    switch (type->kind) {
    case LANCE_TEXT:
        *out = (BtreeEntry){.key = text_key(key->text), .text = key->text};
        return true;
    case LANCE_INT:
        *possible = key->integer <= most && key->integer >= -most - 1;
        out->key = (uint64_t)key->integer ^ SIGN;
        return true;
    case LANCE_UINT:
        *possible = type->bits >= 64 || key->natural >> type->bits == 0;
        out->key = key->natural;
        return true;
    default:
        out->key = double_key(type->bits == 32 ? (double)(float)key->real : key->real);
        return true;
    }
}

int btree_compare(const BtreeEntry *a, const BtreeEntry *b) {
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    size_t len = MIN(a->text.len, b->text.len);
    int order = len ? memcmp(a->text.data, b->text.data, len) : 0;
    if (order) return order;
    return a->text.len < b->text.len ? -1 : a->text.len > b->text.len;
}

/* Rows. */

void btree_rows_close(BtreeRows *rows) {
    free(rows->entries);
    free(rows->nulls);
    arena_close(&rows->arena);
    *rows = (BtreeRows){0};
}

static void *grown(void *items, size_t *cap, size_t size) {
    *cap = *cap ? *cap * 2 : 4096;
    void *more = realloc(items, *cap * size);
    if (!more) abort();
    return more;
}

void btree_rows_add(BtreeRows *rows, const LanceColumn *column, size_t row, uint64_t address) {
    if (lance_is_null(column, row)) {
        if (rows->null_count == rows->null_cap)
            rows->nulls = grown(rows->nulls, &rows->null_cap, sizeof *rows->nulls);
        rows->nulls[rows->null_count++] = address;
        return;
    }
    if (rows->count == rows->cap)
        rows->entries = grown(rows->entries, &rows->cap, sizeof *rows->entries);
    BtreeEntry *entry = &rows->entries[rows->count++];
    *entry = btree_entry(&rows->type, column, row);
    entry->address = address;
    if (entry->text.len) entry->text = arena_copy(&rows->arena, entry->text);
}

static void row_add(void *context, const LanceColumn *column, size_t row, uint64_t address) {
    btree_rows_add(context, column, row, address);
}

bool btree_rows_read(LanceTable *table, Snapshot *snapshot, const LanceField *field,
                     const size_t *places, size_t count, const LanceWatch *watch, BtreeRows *out,
                     Err *err) {
    out->type = field->type;
    for (size_t i = 0; i < count; i++) {
        if (watch_cancelled(watch, err) ||
            !fragment_visit(table, snapshot, places[i], field, row_add, out, err))
            return false;
        watch_progress(watch, (double)(i + 1) / (double)count);
    }
    return true;
}
