/* A btree of one level as Lance keeps it: all values in order, and what each page of BTREE_PAGE of
 * them begins and ends with. Internal to lance.
 *
 *     _indices/<uuid>/page_data.lance     values (nulls first, then ascending), ids (row addresses)
 *     _indices/<uuid>/page_lookup.lance   a row a page: min, max, null_count, page_idx;
 *                                         metadata batch_size "4096"
 *
 * Values are compared through keys: numbers as 64 bits that sort as they do (floats in total order,
 * NaN last), texts by their first 8 bytes and then whole, byte by byte. */
#pragma once

#include "lance/index_commit.h"

#define BTREE_DETAILS_URL "/lance.table.BTreeIndexDetails"
#define BTREE_DATA_NAME "page_data.lance"
#define BTREE_LOOKUP_NAME "page_lookup.lance"
#define BTREE_PAGE 4096

typedef struct BtreeEntry {
    uint64_t key; /* a number, or a text's first bytes */
    uint64_t address;
    Str text;
} BtreeEntry;

/* Entries of an index that is made. They live in the arena, their texts too. */
typedef struct BtreeRows {
    LanceType type;
    Arena arena;
    BtreeEntry *entries;
    size_t count, cap;
    uint64_t *nulls;
    size_t null_count, null_cap;
} BtreeRows;

bool btree_type_check(const LanceField *field, Err *err); /* LH_INVALID */
BtreeEntry btree_entry(const LanceType *type, const LanceColumn *column, size_t row);
/* LH_INVALID when the key is not of the type; *possible: whether a value can be equal to it. */
bool btree_key(const LanceType *type, const LanceKey *key, BtreeEntry *out, bool *possible,
               Err *err);
int btree_compare(const BtreeEntry *a, const BtreeEntry *b); /* by value alone */

void btree_rows_close(BtreeRows *rows);
void btree_rows_add(BtreeRows *rows, const LanceColumn *column, size_t row, uint64_t address);
/* Rows of some fragments of a snapshot that are not deleted. */
bool btree_rows_read(LanceTable *table, Snapshot *snapshot, const LanceField *field,
                     const size_t *places, size_t count, const LanceWatch *watch, BtreeRows *out,
                     Err *err);
/* Sorts them and writes both files; *index gets its uuid, files, details and version. */
bool btree_write(LanceTable *table, BtreeRows *rows, Arena *arena, LanceIndex *index, Err *err);
