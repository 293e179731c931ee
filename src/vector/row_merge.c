/* Joining the small objects at the end of a log of rows into one, so that a start has few to read.
 * Like the levels of an LSM tree (O'Neil et al., 1996): an older object joins when it is at most
 * twice as large as all that came after it, so that each row is rewritten a logarithm of times. */
#include "vector/overlay.h"
#include "vector/row_log.h"

#define MERGE_OBJECTS_MIN 8
#define MERGE_SMALL (1u << 20)     /* such objects always join */
#define MERGE_SIZE_MAX (64u << 20) /* of the result, about; larger objects stay as they are */

/* How many of the last objects to join: the state of the log behind them depends on these alone. */
static size_t choose(const RowObject *objects, size_t count) {
    uint64_t size = 0;
    size_t at = count;
    for (; at > 0; at--) {
        const RowObject *object = &objects[at - 1];
        bool joins = size + object->size <= MERGE_SIZE_MAX &&
                     object->size <= MAX(size * 2, MERGE_SMALL) &&
                     (at == count || object->last + 1 >= objects[at].first);
        if (!joins) break;
        size += object->size;
    }
    return count - at;
}

/* What each document is at the end, as a batch. */
static void take_state(const RowsView *view, Arena *arena, RowBatch *out) {
    size_t at;
    out->deletes = arena_array(arena, Str, view->count + 1);
    out->puts = arena_array(arena, RowPut, view->count + 1);
    for (size_t first = 0; first < view->count; first++) {
        const OverlayRow *row = rows_view_row(view, first);
        if (!rows_view_find(view, row->doc_id, &at) || at != first) continue;
        if (!row->vector) out->deletes[out->delete_count++] = row->doc_id;
        for (size_t i = 0; row->vector && i < row->rows; i++) {
            const OverlayRow *chunk = rows_view_row(view, first + i);
            out->puts[out->put_count++] =
                (RowPut){row->doc_id, chunk->text, chunk->chunk, chunk->vector};
        }
    }
    if (out->put_count == 0) out->dimensions = 0;
}

static bool join(const RowLog *log, const RowObject *objects, size_t count, Overlay *overlay,
                 Err *err) {
    for (size_t i = 0; i < count; i++) {
        OWNED(arena_close) Arena arena = {0};
        RowBatch batch;
        OverlayChange ignored;
        if (!row_log_read(log, &objects[i], &arena, &batch, err) ||
            !overlay_apply(overlay, &batch, &ignored, err))
            return false;
    }
    return true;
}

bool row_log_merge(const RowLog *log, size_t dimensions, size_t *merged, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(overlay_close) Overlay *overlay = NULL;
    /* By the dot product vectors stay as they were given. */
    const OverlayOptions options = {.dimensions = dimensions, .metric = METRIC_DOT};
    RowObject *objects;
    size_t count;
    *merged = 0;
    if (!row_log_list(log, 0, &arena, &objects, &count, err)) return false;
    /* The newest may be one that its writer is still making sure of (is_covered in row_log.c): it
     * would find it covered and write it once more. */
    if (count > 0) count--;
    size_t last = choose(objects, count);
    if (last < MERGE_OBJECTS_MIN) return true;
    objects += count - last;
    if (!overlay_open(&options, &overlay, err) || !join(log, objects, last, overlay, err))
        return false;
    OWNED(rows_view_release) RowsView *view = overlay_view(overlay);
    RowBatch batch = {
        .first = objects[0].first, .last = objects[last - 1].last, .dimensions = dimensions};
    take_state(view, &arena, &batch);
    *merged = last;
    return row_log_replace(log, &batch, err);
}
