/* Words of rows that are not in the text index yet: backend "lance" takes rows in without writing
 * that anew. A search compares them one by one, by the statistics of the text index. */
#include "vector/indexes.h"

#include <stdlib.h>

static int stem_order(const void *a, const void *b) {
    uint64_t x = ((const Stem *)a)->hash, y = ((const Stem *)b)->hash;
    return (x > y) - (x < y);
}

Stem *stems_keep(Stems *stems, Str text, Arena *arena, size_t *count, uint32_t *words) {
    const Stem *found = stems_of(stems, text, count);
    Stem *kept = arena_array(arena, Stem, *count + 1);
    for (size_t i = 0; i < *count; i++) {
        kept[i] = found[i];
        *words += found[i].count;
    }
    qsort(kept, *count, sizeof *kept, stem_order);
    return kept;
}

static bool tail_open(const IndexEntry *entry, TextTail **out, Err *err) {
    OWNED(stems_close) Stems *stems = NULL;
    const Index *index = entry->index;
    if (!stems_open(&stems, err)) return false;
    TextTail *tail = calloc(1, sizeof *tail);
    if (!tail) abort();
    tail->first = text_index_rows(entry->text);
    tail->count = index->count - tail->first;
    tail->rows = arena_array(&tail->arena, TailRow, tail->count);
    for (size_t i = 0; i < tail->count; i++) {
        TailRow *row = &tail->rows[i];
        row->stems = stems_keep(stems, index->ops->text(index, tail->first + i), &tail->arena,
                                &row->stem_count, &row->words);
    }
    *out = tail;
    return true;
}

void text_tail_close(TextTail **tail) {
    if (!*tail) return;
    arena_close(&(*tail)->arena);
    free(*tail);
    *tail = NULL;
}

bool index_entry_tail(IndexEntry *entry, const TextTail **out, Err *err) {
    *out = NULL;
    if (text_index_rows(entry->text) >= entry->index->count) return true;
    pthread_mutex_lock(&entry->lock);
    bool ok = entry->tail || tail_open(entry, &entry->tail, err);
    *out = entry->tail;
    pthread_mutex_unlock(&entry->lock);
    return ok;
}
