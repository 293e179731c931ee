/* Batches of rows: a data chunk of DuckDB's and the strings that it points to, which lie in two
 * heaps of the batch's own. Neither DuckDB copies them nor looks at them: the texts are checked all
 * at once, which SIMD does at several bytes a cycle, where text by text it was a tenth of an
 * ingest.
 *
 * Thread rule: a batch belongs to whoever took it. */
#include "query/engine.h"

#include <stdlib.h>
#include <string.h>

#define HEAP_BLOCK_SIZE                                                                            \
    (1 << 20) /* holds the strings of most batches; longer ones get their own                      \
               */

/* ---- Heaps ---- */

struct HeapBlock {
    HeapBlock *next;
    size_t len, cap;
    char data[];
};

static void blocks_close(HeapBlock *block) {
    for (HeapBlock *next; block; block = next) {
        next = block->next;
        free(block);
    }
}

/* One block stays for the next rows. */
static void heap_clear(BatchHeap *heap) {
    HeapBlock *kept = heap->newest;
    heap->cut = false;
    if (!kept) return;
    blocks_close(TAKE(kept->next));
    kept->len = 0;
    if (kept->cap == HEAP_BLOCK_SIZE) return;
    free(kept);
    heap->newest = NULL;
}

static HeapBlock *heap_block(BatchHeap *heap, size_t size) {
    HeapBlock *block = malloc(sizeof *block + size);
    if (!block) abort();
    *block = (HeapBlock){.next = heap->newest, .cap = size};
    return heap->newest = block;
}

static const char *heap_add(BatchHeap *heap, Str value) {
    HeapBlock *block = heap->newest;
    if (!block || block->cap - block->len < value.len)
        block = heap_block(heap, MAX(value.len, (size_t)HEAP_BLOCK_SIZE));
    char *at = block->data + block->len;
    if (value.len == 0) return at;
    memcpy(at, value.data, value.len);
    heap->cut |= (value.data[0] & 0xC0) == 0x80;
    block->len += value.len;
    return at;
}

/* ---- Batches ---- */

duckdb_logical_type batch_type(const Type *type) {
    static const duckdb_type types[] = {
        [TYPE_BOOLEAN] = DUCKDB_TYPE_BOOLEAN,
        [TYPE_INT] = DUCKDB_TYPE_INTEGER,
        [TYPE_LONG] = DUCKDB_TYPE_BIGINT,
        [TYPE_FLOAT] = DUCKDB_TYPE_FLOAT,
        [TYPE_DOUBLE] = DUCKDB_TYPE_DOUBLE,
        [TYPE_DATE] = DUCKDB_TYPE_DATE,
        [TYPE_TIME] = DUCKDB_TYPE_TIME,
        [TYPE_TIMESTAMP] = DUCKDB_TYPE_TIMESTAMP,
        [TYPE_TIMESTAMPTZ] = DUCKDB_TYPE_TIMESTAMP_TZ,
        [TYPE_STRING] = DUCKDB_TYPE_VARCHAR,
        [TYPE_UUID] = DUCKDB_TYPE_UUID,
        [TYPE_FIXED] = DUCKDB_TYPE_BLOB,
        [TYPE_BINARY] = DUCKDB_TYPE_BLOB,
    };
    if (type->kind == TYPE_DECIMAL)
        return duckdb_create_decimal_type((uint8_t)type->precision, (uint8_t)type->scale);
    if (type->kind != TYPE_LIST) return duckdb_create_logical_type(types[type->kind]);
    duckdb_logical_type element = batch_type(&type->fields[0].type);
    duckdb_logical_type list = duckdb_create_list_type(element);
    duckdb_destroy_logical_type(&element);
    return list;
}

static void vector_open(BatchVector *vector, const Type *type, RowBatch *batch) {
    vector->kind = type->kind;
    vector->heap = type->kind == TYPE_STRING ? &batch->texts : &batch->bytes;
    if (type->kind != TYPE_LIST) return;
    vector->child = arena_new(&batch->arena, BatchVector);
    vector_open(vector->child, &type->fields[0].type, batch);
}

static void vector_load(BatchVector *vector, duckdb_vector of) {
    vector->vector = of;
    vector->values = duckdb_vector_get_data(of);
    duckdb_vector_ensure_validity_writable(of);
    vector->validity = duckdb_vector_get_validity(of);
    if (vector->child) vector_load(vector->child, duckdb_list_vector_get_child(of));
}

RowBatch *batch_open(const Schema *schema, duckdb_logical_type *types) {
    RowBatch *batch = calloc(1, sizeof *batch);
    if (!batch) abort();
    batch->chunk = duckdb_create_data_chunk(types, schema->len);
    batch->column_count = schema->len;
    batch->columns = arena_array(&batch->arena, BatchVector, schema->len);
    for (size_t i = 0; i < schema->len; i++)
        vector_open(&batch->columns[i], &schema->fields[i].type, batch);
    return batch;
}

void batches_close(RowBatch *batch) {
    for (RowBatch *next; batch; batch = next) {
        next = batch->next;
        duckdb_destroy_data_chunk(&batch->chunk);
        blocks_close(batch->texts.newest);
        blocks_close(batch->bytes.newest);
        arena_close(&batch->arena);
        free(batch);
    }
}

void batch_clear(RowBatch *batch) {
    batch->next = NULL;
    batch->rows = 0;
    heap_clear(&batch->texts);
    heap_clear(&batch->bytes);
    duckdb_data_chunk_reset(batch->chunk);
    for (size_t i = 0; i < batch->column_count; i++) {
        vector_load(&batch->columns[i], duckdb_data_chunk_get_vector(batch->chunk, i));
        memset(batch->columns[i].validity, 0, FEED_BATCH_ROWS / 8);
    }
}

BatchVector *batch_vector(RowBatch *batch, size_t column) {
    return &batch->columns[column];
}

void *vector_values(BatchVector *vector) {
    bool fixed_size = vector->kind != TYPE_STRING && vector->kind != TYPE_BINARY &&
                      vector->kind != TYPE_FIXED && vector->kind != TYPE_LIST;
    return fixed_size ? vector->values : NULL;
}

void vector_set_valid(BatchVector *vector, size_t row) {
    vector->validity[row / 64] |= 1ull << (row % 64);
}

/* Short strings lie in the vector itself. Texts of any length go to the heap, where they are
 * checked. */
void vector_bytes(BatchVector *vector, size_t row, Str value) {
    duckdb_string_t *string = (duckdb_string_t *)vector->values + row;
    bool is_short = value.len <= sizeof string->value.inlined.inlined;
    const char *kept = value.data;
    if (!is_short || vector->kind == TYPE_STRING) kept = heap_add(vector->heap, value);
    *string = (duckdb_string_t){.value.inlined.length = (uint32_t)value.len};
    if (is_short) {
        if (value.len) memcpy(string->value.inlined.inlined, value.data, value.len);
    } else {
        memcpy(string->value.pointer.prefix, value.data, sizeof string->value.pointer.prefix);
        string->value.pointer.ptr = (char *)(uintptr_t)kept;
    }
    vector_set_valid(vector, row);
}

BatchVector *vector_list(BatchVector *vector, size_t row, size_t len, size_t *at) {
    size_t from = duckdb_list_vector_get_size(vector->vector);
    duckdb_list_vector_reserve(vector->vector, from + len);
    duckdb_list_vector_set_size(vector->vector, from + len);
    vector_load(vector->child, duckdb_list_vector_get_child(vector->vector));
    for (size_t i = from; i < from + len; i++)
        vector->child->validity[i / 64] &= ~(1ull << (i % 64));
    ((duckdb_list_entry *)vector->values)[row] = (duckdb_list_entry){from, len};
    vector_set_valid(vector, row);
    *at = from;
    return vector->child;
}

/* What is UTF-8 end to end, and cut nowhere within a character, is so in each of its texts. */
bool batch_is_utf8(const RowBatch *batch) {
    bool ok = !batch->texts.cut;
    for (const HeapBlock *block = batch->texts.newest; ok && block; block = block->next)
        ok = str_is_utf8((Str){block->data, block->len});
    return ok;
}

static bool has_bad_text(const BatchVector *vector, size_t rows) {
    if (vector->child)
        return has_bad_text(vector->child, duckdb_list_vector_get_size(vector->vector));
    for (size_t i = 0; vector->kind == TYPE_STRING && i < rows; i++) {
        duckdb_string_t *string = (duckdb_string_t *)vector->values + i;
        if (!(vector->validity[i / 64] >> (i % 64) & 1)) continue;
        if (!str_is_utf8((Str){duckdb_string_t_data(string), duckdb_string_t_length(*string)}))
            return true;
    }
    return false;
}

size_t batch_bad_column(const RowBatch *batch) {
    size_t i = 0;
    while (i < batch->column_count && !has_bad_text(&batch->columns[i], batch->rows)) i++;
    return i;
}
