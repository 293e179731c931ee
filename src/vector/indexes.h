/* Internal to the module: the registry of indexes. An entry is immutable once it is published; a
 * new build makes a new entry, and the old one goes when its last reader lets go. */
#pragma once

#include "vector/index.h"
#include "vector/meta.h"
#include "vector/overlay.h"
#include "vector/row_log.h"
#include "vector/text_index.h"
#include "vector/vector.h"

#include <pthread.h>
#include <stdatomic.h>

#define INDEX_COUNT_MAX 4096
#define SEARCHES_WARM 256 /* have brought into memory what a search reads */
#define ROW_LOCKS 64

/* doc_id to rows, made when a filter or a refresh first needs it. */
typedef struct DocTable DocTable;

/* The words of the rows that an index was appended since its text index was written; made when a
 * search by words first needs them. */
typedef struct TailRow {
    const Stem *stems; /* ascending by hash */
    size_t stem_count;
    uint32_t words;
} TailRow;
typedef struct TextTail {
    size_t first, count; /* rows of the index */
    TailRow *rows;
    Arena arena;
} TextTail;

struct IndexEntry {
    atomic_int holders;
    Arena arena; /* of meta */
    IndexMeta meta;
    Bucket *bucket;     /* backend "lance": of its table */
    Str rows;           /* the same, for it is appended to: what index_rows says */
    Index *index;       /* NULL: broken */
    TextIndex *text;    /* NULL: the index has no texts */
    Embedder *embedder; /* with the index's statistics; NULL without a text column or its model */
    Err no_model;       /* why that is not there */
    Err broken;
    atomic_int searches;  /* up to SEARCHES_WARM */
    pthread_mutex_t lock; /* over docs and tail being made */
    DocTable *docs;
    TextTail *tail;
    Overlay *overlay; /* NULL: broken */
    /* Over the overlay being changed. A search that finds it taken goes on without a look at the
     * log: whoever has it is looking. */
    pthread_mutex_t rows_lock;
    uint64_t rows_known;       /* the batch of the log that the overlay is at */
    atomic_llong rows_look_us; /* when to look at the log again, for what other servers wrote */
    uint64_t rows_merged;      /* the batch that the log was merged up to, as far as known here */
    int64_t build_look_us;     /* when to look whether another server published a build */
    atomic_llong moving_since_us; /* when another server's move was first seen; 0: none is */
    int64_t upkeep_us;            /* when a put may ask for upkeep again */
};

/* An index that is being made or changed. */
typedef struct Building {
    char name[INDEX_NAME_MAX + 1];
    bool upkeep; /* nobody asked for it: others wait a while for its end */
} Building;

struct Indexes {
    Buckets *buckets;
    Catalog *catalog;
    Engine *engine;
    Ai *ai;                /* may be NULL */
    pthread_rwlock_t lock; /* over entries and building */
    IndexEntry **entries;
    size_t entry_count, entry_cap;
    Building building[INDEX_COUNT_MAX / 64];
    size_t building_count;
    /* By a hash of the name: putting rows and publishing another build exclude one another, so that
     * the new one has every batch that was acknowledged. */
    pthread_mutex_t row_locks[ROW_LOCKS];
    /* Held for reading by who writes beside meta.json (trials, eval sets) or deletes, for writing
     * while an index changes its bucket. Before `lock`. */
    pthread_rwlock_t placement;
    int64_t build_bytes_max; /* of memory, for one graph */
    atomic_llong searches;
    atomic_int searching; /* now */
    atomic_int followers; /* threads that follow.c started; they end before this does */
    atomic_bool
        unsettled; /* a move has ended in a way that is not known: puts look where they are */
};

/* index_entry.c. Opens what meta names, from its bucket. On failure the entry is still made, with
 * `broken` set. */
IndexEntry *index_entry_open(Indexes *indexes, const IndexMeta *meta);
void index_entry_release(IndexEntry **entry);
/* Held until index_entry_release. LH_MISSING "index_not_found" with a hint; LH_DENIED
 * "out_of_scope" by profile_enter; a broken index answers why it is. */
bool indexes_find(Indexes *indexes, Str name, IndexEntry **out, Err *err);
/* The same, a broken one as well. */
bool indexes_find_any(Indexes *indexes, Str name, IndexEntry **out, Err *err);
/* Takes a name for a build: LH_CONFLICT "index_exists" when it is there or being built. */
bool indexes_reserve(Indexes *indexes, Str name, Err *err);
void indexes_unreserve(Indexes *indexes, Str name);
/* Takes an index that is there for a change of it: LH_CONFLICT "index_busy" while another is at it.
 * Searches go on. */
bool indexes_hold(Indexes *indexes, Str name, Err *err);
bool indexes_hold_upkeep(Indexes *indexes, Str name, Err *err); /* the same for index_upkeep */
bool indexes_is_held(Indexes *indexes, Str name);
/* The bucket where the index is now, and until index_place_end: for what is written beside its
 * meta.json. */
bool index_place(Indexes *indexes, Str name, Bucket **out, Err *err);
void index_place_end(Indexes *indexes);
/* place.c. Makes `to` the index's meta.json, where it still says what `from` does: LH_CONFLICT
 * "index_changed" when another server was quicker, "index_busy" when it is being moved. */
bool index_swap_meta(Store *store, const IndexMeta *from, const IndexMeta *to, Err *err);
bool meta_load(Store *store, Str key, Arena *arena, IndexMeta *out, Err *err);
/* What meta.json says now, in the arena, in whichever bucket the index is by now. LH_MISSING
 * "index_not_found" when another server deleted it. */
bool index_meta_now(Indexes *indexes, const IndexEntry *entry, Arena *arena, IndexMeta *out,
                    Err *err);
bool index_find_place(Indexes *indexes, const IndexMeta *index, Arena *arena, IndexMeta *out,
                      Err *err); /* the same, nothing of its place being known */
/* index_meta_now once no move is under way; by who holds the index or its row lock. LH_CONFLICT
 * "index_busy" when a move does not come to its end. */
bool index_settle(Indexes *indexes, IndexEntry *entry, Arena *arena, IndexMeta *out, Err *err);
/* Whether the index has not moved between the two. */
bool meta_same_place(const IndexMeta *a, const IndexMeta *b);
/* follow.c. Opens the build that another server published meanwhile, if any. Before a change of an
 * index that is held, so that the change is made to what is in force. */
bool indexes_follow(Indexes *indexes, Str name, Err *err);
/* All entries, held, or those that who asks may know of. The caller releases each. */
IndexEntry **indexes_hold_all(Indexes *indexes, Arena *arena, size_t *count);
IndexEntry **indexes_hold_admitted(Indexes *indexes, Arena *arena, size_t *count);
/* Takes an entry once it has every batch of rows that was acknowledged here; on failure what was
 * there stays. `replaces`: one of its name, LH_MISSING when that was dropped meanwhile. */
bool indexes_publish(Indexes *indexes, IndexEntry *entry, bool replaces, Err *err);
/* The same as it is, when nothing can be acknowledged meanwhile. */
void indexes_list(Indexes *indexes, IndexEntry *entry);
/* indexes_publish by who holds indexes_row_lock. */
bool indexes_publish_locked(Indexes *indexes, IndexEntry *entry, bool replaces, Err *err);

/* follow.c. The log of an index's rows, open until entry_log_close. */
typedef struct EntryLog {
    Bucket *bucket;
    Arena arena;
    RowLog log;
} EntryLog;
bool entry_log_open(Indexes *indexes, const IndexMeta *meta, EntryLog *out, Err *err);
void entry_log_close(EntryLog *log);
/* Brings the overlay to the end of the log; under the entry's rows_lock, or before anybody else has
 * the entry. */
bool entry_follow(Indexes *indexes, IndexEntry *entry, Err *err);
/* The same where it was not done for a while and nobody is at it; what fails is said in the log and
 * tried again later. */
void entry_look(Indexes *indexes, IndexEntry *entry);
/* fold.c. Whether the overlay is so large, or the log so long, that index_upkeep should run, and it
 * was not asked for lately. Under the entry's rows_lock. */
bool entry_wants_upkeep(Indexes *indexes, IndexEntry *entry);
pthread_mutex_t *indexes_row_lock(Indexes *indexes, Str name);
/* Names the rows that the entry holds: another configuration leaves it, other rows change it. */
static inline Str index_rows(const IndexEntry *entry) {
    return entry->rows.len ? entry->rows : entry->meta.vectors;
}
/* index_entry.c. Words into a vector by the index's model. LH_IMPOSSIBLE "no_model" where it has
 * none, and the errors of ai.h. */
bool index_entry_embed(const IndexEntry *entry, const Str *texts, size_t count, float *out,
                       Err *err);
bool index_no_model(const IndexEntry *entry, Err *err); /* false: why it has no embedder */
void index_entry_write(Indexes *indexes, const IndexEntry *entry, JsonWriter *w);
int64_t index_entry_memory(const IndexEntry *entry);

void doc_table_open(const Index *index, DocTable **out);
const DocTable *index_entry_docs(IndexEntry *entry); /* made once */
void doc_table_close(DocTable **table);
/* text_tail.c. NULL where the text index has all rows. */
bool index_entry_tail(IndexEntry *entry, const TextTail **out, Err *err);
void text_tail_close(TextTail **tail);
/* The rows of a document, in order; GRAPH_NONE ends them. */
uint32_t doc_table_first(const DocTable *table, Str doc_id);
uint32_t doc_table_next(const DocTable *table, uint32_t row);
/* The rows of a document, in order, in the arena; without a table where the index knows them. */
const uint32_t *index_entry_rows_of(IndexEntry *entry, Str doc_id, Arena *arena, size_t *count);
/* Sets the rows of this document in `set`. */
void doc_table_mark(const DocTable *table, Str doc_id, RowSet *set);
