/* Opening a segment: every number of its files is compared with what the files hold. */
#include "lance/ivf_segment.h"
#include "lance/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_PER_BYTE_MAX 16 /* equal codes take next to no room; more is a lie */
#define POINT_MAX (10 * VECTOR_LENGTH_MAX)
enum { TENSOR_FLOAT32 = 2 };

static bool damaged(Err *err, const char *what) {
    return err_set(err, LH_CORRUPT, "a vector index %s", what);
}

/* The number of a global buffer, as text in the metadata. */
static bool ivf_buffer(const LanceFile *file, Arena *arena, Bytes *out, Err *err) {
    Bytes text;
    uint64_t number;
    if (!lance_file_find_meta(file, STR("lance:ivf"), &text) ||
        !str_to_u64(str_of(text), &number) || number > UINT32_MAX)
        return damaged(err, "does not say where its partitions are");
    return lance_file_buffer(file, (uint32_t)number, arena, out, err);
}

static bool tensor_read(Bytes message, size_t rows, size_t columns, Arena *arena, float **out,
                        Err *err) {
    WireField field;
    uint64_t type = 0;
    Bytes data = {0};
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) {
        if (field.number == 1) type = field.value;
        if (field.number == 3) data = field.bytes;
    }
    if (!wire_whole(&reader, "a tensor", err)) return false;
    if (type != TENSOR_FLOAT32)
        return lance_unsupported(err, "points of an index are kept as type %llu, not as floats",
                                 (unsigned long long)type);
    if (data.size / sizeof(float) / columns != rows || data.size % (columns * sizeof(float)))
        return damaged(err, "has more or fewer points than it says");
    float *values = arena_alloc(arena, data.size);
    memcpy(values, data.data, data.size);
    for (size_t i = 0; i < rows * columns; i++)
        if (!(values[i] <= POINT_MAX && values[i] >= -POINT_MAX))
            return lance_unsupported(err, "an index has points too far away to be compared");
    *out = values;
    return true;
}

static bool metric_read(Str name, LanceMetric *out, Err *err) {
    for (size_t i = 0; i <= LANCE_DOT; i++)
        if (str_is(name, lance_metric_names[i])) return *out = (LanceMetric)i, true;
    return lance_unsupported(err, "an index compares by '%.*s'", (int)MIN(name.len, 32), name.data);
}

/* index.idx: kind, metric, centroids. */
static bool index_file_read(const LanceFile *file, Arena *arena, IvfModel *model, Err *err) {
    Bytes text, ivf;
    const Json *about;
    WireField tensor, shape;
    WireNumbers sizes = {0};
    if (!lance_file_find_meta(file, STR("lance:index"), &text) ||
        !json_read(str_of(text), arena, &about, err))
        return damaged(err, "does not say of what kind it is");
    Str kind = json_get_text(about, "type", STR(""));
    if (!str_is(kind, "IVF_PQ"))
        return lance_unsupported(err, "an index is of kind '%.*s', IVF_PQ is searched here",
                                 (int)MIN(kind.len, 32), kind.data);
    if (!metric_read(json_get_text(about, "distance_type", STR("")), &model->metric, err) ||
        !ivf_buffer(file, arena, &ivf, err))
        return false;
    if (!wire_find(ivf, 4, &tensor) || !wire_find(tensor.bytes, 2, &shape) ||
        !wire_numbers(&shape, arena, &sizes, err) || sizes.len != 2 ||
        sizes.items[1] != model->dimension || sizes.items[0] == 0 ||
        sizes.items[0] > tensor.bytes.size)
        return damaged(err, "has no centroids of its column's dimension");
    model->partitions = (size_t)sizes.items[0];
    return tensor_read(tensor.bytes, model->partitions, model->dimension, arena, &model->centroids,
                       err);
}

/* storage_metadata: JSON in the JSON of a list of one text. */
static bool storage_read(const LanceFile *file, Arena *arena, IvfModel *model, bool *transposed,
                         Err *err) {
    Bytes text, words;
    const Json *list, *about;
    if (!lance_file_find_meta(file, STR("storage_metadata"), &text) ||
        !json_read(str_of(text), arena, &list, err) || list->kind != JSON_ARRAY || list->len != 1 ||
        list->items[0].kind != JSON_TEXT || !json_read(list->items[0].text, arena, &about, err))
        return damaged(err, "does not say how its codes are kept");
    int64_t sub_vectors = json_get_int(about, "num_sub_vectors", 0);
    int64_t bits = json_get_int(about, "nbits", 0), dimension = (int64_t)model->dimension;
    int64_t position = json_get_int(about, "codebook_position", 0);
    if ((bits != 8 && bits != 4) || sub_vectors <= 0 || sub_vectors > dimension ||
        dimension % sub_vectors || sub_vectors * bits % 8 ||
        sub_vectors * bits / 8 > IVF_CODE_BYTES_MAX ||
        json_get_int(about, "dimension", 0) != dimension)
        return damaged(err, "has codes of a shape that cannot be");
    if (position <= 0 || position > UINT32_MAX)
        return lance_unsupported(err, "an index keeps its code words inside its metadata");
    *transposed = json_get_flag(about, "transposed", false);
    model->sub_vectors = (size_t)sub_vectors;
    model->bits = (size_t)bits;
    return lance_file_buffer(file, (uint32_t)position, arena, &words, err) &&
           tensor_read(words, ivf_words(model), model->dimension, arena, &model->words, err);
}

static bool column_find(const LanceFile *file, Str name, size_t *column, Err *err) {
    const LanceField *field;
    for (size_t i = 0; (field = lance_file_field(file, i)) != NULL; i++)
        if (str_equal(field->name, name)) return *column = i, true;
    return damaged(err, "lacks a column");
}

static const uint8_t *codes_transpose(const uint8_t *codes, size_t rows, size_t bytes,
                                      Arena *arena) {
    uint8_t *out = arena_alloc(arena, rows * bytes);
    for (size_t i = 0; i < rows; i++)
        for (size_t b = 0; b < bytes; b++) out[b * rows + i] = codes[i * bytes + b];
    return out;
}

static bool partition_read(const LanceFile *file, const size_t columns[2], size_t bytes,
                           bool transposed, Arena *arena, uint64_t from, IvfPartition *out,
                           Err *err) {
    char text[48];
    LanceColumn column;
    snprintf(text, sizeof text, "fixed_size_list:uint8:%zu", bytes);
    LanceType ids = lance_type(STR("uint64")), codes = lance_type(str_from(text));
    if (!lance_file_read(file, columns[0], &ids, from, out->rows, arena, &column, err))
        return false;
    out->addresses = column.values;
    if (column.validity) return damaged(err, "has rows without an address");
    if (!lance_file_read(file, columns[1], &codes, from, out->rows, arena, &column, err))
        return false;
    out->codes = column.values;
    if (!transposed) out->codes = codes_transpose(out->codes, out->rows, bytes, arena);
    return true;
}

static bool partitions_read(const LanceFile *file, bool transposed, Arena *arena, IvfSegment *out,
                            Err *err) {
    Bytes ivf;
    WireField offsets, lengths;
    WireNumbers from = {0}, rows = {0};
    size_t columns[2] = {0}, count = out->model.partitions;
    uint64_t all = lance_file_rows(file);
    if (!ivf_buffer(file, arena, &ivf, err)) return false;
    if (!wire_find(ivf, 2, &offsets) || !wire_numbers(&offsets, arena, &from, err) ||
        !wire_find(ivf, 3, &lengths) || !wire_numbers(&lengths, arena, &rows, err) ||
        from.len != count || rows.len != count)
        return damaged(err, "has other partitions than centroids");
    if (!column_find(file, STR("_rowid"), &columns[0], err) ||
        !column_find(file, STR("__pq_code"), &columns[1], err))
        return false;
    if (all / ROWS_PER_BYTE_MAX > lance_file_size(file))
        return damaged(err, "claims more rows than its file can hold");
    out->partitions = arena_array(arena, IvfPartition, count);
    for (size_t p = 0; p < count; p++) {
        if (from.items[p] > all || rows.items[p] > all - from.items[p] ||
            rows.items[p] > all - out->rows)
            return damaged(err, "has partitions beyond its rows");
        out->partitions[p].rows = (size_t)rows.items[p];
        out->partitions[p].first = out->rows;
        out->rows += (size_t)rows.items[p];
        if (!partition_read(file, columns, ivf_code_bytes(&out->model), transposed, arena,
                            from.items[p], &out->partitions[p], err))
            return false;
    }
    return true;
}

/* Constants. */

/* What each code word adds: |w|^2 + 2 c.w. */
static void partition_tables(const IvfSegment *segment, const float *centroid, float *tables) {
    const IvfModel *model = &segment->model;
    size_t width = ivf_width(model), words = ivf_words(model);
    float dots[CODE_VALUES];
    for (size_t m = 0; m < model->sub_vectors; m++) {
        const Panel *panel = &segment->words[m];
        pq_kernels()->dots(centroid + m * width, panel, dots);
        for (size_t w = 0; w < words; w++) tables[m * words + w] = 2 * (panel->half[w] + dots[w]);
    }
}

static void partition_constants(const IvfSegment *segment, const IvfPartition *partition,
                                const float *tables, float *out) {
    const IvfModel *model = &segment->model;
    size_t words = ivf_words(model), rows = partition->rows;
    memset(out, 0, rows * sizeof *out);
    for (size_t m = 0; m < model->sub_vectors; m++) {
        const uint8_t *codes = partition->codes + m * model->bits / 8 * rows;
        const float *table = tables + m * words;
        unsigned shift = model->bits == 4 && m % 2 ? 4 : 0, mask = (unsigned)words - 1;
        for (size_t i = 0; i < rows; i++) out[i] += table[codes[i] >> shift & mask];
    }
}

static void constants_make(void *context, size_t from, size_t to) {
    IvfSegment *segment = context;
    OWNED(arena_close) Arena arena = {0};
    const IvfModel *model = &segment->model;
    float *tables = arena_array(&arena, float, model->sub_vectors *ivf_words(model));
    for (size_t p = from; p < to; p++) {
        const IvfPartition *partition = &segment->partitions[p];
        if (partition->rows == 0) continue;
        partition_tables(segment, model->centroids + p * model->dimension, tables);
        partition_constants(segment, partition, tables, segment->constants + partition->first);
    }
}

static void panels_pack(IvfSegment *segment, Arena *arena) {
    const IvfModel *model = &segment->model;
    size_t width = ivf_width(model), words = ivf_words(model);
    PanelKind kind = model->metric == LANCE_DOT ? PANEL_DOT : PANEL_DISTANCE;
    panel_pack(model->centroids, model->dimension, model->partitions, model->dimension, kind, arena,
               &segment->centroids);
    segment->words = arena_array(arena, Panel, model->sub_vectors);
    for (size_t m = 0; m < model->sub_vectors; m++)
        panel_pack(model->words + m * words * width, width, words, width, PANEL_DISTANCE, arena,
                   &segment->words[m]);
}

static void segment_ready(IvfSegment *segment) {
    panels_pack(segment, &segment->arena);
    segment->constants = arena_array(&segment->arena, float, segment->rows + 16);
    if (segment->model.metric != LANCE_DOT)
        parallel_for(parallel_threads(), segment->model.partitions, 4, constants_make, segment);
}

bool segment_read(const LanceFile *index, const LanceFile *auxiliary, size_t dimension,
                  IvfSegment *out, Err *err) {
    Arena *arena = &out->arena;
    bool transposed = false;
    out->model.dimension = dimension;
    if (!index_file_read(index, arena, &out->model, err) ||
        !storage_read(auxiliary, arena, &out->model, &transposed, err) ||
        !partitions_read(auxiliary, transposed, arena, out, err))
        return false;
    segment_ready(out);
    return true;
}

static bool segment_files(Store *store, Str path, const LanceIndex *index, Arena *arena,
                          LanceFile **points, LanceFile **rows, Err *err) {
    uint64_t sizes[2] = {0};
    const Str names[] = {STR(IVF_INDEX_NAME), STR(IVF_AUXILIARY_NAME)};
    for (size_t i = 0; i < index->file_count; i++)
        for (size_t k = 0; k < 2; k++)
            if (str_equal(index->files[i].path, names[k])) sizes[k] = index->files[i].size;
    return lance_file_open(store, index_key(path, index->uuid, names[0], arena), sizes[0], points,
                           err) &&
           lance_file_open(store, index_key(path, index->uuid, names[1], arena), sizes[1], rows,
                           err);
}

bool segment_open(Store *store, Str path, const LanceIndex *index, size_t dimension,
                  IvfSegment **out, Err *err) {
    OWNED(lance_file_close) LanceFile *points = NULL;
    OWNED(segment_release) IvfSegment *segment = calloc(1, sizeof *segment);
    if (!segment) abort();
    segment->holders = 1;
    memcpy(segment->uuid, index->uuid, sizeof segment->uuid);
    if (!segment_files(store, path, index, &segment->arena, &points, &segment->file, err) ||
        !segment_read(points, segment->file, dimension, segment, err))
        return err_while(err, "index '%.*s'", SHOW(index->name));
    *out = TAKE(segment);
    return true;
}

static void partitions_fill(IvfSegment *segment, const IvfCodes *codes) {
    size_t bytes = ivf_code_bytes(&segment->model), count = segment->model.partitions;
    size_t *filled = arena_array(&segment->arena, size_t, count);
    segment->partitions = arena_array(&segment->arena, IvfPartition, count);
    for (size_t i = 0; i < codes->rows; i++) segment->partitions[codes->partitions[i]].rows++;
    for (size_t p = 0; p < count; p++) {
        IvfPartition *partition = &segment->partitions[p];
        partition->first = segment->rows;
        partition->addresses = arena_array(&segment->arena, uint64_t, partition->rows);
        partition->codes = arena_alloc(&segment->arena, partition->rows * bytes);
        segment->rows += partition->rows;
    }
    for (size_t i = 0; i < codes->rows; i++) {
        IvfPartition *partition = &segment->partitions[codes->partitions[i]];
        size_t at = filled[codes->partitions[i]]++;
        ((uint64_t *)(uintptr_t)partition->addresses)[at] = codes->addresses[i];
        for (size_t b = 0; b < bytes; b++)
            ((uint8_t *)(uintptr_t)partition->codes)[b * partition->rows + at] =
                codes->codes[i * bytes + b];
    }
}

static float *floats_copy(Arena *arena, const float *from, size_t count) {
    return memcpy(arena_array(arena, float, count), from, count * sizeof *from);
}

void segment_of_codes(const IvfModel *model, const IvfCodes *codes, IvfSegment **out) {
    IvfSegment *segment = calloc(1, sizeof *segment);
    if (!segment) abort();
    segment->holders = 1;
    segment->model = *model;
    segment->model.centroids =
        floats_copy(&segment->arena, model->centroids, model->partitions * model->dimension);
    segment->model.words =
        floats_copy(&segment->arena, model->words, ivf_words(model) * model->dimension);
    partitions_fill(segment, codes);
    segment_ready(segment);
    *out = segment;
}

IvfSegment *segment_hold(IvfSegment *segment) {
    __atomic_add_fetch(&segment->holders, 1, __ATOMIC_RELAXED);
    return segment;
}

void segment_release(IvfSegment **out) {
    IvfSegment *segment = *out;
    *out = NULL;
    if (!segment || __atomic_sub_fetch(&segment->holders, 1, __ATOMIC_ACQ_REL) > 0) return;
    lance_file_close(&segment->file);
    arena_close(&segment->arena);
    free(segment);
}

size_t segment_bytes(const IvfSegment *segment) {
    return segment->arena.size_total;
}
