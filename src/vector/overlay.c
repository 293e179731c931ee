#include "vector/overlay.h"

#include "vector/indexes.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_ROWS 1024
#define SLOTS_MIN 64

/* ---- Views ---- */

static void *copied(const void *from, size_t used, size_t size) {
    void *to = calloc(MAX(size, 1), 1);
    if (!to) abort();
    if (used) memcpy(to, from, used);
    return to;
}

static size_t bit_bytes(size_t rows) {
    return (rows / 64 + 1) * sizeof(uint64_t);
}

static size_t block_count(size_t rows) {
    return (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

void rows_view_release(RowsView **view) {
    if (!*view) return;
    if (atomic_fetch_sub(&(*view)->holders, 1) == 1) {
        free((*view)->alive.bits);
        free((*view)->live.bits);
        free((*view)->blocks);
        free((*view)->slots);
        free(*view);
    }
    *view = NULL;
}

RowsView *overlay_view(Overlay *overlay) {
    pthread_mutex_lock(&overlay->view_lock);
    RowsView *view = overlay->view;
    atomic_fetch_add(&view->holders, 1);
    pthread_mutex_unlock(&overlay->view_lock);
    return view;
}

const OverlayRow *rows_view_row(const RowsView *view, size_t at) {
    return &view->blocks[at / BLOCK_ROWS][at % BLOCK_ROWS];
}

Str rows_view_id(const RowsView *view, size_t row) {
    return row < view->base_count ? view->base->ops->id(view->base, row)
                                  : rows_view_row(view, row - view->base_count)->doc_id;
}

Str rows_view_text(const RowsView *view, size_t row) {
    return row < view->base_count ? view->base->ops->text(view->base, row)
                                  : rows_view_row(view, row - view->base_count)->text;
}

uint32_t rows_view_chunk(const RowsView *view, size_t row) {
    return row < view->base_count ? view->base->ops->chunk(view->base, row)
                                  : rows_view_row(view, row - view->base_count)->chunk;
}

const float *rows_view_vector(const RowsView *view, size_t row) {
    return row < view->base_count ? view->base->ops->vector(view->base, row)
                                  : rows_view_row(view, row - view->base_count)->vector;
}

static size_t slot_of(const RowsView *view, Str doc_id) {
    size_t mask = view->slot_count - 1, at = hash64(bytes_of(doc_id)) & mask;
    while (view->slots[at] != GRAPH_NONE &&
           !str_equal(rows_view_row(view, view->slots[at])->doc_id, doc_id))
        at = (at + 1) & mask;
    return at;
}

bool rows_view_find(const RowsView *view, Str doc_id, size_t *at) {
    uint32_t row = view->slots[slot_of(view, doc_id)];
    *at = row;
    return row != GRAPH_NONE;
}

/* ---- The next view, before anybody else has it ---- */

static RowsView *view_empty(const Index *base) {
    RowsView *view = calloc(1, sizeof *view);
    if (!view) abort();
    atomic_init(&view->holders, 1);
    view->base = base;
    view->base_count = base ? base->count : 0;
    view->slot_count = SLOTS_MIN;
    view->slots = copied(NULL, 0, SLOTS_MIN * sizeof *view->slots);
    memset(view->slots, 0xff, SLOTS_MIN * sizeof *view->slots);
    return view;
}

static void slots_grow(RowsView *view, size_t wanted) {
    size_t count = view->slot_count;
    while (count < wanted * 2) count *= 2;
    if (count == view->slot_count) return;
    uint32_t *old = view->slots;
    size_t old_count = view->slot_count;
    view->slots = copied(NULL, 0, count * sizeof *view->slots);
    memset(view->slots, 0xff, count * sizeof *view->slots);
    view->slot_count = count;
    for (size_t i = 0; i < old_count; i++)
        if (old[i] != GRAPH_NONE)
            view->slots[slot_of(view, rows_view_row(view, old[i])->doc_id)] = old[i];
    free(old);
}

/* A copy with room for `more` rows, whose blocks the overlay has. */
static RowsView *view_next(const Overlay *overlay, size_t more) {
    const RowsView *old = overlay->view;
    size_t rows = old->count + more;
    RowsView *view = calloc(1, sizeof *view);
    if (!view) abort();
    *view = (RowsView){
        .base = old->base,
        .base_count = old->base_count,
        .count = old->count,
        .alive = {NULL, old->alive.count},
        .dead = old->dead,
        .dead_documents = old->dead_documents,
        .live = {NULL, old->live.count },
        .live_documents = old->live_documents,
        .slot_count = old->slot_count,
        .slots_used = old->slots_used
    };
    atomic_init(&view->holders, 1);
    if (old->alive.bits)
        view->alive.bits =
            copied(old->alive.bits, bit_bytes(old->base_count), bit_bytes(old->base_count));
    view->live.bits =
        copied(old->live.bits, old->live.bits ? bit_bytes(old->count) : 0, bit_bytes(rows));
    view->blocks = copied(overlay->blocks, block_count(rows) * sizeof *view->blocks,
                          block_count(rows) * sizeof *view->blocks);
    view->slots = copied(old->slots, old->slot_count * sizeof *view->slots,
                         old->slot_count * sizeof *view->slots);
    slots_grow(view, old->slots_used + more);
    return view;
}

static void alive_open(RowsView *view) {
    view->alive.bits = copied(NULL, 0, bit_bytes(view->base_count));
    memset(view->alive.bits, 0xff, bit_bytes(view->base_count));
    view->alive.count = view->base_count;
}

/* True when the document was there. */
static bool kill_base(RowsView *view, IndexEntry *entry, Str doc_id) {
    OWNED(arena_close) Arena arena = {0};
    size_t count, before = view->dead;
    const uint32_t *rows = index_entry_rows_of(entry, doc_id, &arena, &count);
    if (count == 0) return false;
    if (!view->alive.bits) alive_open(view);
    for (size_t i = 0; i < count; i++) view->dead += rowset_remove(&view->alive, rows[i]);
    view->dead_documents += view->dead > before;
    return view->dead > before;
}

/* Takes the document's rows from the view. True when it had some. */
static bool kill_document(const Overlay *overlay, RowsView *view, Str doc_id) {
    size_t at;
    bool was = false;
    if (rows_view_find(view, doc_id, &at)) {
        const OverlayRow *first = rows_view_row(view, at);
        for (size_t i = 0; i < first->rows; i++) was |= rowset_remove(&view->live, at + i);
        view->live_documents -= was;
        return was;
    }
    IndexEntry *entry = overlay->options.entry;
    return entry && view->base_count > 0 && kill_base(view, entry, doc_id);
}

/* ---- The overlay ---- */

bool overlay_open(const OverlayOptions *options, Overlay **out, Err *err) {
    OWNED(overlay_close) Overlay *overlay = calloc(1, sizeof *overlay);
    if (!overlay) abort();
    pthread_mutex_init(&overlay->view_lock, NULL);
    overlay->options = *options;
    overlay->stride = (options->dimensions + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
    overlay->view = view_empty(options->entry ? options->entry->index : NULL);
    if (options->texts && !stems_open(&overlay->stems, err)) return false;
    *out = TAKE(overlay);
    return true;
}

void overlay_close(Overlay **overlay) {
    if (!*overlay) return;
    rows_view_release(&(*overlay)->view);
    stems_close(&(*overlay)->stems);
    pthread_mutex_destroy(&(*overlay)->view_lock);
    free((*overlay)->blocks);
    arena_close(&(*overlay)->arena);
    free(*overlay);
    *overlay = NULL;
}

static void blocks_reserve(Overlay *overlay, size_t rows) {
    while (overlay->block_cap < block_count(rows)) {
        size_t more = MAX(overlay->block_cap * 2, 16);
        overlay->blocks = realloc(overlay->blocks, more * sizeof *overlay->blocks);
        if (!overlay->blocks) abort();
        memset(overlay->blocks + overlay->block_cap, 0,
               (more - overlay->block_cap) * sizeof *overlay->blocks);
        overlay->block_cap = more;
    }
    for (size_t i = 0; i < block_count(rows); i++)
        if (!overlay->blocks[i])
            overlay->blocks[i] = arena_array(&overlay->arena, OverlayRow, BLOCK_ROWS);
}

static OverlayRow *row_add(RowsView *view, Str doc_id) {
    OverlayRow *row = &view->blocks[view->count / BLOCK_ROWS][view->count % BLOCK_ROWS];
    *row = (OverlayRow){.doc_id = doc_id, .rows = 1};
    view->count++;
    return row;
}

/* The document's last state begins at row `at`. */
static void slot_set(RowsView *view, Str doc_id, size_t at) {
    size_t slot = slot_of(view, doc_id);
    view->slots_used += view->slots[slot] == GRAPH_NONE;
    view->slots[slot] = (uint32_t)at;
}

static void take_stems(Overlay *overlay, OverlayRow *row) {
    if (overlay->stems)
        row->stems =
            stems_keep(overlay->stems, row->text, &overlay->arena, &row->stem_count, &row->words);
}

static float *vectors_new(Overlay *overlay, size_t count) {
    uintptr_t memory =
        (uintptr_t)arena_alloc(&overlay->arena, count * overlay->stride * sizeof(float) + 64);
    return (float *)((memory + 63) / 64 * 64);
}

static void put_row(Overlay *overlay, RowsView *view, const RowPut *put, float *vector) {
    Err ignored; /* it was checked when it was put; a build refuses what a damaged log brings */
    size_t at = view->count;
    const OverlayRow *last = at ? rows_view_row(view, at - 1) : NULL;
    bool same = last && str_equal(last->doc_id, put->doc_id);
    OverlayRow *row = row_add(view, same ? last->doc_id : arena_copy(&overlay->arena, put->doc_id));
    memcpy(vector, put->vector, overlay->options.dimensions * sizeof *vector);
    metric_prepare(overlay->options.metric, vector, overlay->options.dimensions, &ignored);
    row->vector = vector;
    row->text = arena_copy(&overlay->arena, put->text);
    row->chunk = put->chunk;
    take_stems(overlay, row);
    rowset_add(&view->live, at);
}

/* The rows of one document: puts[from..to). */
static void put_document(Overlay *overlay, RowsView *view, const RowPut *puts, size_t count,
                         float *vectors) {
    size_t at = view->count;
    kill_document(overlay, view, puts[0].doc_id);
    for (size_t i = 0; i < count; i++)
        put_row(overlay, view, &puts[i], vectors + i * overlay->stride);
    OverlayRow *first = &view->blocks[at / BLOCK_ROWS][at % BLOCK_ROWS];
    first->rows = (uint32_t)count;
    slot_set(view, first->doc_id, at);
    view->live_documents++;
}

static size_t document_rows(const RowBatch *batch, size_t from) {
    size_t to = from + 1;
    while (to < batch->put_count && str_equal(batch->puts[to].doc_id, batch->puts[from].doc_id))
        to++;
    return to - from;
}

static bool delete_document(Overlay *overlay, RowsView *view, Str doc_id) {
    bool was = kill_document(overlay, view, doc_id);
    OverlayRow *row = row_add(view, arena_copy(&overlay->arena, doc_id));
    slot_set(view, row->doc_id, view->count - 1);
    return was;
}

static void publish(Overlay *overlay, RowsView *view) {
    pthread_mutex_lock(&overlay->view_lock);
    RowsView *old = overlay->view;
    overlay->view = view;
    pthread_mutex_unlock(&overlay->view_lock);
    rows_view_release(&old);
    atomic_store(&overlay->bytes, (long long)overlay->arena.size_total);
}

bool overlay_apply(Overlay *overlay, const RowBatch *batch, OverlayChange *out, Err *err) {
    OverlayChange change = {0};
    size_t more = batch->delete_count + batch->put_count;
    if (batch->put_count && batch->dimensions != overlay->options.dimensions) {
        *out = change;
        return overlay->options.passes_others ||
               err_set(err, LH_CORRUPT, "rows of %zu dimensions, the index has %zu",
                       batch->dimensions, overlay->options.dimensions);
    }
    if (rows_view_rows(overlay->view) + more > GRAPH_ROWS_MAX)
        return err_set(err, LH_TOO_BIG, "the index would have over %u rows", GRAPH_ROWS_MAX);
    blocks_reserve(overlay, overlay->view->count + more);
    RowsView *view = view_next(overlay, more);
    for (size_t i = 0; i < batch->delete_count; i++)
        change.deleted += delete_document(overlay, view, batch->deletes[i]);
    float *vectors = batch->put_count ? vectors_new(overlay, batch->put_count) : NULL;
    for (size_t i = 0, count; i < batch->put_count; i += count, change.upserted++) {
        count = document_rows(batch, i);
        put_document(overlay, view, batch->puts + i, count, vectors + i * overlay->stride);
    }
    publish(overlay, view);
    *out = change;
    return true;
}
