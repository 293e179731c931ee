/* doc_id to rows: open addressing over the first row of each id, a link from each row to the next
 * row of the same id. */
#include "vector/indexes.h"

#include <stdlib.h>
#include <string.h>

struct DocTable {
    const Index *index;
    uint32_t *slots; /* first rows; GRAPH_NONE is empty */
    uint32_t *next;  /* by row */
    size_t mask;
};

static size_t slot_of(const DocTable *table, Str doc_id) {
    size_t at = hash64(bytes_of(doc_id)) & table->mask;
    while (table->slots[at] != GRAPH_NONE &&
           !str_equal(table->index->ops->id(table->index, table->slots[at]), doc_id))
        at = (at + 1) & table->mask;
    return at;
}

void doc_table_open(const Index *index, DocTable **out) {
    DocTable *table = calloc(1, sizeof *table);
    size_t slots = 16;
    while (slots < index->count * 2) slots *= 2;
    if (!table || !(table->slots = malloc(slots * sizeof *table->slots)) ||
        !(table->next = malloc(MAX(index->count, 1) * sizeof *table->next)))
        abort();
    memset(table->slots, 0xff, slots * sizeof *table->slots);
    table->index = index;
    table->mask = slots - 1;
    for (size_t row = index->count; row-- > 0;) { /* backwards: chains run forwards */
        size_t at = slot_of(table, index->ops->id(index, row));
        table->next[row] = table->slots[at];
        table->slots[at] = (uint32_t)row;
    }
    *out = table;
}

void doc_table_close(DocTable **table) {
    if (!*table) return;
    free((*table)->slots);
    free((*table)->next);
    free(*table);
    *table = NULL;
}

uint32_t doc_table_first(const DocTable *table, Str doc_id) {
    return table->slots[slot_of(table, doc_id)];
}

uint32_t doc_table_next(const DocTable *table, uint32_t row) {
    return table->next[row];
}

void doc_table_mark(const DocTable *table, Str doc_id, RowSet *set) {
    for (uint32_t row = doc_table_first(table, doc_id); row != GRAPH_NONE; row = table->next[row])
        rowset_add(set, row);
}

const DocTable *index_entry_docs(IndexEntry *entry) {
    pthread_mutex_lock(&entry->lock);
    if (!entry->docs) doc_table_open(entry->index, &entry->docs);
    pthread_mutex_unlock(&entry->lock);
    return entry->docs;
}

static const uint32_t *rows_of(const DocTable *table, Str doc_id, Arena *arena, size_t *count) {
    size_t len = 0;
    for (uint32_t row = doc_table_first(table, doc_id); row != GRAPH_NONE; row = table->next[row])
        len++;
    uint32_t *rows = arena_array(arena, uint32_t, len + 1), *next = rows;
    for (uint32_t row = doc_table_first(table, doc_id); row != GRAPH_NONE; row = table->next[row])
        *next++ = row;
    *count = len;
    return rows;
}

const uint32_t *index_entry_rows_of(IndexEntry *entry, Str doc_id, Arena *arena, size_t *count) {
    const IndexOps *ops = entry->index->ops;
    Err err = {0};
    uint32_t *rows;
    if (ops->rows_of && ops->rows_of(entry->index, doc_id, arena, &rows, count, &err)) return rows;
    if (err.kind != LH_OK) log_warn("index '%.*s': %s", SHOW(entry->meta.index), err.message);
    return rows_of(index_entry_docs(entry), doc_id, arena, count);
}
