/* Internal to the module: the registry of indexes. An entry is immutable once it is published; a
 * new build makes a new entry, and the old one goes when its last reader lets go. */
#pragma once

#include "vector/index.h"
#include "vector/meta.h"
#include "vector/text_index.h"
#include "vector/vector.h"

#include <pthread.h>
#include <stdatomic.h>

#define INDEX_COUNT_MAX 4096

/* doc_id to rows, made when a filter or a refresh first needs it. */
typedef struct DocTable DocTable;

typedef struct IndexEntry {
    atomic_int holders;
    Arena arena; /* of meta */
    IndexMeta meta;
    Index *index;       /* NULL: broken */
    TextIndex *text;    /* NULL: the index has no texts */
    Embedder *embedder; /* with the index's statistics; NULL without a text column or its model */
    Err no_model;       /* why that is not there */
    Err broken;
    pthread_mutex_t lock; /* over docs being made */
    DocTable *docs;
} IndexEntry;

struct Indexes {
    Buckets *buckets;
    Catalog *catalog;
    Engine *engine;
    Ai *ai;                /* may be NULL */
    pthread_rwlock_t lock; /* over entries and building */
    IndexEntry **entries;
    size_t entry_count, entry_cap;
    char building[INDEX_COUNT_MAX / 64][INDEX_NAME_MAX + 1];
    size_t building_count;
    /* Held for reading by who writes beside meta.json (trials, eval sets) or deletes, for writing
     * while an index changes its bucket. Before `lock`. */
    pthread_rwlock_t placement;
    int64_t build_bytes_max; /* of memory, for one graph */
    atomic_llong searches;
    atomic_int searching; /* now */
};

/* Opens what meta names, from its bucket. On failure the entry is still made, with `broken` set. */
IndexEntry *index_entry_open(Indexes *indexes, const IndexMeta *meta);
void index_entry_release(IndexEntry **entry);
/* Held until index_entry_release. LH_MISSING "index_not_found" with a hint; a broken index answers
 * why it is. */
bool indexes_find(Indexes *indexes, Str name, IndexEntry **out, Err *err);
/* The same, a broken one as well. */
bool indexes_find_any(Indexes *indexes, Str name, IndexEntry **out, Err *err);
/* Takes a name for a build: LH_CONFLICT "index_exists" when it is there or being built. */
bool indexes_reserve(Indexes *indexes, Str name, Err *err);
void indexes_unreserve(Indexes *indexes, Str name);
/* Takes an index that is there for a change of it: LH_CONFLICT "index_busy" while another is at it.
 * Searches go on. */
bool indexes_hold(Indexes *indexes, Str name, Err *err);
/* The bucket where the index is now, and until index_place_end: for what is written beside its
 * meta.json. */
bool index_place(Indexes *indexes, Str name, Bucket **out, Err *err);
void index_place_end(Indexes *indexes);
/* Makes `to` the index's meta.json, where it still says what `from` does: LH_CONFLICT
 * "index_changed" when another server was quicker. */
bool index_swap_meta(Store *store, const IndexMeta *from, const IndexMeta *to, Err *err);
/* All entries, held. The caller releases each. */
IndexEntry **indexes_hold_all(Indexes *indexes, Arena *arena, size_t *count);
void indexes_publish(Indexes *indexes, IndexEntry *entry); /* takes it, replacing one of its name */
/* Names the rows that the entry holds: another configuration leaves it, other rows change it. */
static inline Str index_rows(const IndexEntry *entry) {
    return entry->meta.vectors;
}
/* Words into a vector by the index's model. LH_IMPOSSIBLE "no_model" where it has none, and the
 * errors of ai.h. */
bool index_entry_embed(const IndexEntry *entry, Str text, float *out, Err *err);
bool index_no_model(const IndexEntry *entry, Err *err); /* false: why it has no embedder */
void index_entry_write(Indexes *indexes, const IndexEntry *entry, JsonWriter *w);

void doc_table_open(const Index *index, DocTable **out);
const DocTable *index_entry_docs(IndexEntry *entry); /* made once */
void doc_table_close(DocTable **table);
/* The rows of a document, in order; GRAPH_NONE ends them. */
uint32_t doc_table_first(const DocTable *table, Str doc_id);
uint32_t doc_table_next(const DocTable *table, uint32_t row);
/* Sets the rows of this document in `set`. */
void doc_table_mark(const DocTable *table, Str doc_id, RowSet *set);
