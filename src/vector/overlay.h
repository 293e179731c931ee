/* What was put into an index and deleted from it since its files were built, in memory: rows beside
 * those of the base, and which rows of the base are dead. It is made by replaying the log of rows
 * (row_log.h); a search sees the base and the overlay as one sequence of rows, the overlay's after
 * the base's.
 *
 * Every batch makes another RowsView, which never changes: a search holds one and waits for nobody.
 * Rows, texts and vectors are only added and shared by all views; what a view has of its own are
 * bits and a table of documents, copied from the one before: n/8 bytes for n rows of the base.
 *
 * Thread rule: overlay_apply under the caller's lock, one at a time; views are taken and read from
 * any thread. */
#pragma once

#include "vector/index.h"
#include "vector/row_batch.h"

#include "ai/ai.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct IndexEntry IndexEntry;

/* text_tail.c. The stems of a text in the arena, ascending by hash; *words grows by how many there
 * are. */
Stem *stems_keep(Stems *stems, Str text, Arena *arena, size_t *count, uint32_t *words);

typedef struct OverlayRow {
    Str doc_id, text;
    const float *vector; /* prepared, stride floats; NULL: it says that the document was deleted */
    const Stem *stems;   /* of the text, ascending by hash; NULL where the index has no texts */
    size_t stem_count;
    uint32_t words, chunk, rows; /* rows: that the document has from its first one on */
} OverlayRow;

typedef struct RowsView {
    atomic_int holders;
    const Index *base; /* NULL: none */
    size_t base_count, count;
    RowSet alive; /* of the base; bits NULL: all are */
    size_t dead, dead_documents;
    RowSet live; /* of the overlay's rows, deleted and replaced ones are not */
    size_t live_documents;
    OverlayRow **blocks;
    uint32_t *slots; /* open addressing: the first row of a document's last state */
    size_t slot_count, slots_used;
} RowsView;

typedef struct OverlayOptions {
    IndexEntry *entry; /* whose base it lies over, and whose documents it asks for; NULL: no base */
    size_t dimensions;
    Metric metric;
    bool texts;         /* keep stems */
    bool passes_others; /* rows of another length are passed over: nobody was told that they are in,
                         * for the dataset's vectors had changed theirs */
} OverlayOptions;

typedef struct Overlay {
    OverlayOptions options;
    size_t stride, block_cap;
    Arena arena;
    Stems *stems;
    OverlayRow **blocks;
    RowsView *view;
    pthread_mutex_t view_lock; /* over view, for an instant */
    atomic_llong bytes;
} Overlay;

bool overlay_open(const OverlayOptions *options, Overlay **out, Err *err);
void overlay_close(Overlay **overlay);

typedef struct OverlayChange {
    size_t upserted, deleted; /* documents; deleted: of those that were there */
} OverlayChange;
/* LH_CORRUPT where the vectors have another length; nothing has changed then. */
bool overlay_apply(Overlay *overlay, const RowBatch *batch, OverlayChange *out, Err *err);

/* The present state, held until rows_view_release. Its overlay and base must outlive it. */
RowsView *overlay_view(Overlay *overlay);
void rows_view_release(RowsView **view);

/* All rows, the base's first, dead ones too. */
static inline size_t rows_view_rows(const RowsView *view) {
    return view->base_count + view->count;
}
static inline size_t rows_view_live(const RowsView *view) {
    return view->base_count - view->dead + view->live.count;
}
/* The overlay's row `at`. */
const OverlayRow *rows_view_row(const RowsView *view, size_t at);
static inline bool rows_view_base_alive(const RowsView *view, size_t row) {
    return !view->alive.bits || rowset_has(&view->alive, row);
}
/* Of any row, whichever of both it is in. */
Str rows_view_id(const RowsView *view, size_t row);
Str rows_view_text(const RowsView *view, size_t row);
uint32_t rows_view_chunk(const RowsView *view, size_t row);
const float *rows_view_vector(const RowsView *view, size_t row);
/* The first of the rows that a document was given last; false when the overlay knows nothing of it.
 * A row without a vector: it was deleted. */
bool rows_view_find(const RowsView *view, Str doc_id, size_t *at);
