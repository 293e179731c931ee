/* The two files of an IVF_PQ index: see ivf.h. */
#include "lance/ivf.h"
#include "lance/wire.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES (4u << 20) /* of codes, about */
#define INDEX_VERSION 1
enum { TENSOR_FLOAT32 = 2 };

static void put_tensor(Text *out, uint32_t number, size_t rows, size_t columns,
                       const float *values) {
    uint64_t shape[] = {rows, columns};
    size_t begun = number ? wire_begin(out, number) : 0;
    wire_put(out, 1, TENSOR_FLOAT32);
    wire_put_packed(out, 2, shape, 2);
    wire_put_bytes(out, 3, (Bytes){(const uint8_t *)values, rows * columns * sizeof *values});
    if (number) wire_end(out, begun);
}

static void put_meta(LanceFileWriter *writer, const char *name, Str value) {
    lance_file_meta(writer, str_from(name), bytes_of(value));
}

static void index_meta(LanceFileWriter *writer, const IvfModel *model, Arena *arena) {
    OWNED(text_close) Text flat = {0};
    for (size_t i = 0; i < model->partitions; i++) text_add(&flat, i ? STR(",\"\"") : STR("[\"\""));
    text_add_byte(&flat, ']');
    put_meta(writer, "lance:index",
             arena_print(arena, "{\"type\":\"IVF_PQ\",\"distance_type\":\"%s\"}",
                         lance_metric_names[model->metric]));
    put_meta(writer, "lance:flat", text_str(&flat));
    put_meta(writer, "lance:ivf", STR("1"));
}

static bool index_file_fill(LanceFileWriter *writer, const IvfModel *model, Arena *arena,
                            uint64_t *size, Err *err) {
    OWNED(text_close) Text ivf = {0};
    uint64_t *zeros = arena_array(arena, uint64_t, model->partitions);
    uint32_t number;
    index_meta(writer, model, arena);
    wire_put_packed(&ivf, 2, zeros, model->partitions);
    wire_put_packed(&ivf, 3, zeros, model->partitions);
    put_tensor(&ivf, 4, model->partitions, model->dimension, model->centroids);
    return lance_file_add_buffer(writer, text_bytes(&ivf), &number, err) &&
           lance_file_finish(writer, size, NULL, err);
}

static bool index_file_write(LanceTable *table, const IvfModel *model, Arena *arena,
                             const LanceIndex *index, uint64_t *size, Err *err) {
    LanceField marker = {.name = STR("__flat_marker"), .type = lance_type(STR("uint64"))};
    LanceSchema schema = {&marker, 1};
    OWNED(lance_file_discard) LanceFileWriter *writer = NULL; /* closed before its schema goes */
    Str key = index_key(table_path(table), index->uuid, STR(IVF_INDEX_NAME), arena);
    return table_file_create(table, key, &schema, &writer, err) &&
           index_file_fill(writer, model, arena, size, err);
}

/* Rows in order of partition. */
typedef struct Sorted {
    uint64_t *first; /* partitions + 1 */
    uint32_t *rows;
} Sorted;

static Sorted sort_by_partition(const IvfModel *model, const IvfCodes *codes, Arena *arena) {
    Sorted sorted = {arena_array(arena, uint64_t, model->partitions + 2),
                     arena_array(arena, uint32_t, codes->rows)};
    for (size_t i = 0; i < codes->rows; i++) sorted.first[codes->partitions[i] + 2]++;
    for (size_t p = 2; p < model->partitions + 2; p++) sorted.first[p] += sorted.first[p - 1];
    for (size_t i = 0; i < codes->rows; i++)
        sorted.rows[sorted.first[codes->partitions[i] + 1]++] = (uint32_t)i;
    return sorted;
}

/* Code bytes of rows [from, end), which are one partition, byte by byte of the code. */
static void transpose(const IvfCodes *codes, const uint32_t *rows, size_t count, size_t bytes,
                      uint8_t *out) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t *code = codes->codes + rows[i] * bytes;
        for (size_t b = 0; b < bytes; b++) out[b * count + i] = code[b];
    }
}

/* Whole partitions [from, end) as one page a column. */
static bool page_write(LanceFileWriter *writer, const IvfModel *model, const IvfCodes *codes,
                       const Sorted *sorted, size_t from, size_t end, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    size_t bytes = ivf_code_bytes(model);
    uint64_t first = sorted->first[from], count = sorted->first[end] - first;
    uint64_t *addresses = arena_array(&arena, uint64_t, count);
    uint8_t *page = arena_alloc(&arena, count * bytes);
    for (uint64_t i = 0; i < count; i++) addresses[i] = codes->addresses[sorted->rows[first + i]];
    for (size_t p = from; p < end; p++)
        transpose(codes, sorted->rows + sorted->first[p], sorted->first[p + 1] - sorted->first[p],
                  bytes, page + (sorted->first[p] - first) * bytes);
    LanceColumn ids = {.values = addresses}, values = {.values = page};
    return lance_file_page(writer, 0, &ids, count, err) &&
           lance_file_page(writer, 1, &values, count, err);
}

static bool pages_write(LanceFileWriter *writer, const IvfModel *model, const IvfCodes *codes,
                        const Sorted *sorted, Err *err) {
    size_t most = PAGE_BYTES / ivf_code_bytes(model);
    for (size_t from = 0, end; from < model->partitions; from = end) {
        for (end = from + 1;
             end < model->partitions && sorted->first[end + 1] - sorted->first[from] <= most;)
            end++;
        if (!page_write(writer, model, codes, sorted, from, end, err)) return false;
    }
    return true;
}

static void auxiliary_meta(LanceFileWriter *writer, const IvfModel *model, uint32_t words,
                           Arena *arena) {
    put_meta(writer, "distance_type", str_from(lance_metric_names[model->metric]));
    put_meta(writer, "lance:ivf", STR("1"));
    put_meta(writer, "storage_metadata",
             arena_print(arena,
                         "[\"{\\\"codebook_position\\\":%u,\\\"nbits\\\":%zu,"
                         "\\\"num_sub_vectors\\\":%zu,\\\"dimension\\\":%zu,"
                         "\\\"codebook_tensor\\\":[],\\\"transposed\\\":true}\"]",
                         words, model->bits, model->sub_vectors, model->dimension));
}

static bool buffers_write(LanceFileWriter *writer, const IvfModel *model, const Sorted *sorted,
                          Arena *arena, uint32_t *words, Err *err) {
    OWNED(text_close) Text ivf = {0};
    OWNED(text_close) Text tensor = {0};
    uint64_t *lengths = arena_array(arena, uint64_t, model->partitions);
    uint32_t number;
    for (size_t p = 0; p < model->partitions; p++)
        lengths[p] = sorted->first[p + 1] - sorted->first[p];
    wire_put_packed(&ivf, 2, sorted->first, model->partitions);
    wire_put_packed(&ivf, 3, lengths, model->partitions);
    put_tensor(&tensor, 0, ivf_words(model), model->dimension, model->words);
    return lance_file_add_buffer(writer, text_bytes(&ivf), &number, err) &&
           lance_file_add_buffer(writer, text_bytes(&tensor), words, err);
}

static bool auxiliary_file_write(LanceTable *table, const IvfModel *model, const IvfCodes *codes,
                                 Arena *arena, const LanceIndex *index, uint64_t *size, Err *err) {
    Str code_type = arena_print(arena, "fixed_size_list:uint8:%zu", ivf_code_bytes(model));
    LanceField fields[] = {
        {.name = STR("_rowid"),    .type = lance_type(STR("uint64")), .nullable = true, .id = 0},
        {.name = STR("__pq_code"), .type = lance_type(code_type),     .nullable = true, .id = 1},
    };
    LanceSchema schema = {fields, COUNT(fields)};
    OWNED(lance_file_discard) LanceFileWriter *writer = NULL; /* closed before its schema goes */
    Str key = index_key(table_path(table), index->uuid, STR(IVF_AUXILIARY_NAME), arena);
    Sorted sorted = sort_by_partition(model, codes, arena);
    uint32_t words;
    if (!table_file_create(table, key, &schema, &writer, err) ||
        !pages_write(writer, model, codes, &sorted, err) ||
        !buffers_write(writer, model, &sorted, arena, &words, err))
        return false;
    auxiliary_meta(writer, model, words, arena);
    return lance_file_finish(writer, size, NULL, err);
}

/* VectorIndexDetails {1 metric, 4 pq {1 bits, 2 sub-vectors}} */
static Bytes details_encode(const IvfModel *model, Arena *arena) {
    static const uint64_t numbers[] = {[LANCE_COSINE] = 1, [LANCE_L2] = 0, [LANCE_DOT] = 2};
    OWNED(text_close) Text out = {0};
    wire_put_nonzero(&out, 1, numbers[model->metric]);
    size_t pq = wire_begin(&out, 4);
    wire_put(&out, 1, model->bits);
    wire_put(&out, 2, model->sub_vectors);
    wire_end(&out, pq);
    return bytes_of(arena_copy(arena, text_str(&out)));
}

bool ivf_write(LanceTable *table, const IvfModel *model, const IvfCodes *codes, Arena *arena,
               LanceIndex *index, Err *err) {
    IndexFileEntry *files = arena_array(arena, IndexFileEntry, 2);
    files[0].path = STR(IVF_INDEX_NAME);
    files[1].path = STR(IVF_AUXILIARY_NAME);
    uuid_make(index->uuid);
    index->files = files;
    index->file_count = 2;
    index->details_url = STR(IVF_DETAILS_URL);
    index->details = details_encode(model, arena);
    index->version = INDEX_VERSION;
    if (index_file_write(table, model, arena, index, &files[0].size, err) &&
        auxiliary_file_write(table, model, codes, arena, index, &files[1].size, err))
        return true;
    index_files_remove(table, index);
    return false;
}
