#include "vector/overlay.h"

#include "vector/indexes.h"

#include "kit/kit.h"

#include <stdatomic.h>
#include <stdlib.h>

/* A base of documents b0, b1, ... of two rows each, in memory. */
#define BASE_DOCUMENTS 100
#define DIMENSIONS 4

typedef struct Base {
    Index index;
    IndexEntry entry;
    char ids[BASE_DOCUMENTS][8];
} Base;

static Str base_id(const Index *index, size_t row) {
    return str_from(((const Base *)index)->ids[row / 2]);
}

static uint32_t base_chunk(const Index *index, size_t row) {
    (void)index;
    return row % 2;
}

static const IndexOps base_ops = {.name = "test", .id = base_id, .chunk = base_chunk};

static Base *base_open(void) {
    Base *base = calloc(1, sizeof *base);
    if (!base) abort();
    base->index = (Index){&base_ops, BASE_DOCUMENTS * 2, DIMENSIONS, 16};
    base->entry.index = &base->index;
    pthread_mutex_init(&base->entry.lock, NULL);
    for (int i = 0; i < BASE_DOCUMENTS; i++) snprintf(base->ids[i], sizeof base->ids[i], "b%d", i);
    return base;
}

static void base_close(Base **base) {
    doc_table_close(&(*base)->entry.docs);
    pthread_mutex_destroy(&(*base)->entry.lock);
    free(*base);
}

static Overlay *overlay_over(Base *base, bool texts) {
    Overlay *overlay;
    Err err = {0};
    const OverlayOptions options = {base ? &base->entry : NULL, DIMENSIONS, METRIC_COSINE, texts};
    CHECK_OK(overlay_open(&options, &overlay, &err));
    return overlay;
}

static OverlayChange put(Overlay *overlay, const char *doc_id, int chunks, const char *text) {
    static const float vector[DIMENSIONS] = {3, 0, 4, 0};
    RowPut puts[8];
    OverlayChange change = {0};
    Err err = {0};
    for (int i = 0; i < chunks; i++)
        puts[i] = (RowPut){str_from(doc_id), str_from(text), (uint32_t)i, vector};
    const RowBatch batch = {1, 1, DIMENSIONS, NULL, 0, puts, (size_t)chunks};
    CHECK_OK(overlay_apply(overlay, &batch, &change, &err));
    return change;
}

static size_t delete (Overlay *overlay, const char *doc_id) {
    Str id = str_from(doc_id);
    OverlayChange change = {0};
    Err err = {0};
    const RowBatch batch = {1, 1, 0, &id, 1, NULL, 0};
    CHECK_OK(overlay_apply(overlay, &batch, &change, &err));
    return change.deleted;
}

static void check_counts(Overlay *overlay, size_t live, size_t dead, size_t documents) {
    OWNED(rows_view_release) RowsView *view = overlay_view(overlay);
    size_t bits = 0;
    for (size_t row = 0; row < view->base_count; row++) bits += !rows_view_base_alive(view, row);
    CHECK_INT(bits, view->dead);
    CHECK_INT(view->dead, dead);
    CHECK_INT(view->live.count, live);
    CHECK_INT(view->live_documents, documents);
    CHECK_INT(rows_view_live(view), view->base_count - dead + live);
}

TEST("a document is put beside the base, in place of what it had there, and deleted") {
    OWNED(base_close) Base *base = base_open();
    OWNED(overlay_close) Overlay *overlay = overlay_over(base, false);
    check_counts(overlay, 0, 0, 0);
    CHECK_INT(put(overlay, "new", 3, "text").upserted, 1);
    check_counts(overlay, 3, 0, 1);
    put(overlay, "b7", 1, "text");
    check_counts(overlay, 4, 2, 2);
    put(overlay, "new", 1, "shorter");
    check_counts(overlay, 2, 2, 2);
    CHECK_INT(delete (overlay, "b8"), 1);
    CHECK_INT(delete (overlay, "b8"), 0);
    CHECK_INT(delete (overlay, "b7"), 1);
    CHECK_INT(delete (overlay, "new"), 1);
    CHECK_INT(delete (overlay, "never"), 0);
    check_counts(overlay, 0, 4, 0);
    put(overlay, "b8", 2, "again");
    check_counts(overlay, 2, 4, 1);
}

TEST("rows of both are read by one number, vectors as the metric wants them") {
    OWNED(base_close) Base *base = base_open();
    OWNED(overlay_close) Overlay *overlay = overlay_over(base, false);
    put(overlay, "new", 2, "a text");
    OWNED(rows_view_release) RowsView *view = overlay_view(overlay);
    CHECK_STR(rows_view_id(view, 11), "b5");
    CHECK_INT(rows_view_chunk(view, 11), 1);
    size_t row = view->base_count + 1;
    CHECK_STR(rows_view_id(view, row), "new");
    CHECK_STR(rows_view_text(view, row), "a text");
    CHECK_INT(rows_view_chunk(view, row), 1);
    const float *vector = rows_view_vector(view, row);
    CHECK((uintptr_t)vector % 64 == 0);
    CHECK(vector[0] == 0.6f && vector[2] == 0.8f && vector[DIMENSIONS] == 0);
}

TEST("a view stays as it is while others follow") {
    OWNED(base_close) Base *base = base_open();
    OWNED(overlay_close) Overlay *overlay = overlay_over(base, false);
    size_t at;
    put(overlay, "a", 1, "first");
    OWNED(rows_view_release) RowsView *before = overlay_view(overlay);
    put(overlay, "a", 2, "second");
    delete (overlay, "b1");
    for (int i = 0; i < 3000; i++) { /* blocks and the table of documents grow */
        char id[16];
        snprintf(id, sizeof id, "more%d", i);
        put(overlay, id, 1, "more");
    }
    CHECK_INT(before->count, 1);
    CHECK_INT(before->dead, 0);
    CHECK(rows_view_find(before, STR("a"), &at) && rowset_has(&before->live, at));
    CHECK_STR(rows_view_row(before, at)->text, "first");
    CHECK(!rows_view_find(before, STR("more1"), &at));
    OWNED(rows_view_release) RowsView *after = overlay_view(overlay);
    CHECK_INT(after->live.count, 3002);
    CHECK_INT(after->live_documents, 3001);
    CHECK(rows_view_find(after, STR("more2999"), &at));
    CHECK_STR(rows_view_row(after, at)->doc_id, "more2999");
}

TEST("without a base it keeps the last state of each document, deleted ones too") {
    OWNED(overlay_close) Overlay *overlay = overlay_over(NULL, false);
    size_t at;
    put(overlay, "a", 1, "text");
    delete (overlay, "a");
    delete (overlay, "b");
    put(overlay, "c", 2, "text");
    OWNED(rows_view_release) RowsView *view = overlay_view(overlay);
    CHECK(rows_view_find(view, STR("a"), &at) && !rows_view_row(view, at)->vector);
    CHECK(rows_view_find(view, STR("b"), &at) && !rows_view_row(view, at)->vector);
    CHECK(rows_view_find(view, STR("c"), &at));
    CHECK_INT(rows_view_row(view, at)->rows, 2);
    CHECK(!rows_view_find(view, STR("d"), &at));
}

TEST("a batch applied twice is as one applied once") {
    OWNED(base_close) Base *base = base_open();
    OWNED(overlay_close) Overlay *overlay = overlay_over(base, false);
    for (int i = 0; i < 2; i++) {
        put(overlay, "b3", 2, "text");
        put(overlay, "x", 1, "text");
        delete (overlay, "b4");
        check_counts(overlay, 3, 4, 2);
    }
}

TEST("vectors of another length are refused, and nothing has changed") {
    OWNED(overlay_close) Overlay *overlay = overlay_over(NULL, false);
    const float vector[3] = {1, 2, 3};
    RowPut one = {STR("a"), STR(""), 0, vector};
    Str gone = STR("b");
    const RowBatch batch = {1, 1, 3, &gone, 1, &one, 1};
    OverlayChange change;
    Err err = {0};
    CHECK(!overlay_apply(overlay, &batch, &change, &err));
    CHECK(err.kind == LH_CORRUPT);
    check_counts(overlay, 0, 0, 0);
}

/* ---- Readers beside a writer ---- */

typedef struct Reading {
    Overlay *overlay;
    atomic_bool stop;
    atomic_int views, torn;
} Reading;

/* Every batch puts two rows of one document, so a view has both or none. */
static void *read_views(void *context) {
    Reading *reading = context;
    while (!reading->stop) {
        OWNED(rows_view_release) RowsView *view = overlay_view(reading->overlay);
        size_t live = 0;
        for (size_t at = 0; at < view->count; at++) {
            if (!rowset_has(&view->live, at)) continue;
            const OverlayRow *row = rows_view_row(view, at);
            live++;
            reading->torn += row->vector[0] != 0.6f || row->text.len == 0;
        }
        reading->torn += live != view->live.count || live % 2;
        reading->views++;
    }
    return NULL;
}

TEST("readers see whole batches while a writer goes on") {
    OWNED(base_close) Base *base = base_open();
    OWNED(overlay_close) Overlay *overlay = overlay_over(base, true);
    Reading reading = {.overlay = overlay};
    pthread_t threads[3];
    for (size_t i = 0; i < COUNT(threads); i++)
        CHECK(pthread_create(&threads[i], NULL, read_views, &reading) == 0);
    for (int i = 0; i < 2000 || reading.views < 20; i++) {
        char id[16];
        snprintf(id, sizeof id, "d%d", i % 300);
        put(overlay, id, 2, "some words of a text");
        if (i % 7 == 0) delete (overlay, id);
    }
    reading.stop = true;
    for (size_t i = 0; i < COUNT(threads); i++) pthread_join(threads[i], NULL);
    CHECK_INT(reading.torn, 0);
}
