/* PUT and DELETE /vectors/indexes/{index}/rows: what is asked becomes one batch of the index's log,
 * durable before it is answered, and is applied to the overlay of the entry that is in force. */
#include "vector/indexes.h"

#include <stdlib.h>
#include <string.h>

#define MOVES_MAX 16 /* of the index, while one request is put */

const Option rows_put_options[] = {
    {"rows",       LH_JSON, AT(RowsSpec, rows), REQUIRED,
     "[{\"doc_id\",\"text\"?,\"vector\"?},...]: each replaces what its document has"},
    {0},
};
const Option rows_delete_options[] = {
    {"doc_ids",    LH_JSON, AT(RowsSpec, doc_ids), REQUIRED, "documents to delete"},
    {0},
};

typedef struct Applying {
    Overlay *overlay;
    OverlayChange change; /* of the batch applied last */
} Applying;

static bool apply(void *context, const RowBatch *batch, Err *err) {
    Applying *applying = context;
    return overlay_apply(applying->overlay, batch, &applying->change, err);
}

/* ---- One request ---- */

typedef struct RowsRequest {
    Indexes *indexes;
    IndexEntry *entry;
    Arena arena;
    RowBatch batch;
    OverlayChange change;
    size_t rows_cap;
    bool upkeep;
} RowsRequest;

static void request_close(RowsRequest *request) {
    index_entry_release(&request->entry);
    arena_close(&request->arena);
}

static bool index_changed(const IndexMeta *meta, Err *err) {
    return err_code(err, LH_CONFLICT, "index_changed",
                    "index '%.*s' was replaced by another: try again", SHOW(meta->index));
}

/* After the batch is durable: whether it is where the index is (place.c). Rows put into an index
 * that another server deleted, or gave vectors of another length, are refused; one that it moved is
 * opened where it is now, *moved. */
static bool check_place(Indexes *indexes, IndexEntry *entry, bool *moved, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(index_entry_release) IndexEntry *fresh = NULL;
    IndexMeta now;
    if (!buckets_shared(indexes->buckets) && !atomic_load(&indexes->unsettled)) return true;
    if (!index_settle(indexes, entry, &arena, &now, err)) return false;
    if (!str_equal(now.row_log, entry->meta.row_log)) return index_changed(&entry->meta, err);
    bool same_length = now.dimensions == entry->meta.dimensions;
    if (same_length && meta_same_place(&now, &entry->meta)) return true;
    fresh = index_entry_open(indexes, &now);
    if (!fresh->index) return *err = fresh->broken, false;
    *moved = same_length;
    return indexes_publish_locked(indexes, TAKE(fresh), true, err) &&
           (same_length || index_changed(&entry->meta, err));
}

/* Before it is in the log, which every start reads again. */
static bool check_room(const IndexEntry *entry, const RowBatch *batch, Err *err) {
    OWNED(rows_view_release) RowsView *view = overlay_view(entry->overlay);
    return rows_view_rows(view) + batch->delete_count + batch->put_count <= GRAPH_ROWS_MAX ||
           err_code(err, LH_TOO_BIG, "too_many_rows", "index '%.*s' would have over %u rows",
                    SHOW(entry->meta.index), GRAPH_ROWS_MAX);
}

/* By the entry that is in force now: a build may have been published since the request was read.
 * *moved: once more, for the index was moved meanwhile, and the batch may be where it was. */
static bool append(RowsRequest *request, bool *moved, Err *err) {
    OWNED(entry_log_close) EntryLog log = {0};
    OWNED(index_entry_release) IndexEntry *entry = NULL;
    const IndexMeta *meta = &request->entry->meta;
    if (!indexes_find(request->indexes, meta->index, &entry, err)) return false;
    if (!str_equal(entry->meta.row_log, meta->row_log) ||
        entry->index->dimensions != request->entry->index->dimensions)
        return index_changed(meta, err);
    if (!check_room(entry, &request->batch, err) ||
        !entry_log_open(request->indexes, &entry->meta, &log, err))
        return false;
    Applying applying = {.overlay = entry->overlay};
    pthread_mutex_lock(&entry->rows_lock);
    bool ok = row_log_append(&log.log, &request->batch, &entry->rows_known, apply, &applying, err);
    request->upkeep = ok && entry_wants_upkeep(request->indexes, entry);
    pthread_mutex_unlock(&entry->rows_lock);
    request->change.upserted = MAX(request->change.upserted, applying.change.upserted);
    request->change.deleted = MAX(request->change.deleted, applying.change.deleted);
    Err why = {0};
    if (check_place(request->indexes, entry, moved, &why)) return ok || *moved;
    return ok ? *err = why, false : false;
}

static bool request_run(RowsRequest *request, Err *err) {
    pthread_mutex_t *lock = indexes_row_lock(request->indexes, request->entry->meta.index);
    pthread_mutex_lock(lock);
    bool moved = true, ok = true;
    for (int tries = 0; ok && moved && tries < MOVES_MAX; tries++)
        moved = false, ok = append(request, &moved, err);
    pthread_mutex_unlock(lock);
    if (ok && moved)
        return err_set(err, LH_BUSY, "index '%.*s' is moved all the time: try again",
                       SHOW(request->entry->meta.index));
    return ok;
}

static bool take_id(const Json *json, const char *what, size_t at, Str *out, Err *err) {
    if (!json || json->kind != JSON_TEXT)
        return err_code(err, LH_INVALID, json ? "wrong_type" : "missing_field",
                        "%s %zu: 'doc_id' must be a text", what, at);
    if (json->text.len == 0 || json->text.len > ROW_ID_MAX)
        return err_code(err, LH_INVALID, "bad_doc_id", "%s %zu: a doc_id has 1 to %d bytes", what,
                        at, ROW_ID_MAX);
    *out = json->text;
    return true;
}

/* ---- Putting ---- */

typedef struct GivenRow { /* of the request */
    Str doc_id, text;
    const Json *vector;
} GivenRow;

static bool check_members(const Json *json, size_t at, Err *err) {
    if (json->kind != JSON_OBJECT)
        return err_code(err, LH_INVALID, "wrong_type", "row %zu must be an object, not %s", at,
                        json_kind_name(json->kind));
    for (size_t i = 0; i < json->len; i++) {
        Str name = json->items[i].name;
        if (!str_is(name, "doc_id") && !str_is(name, "text") && !str_is(name, "vector"))
            return err_code(err, LH_INVALID, "unknown_field",
                            "row %zu has a member '%.*s': doc_id, text and vector are taken", at,
                            (int)MIN(name.len, 80), name.data);
    }
    return true;
}

static bool read_given(const Json *json, size_t at, GivenRow *out, Err *err) {
    if (!check_members(json, at, err) ||
        !take_id(json_get(json, "doc_id"), "row", at, &out->doc_id, err))
        return false;
    const Json *text = json_get(json, "text"), *vector = json_get(json, "vector");
    if (text && text->kind == JSON_NULL) text = NULL;
    if (vector && vector->kind == JSON_NULL) vector = NULL;
    if (text && text->kind != JSON_TEXT)
        return err_code(err, LH_INVALID, "wrong_type", "row %zu: 'text' must be a text", at);
    if (vector && vector->kind != JSON_ARRAY)
        return err_code(err, LH_INVALID, "wrong_type", "row %zu: 'vector' must be a list", at);
    out->text = text ? text->text : (Str){0};
    out->vector = vector;
    return vector || str_trim(out->text).len > 0 ||
           err_code(err, LH_INVALID, "missing_field", "row %zu: give 'text', 'vector' or both", at);
}

static bool take_vector(const RowsRequest *request, const GivenRow *row, size_t at, float *out,
                        Err *err) {
    size_t dimensions = request->entry->index->dimensions;
    if (row->vector->len != dimensions)
        return err_code(err, LH_IMPOSSIBLE, "wrong_dimension",
                        "row %zu: the vector has %zu numbers, index '%.*s' has %zu dimensions", at,
                        row->vector->len, SHOW(request->entry->meta.index), dimensions);
    if (!json_floats(row->vector, out))
        return err_code(err, LH_INVALID, "wrong_type", "row %zu: 'vector' must hold numbers", at);
    return metric_check(metric_of(request->entry->meta.metric), out, dimensions, err) ||
           err_while(err, "row %zu", at);
}

static bool add_put(RowsRequest *request, const RowPut *put, Err *err) {
    RowBatch *batch = &request->batch;
    if (batch->put_count == ROWS_CHUNKS_MAX)
        return err_code(err, LH_TOO_BIG, "too_many_rows",
                        "the texts make over %d chunks: put fewer rows at a time", ROWS_CHUNKS_MAX);
    if (batch->put_count == request->rows_cap) {
        request->rows_cap = MAX(request->rows_cap * 2, 64);
        RowPut *grown = arena_array(&request->arena, RowPut, request->rows_cap);
        if (batch->put_count) memcpy(grown, batch->puts, batch->put_count * sizeof *grown);
        batch->puts = grown;
    }
    batch->puts[batch->put_count++] = *put;
    return true;
}

/* Chunks as at creation; their vectors come later. */
static bool add_chunks(RowsRequest *request, const GivenRow *row, size_t at, Err *err) {
    const IndexEntry *entry = request->entry;
    RowPut put = {.doc_id = row->doc_id};
    if (entry->meta.model.len == 0)
        return err_code(err, LH_IMPOSSIBLE, "no_model",
                        "row %zu: index '%.*s' has vectors of its own and no model: give 'vector'",
                        at, SHOW(entry->meta.index));
    Chunker chunks = chunker(row->text, &entry->meta.chunk);
    for (; chunk_next(&chunks, &put.text); put.chunk++)
        if (!add_put(request, &put, err)) return false;
    return true;
}

static bool add_given(RowsRequest *request, const GivenRow *row, size_t at, Err *err) {
    if (!row->vector) return add_chunks(request, row, at, err);
    float *vector = arena_array(&request->arena, float, request->batch.dimensions);
    const RowPut put = {.doc_id = row->doc_id, .text = row->text, .vector = vector};
    return take_vector(request, row, at, vector, err) && add_put(request, &put, err);
}

typedef struct Numbered { /* to find which row of a document is the last */
    Str doc_id;
    size_t at;
} Numbered;

static int numbered_order(const void *a, const void *b) {
    const Numbered *x = a, *y = b;
    int order = str_compare(x->doc_id, y->doc_id);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* Of rows with one doc_id the last is kept; the others lose theirs. */
static void keep_last(GivenRow *rows, size_t count) {
    Numbered *order = malloc(MAX(count, 1) * sizeof *order);
    if (!order) abort();
    for (size_t i = 0; i < count; i++) order[i] = (Numbered){rows[i].doc_id, i};
    qsort(order, count, sizeof *order, numbered_order);
    for (size_t i = 1; i < count; i++)
        if (str_equal(order[i - 1].doc_id, order[i].doc_id)) rows[order[i - 1].at].doc_id.len = 0;
    free(order);
}

static bool check_list(const Json *list, const char *what, Err *err) {
    if (list->kind != JSON_ARRAY)
        return err_code(err, LH_INVALID, "wrong_type", "'%s' must be a list, not %s", what,
                        json_kind_name(list->kind));
    if (list->len == 0) return err_code(err, LH_INVALID, "empty_list", "'%s' is empty", what);
    return list->len <= ROWS_MAX || err_code(err, LH_TOO_BIG, "too_many_rows",
                                             "'%s' has %zu elements, at most %d fit in a request",
                                             what, list->len, ROWS_MAX);
}

static bool read_rows(RowsRequest *request, const Json *list, Err *err) {
    if (!check_list(list, "rows", err)) return false;
    GivenRow *rows = arena_array(&request->arena, GivenRow, list->len);
    request->batch.dimensions = request->entry->index->dimensions;
    for (size_t i = 0; i < list->len; i++)
        if (!read_given(&list->items[i], i, &rows[i], err)) return false;
    keep_last(rows, list->len);
    for (size_t i = 0; i < list->len; i++)
        if (rows[i].doc_id.len && !add_given(request, &rows[i], i, err)) return false;
    return row_batch_size(&request->batch) <= ROW_BATCH_SIZE_MAX ||
           err_code(err, LH_TOO_BIG, "too_many_rows",
                    "the rows take over %u MiB with their vectors: put fewer at a time",
                    ROW_BATCH_SIZE_MAX >> 20);
}

/* Vectors of the puts that have none. */
static bool embed(RowsRequest *request, Err *err) {
    RowBatch *batch = &request->batch;
    size_t count = 0;
    Str *texts = arena_array(&request->arena, Str, batch->put_count);
    for (size_t i = 0; i < batch->put_count; i++)
        if (!batch->puts[i].vector) texts[count++] = batch->puts[i].text;
    float *vectors = arena_array(&request->arena, float, count * batch->dimensions + 1);
    if (count && !index_entry_embed(request->entry, texts, count, vectors, err)) return false;
    for (size_t i = 0; i < batch->put_count; i++)
        if (!batch->puts[i].vector) {
            batch->puts[i].vector = vectors;
            vectors += batch->dimensions;
        }
    return true;
}

static void write_result(const RowsRequest *request, const char *what, size_t count, Text *result) {
    JsonWriter w = {.out = result};
    jw_object(&w);
    jw_member_text(&w, "index", request->entry->meta.index);
    jw_member_int(&w, what, (int64_t)count);
    jw_end(&w);
}

bool index_rows_put(Indexes *indexes, Str name, const RowsSpec *spec, Text *result, bool *upkeep,
                    Err *err) {
    OWNED(request_close) RowsRequest request = {.indexes = indexes};
    if (!indexes_find(indexes, name, &request.entry, err) ||
        !read_rows(&request, spec->rows, err) || !embed(&request, err) ||
        !request_run(&request, err))
        return false;
    write_result(&request, "upserted", request.change.upserted, result);
    *upkeep = request.upkeep;
    return true;
}

/* ---- Deleting ---- */

static int text_order(const void *a, const void *b) {
    return str_compare(*(const Str *)a, *(const Str *)b);
}

static bool read_ids(RowsRequest *request, const Json *list, Err *err) {
    RowBatch *batch = &request->batch;
    if (!check_list(list, "doc_ids", err)) return false;
    Str *ids = arena_array(&request->arena, Str, list->len);
    for (size_t i = 0; i < list->len; i++)
        if (!take_id(&list->items[i], "element", i, &ids[i], err)) return false;
    qsort(ids, list->len, sizeof *ids, text_order);
    for (size_t i = 0; i < list->len; i++)
        if (i == 0 || !str_equal(ids[i], ids[i - 1])) ids[batch->delete_count++] = ids[i];
    batch->deletes = ids;
    return true;
}

bool index_rows_delete(Indexes *indexes, Str name, const RowsSpec *spec, Text *result, bool *upkeep,
                       Err *err) {
    OWNED(request_close) RowsRequest request = {.indexes = indexes};
    if (!indexes_find(indexes, name, &request.entry, err) ||
        !read_ids(&request, spec->doc_ids, err) || !request_run(&request, err))
        return false;
    write_result(&request, "deleted", request.change.deleted, result);
    *upkeep = request.upkeep;
    return true;
}
