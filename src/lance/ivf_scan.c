/* See ivf_scan.h, and ivf_segment.h for the sum that a distance is. */
#include "lance/ivf_scan.h"

#include <assert.h>
#include <math.h>

#define TABLE_MOST 255

/* The third part of a distance: what each byte of a code adds to q.w. */
typedef struct Tables {
    uint8_t *bytes; /* CODE_VALUES a byte of the code, 64-aligned */
    float least;    /* of all of them together: what sums of 0 stand for */
    float step;
} Tables;

static float *byte_values(const IvfSegment *segment, const float *query, Arena *arena) {
    const IvfModel *model = &segment->model;
    size_t width = ivf_width(model), bytes = ivf_code_bytes(model);
    float *out = arena_array(arena, float, bytes *CODE_VALUES);
    float pair[2][PANEL_COLUMNS]; /* of 4 bits: 16 code words */
    for (size_t b = 0; b < bytes; b++) {
        float *values = out + b * CODE_VALUES;
        if (model->bits == 8) {
            pq_kernels()->dots(query + b * width, &segment->words[b], values);
            continue;
        }
        for (size_t i = 0; i < 2; i++)
            pq_kernels()->dots(query + (2 * b + i) * width, &segment->words[2 * b + i], pair[i]);
        for (size_t code = 0; code < CODE_VALUES; code++)
            values[code] = pair[0][code & 15] + pair[1][code >> 4];
    }
    return out;
}

/* One step for all tables, for their bytes are added up; no sum of them passes 16 bits. */
static Tables tables_make(const IvfSegment *segment, const float *query, Arena *arena) {
    size_t bytes = ivf_code_bytes(&segment->model);
    float *values = byte_values(segment, query, arena), widest = 0, most;
    float *least = arena_array(arena, float, bytes);
    uintptr_t room = (uintptr_t)arena_alloc(arena, bytes * CODE_VALUES + 64);
    Tables tables = {.bytes = (uint8_t *)((room + 63) / 64 * 64)};
    for (size_t b = 0; b < bytes; b++) {
        pq_kernels()->range(values + b * CODE_VALUES, CODE_VALUES, &least[b], &most);
        widest = MAX(widest, most - least[b]);
        tables.least += least[b];
    }
    assert(bytes > 0);
    float levels = (float)MIN((size_t)TABLE_MOST, UINT16_MAX / bytes);
    tables.step = widest > 0 ? widest / levels : 1;
    for (size_t b = 0; b < bytes; b++)
        pq_kernels()->narrow(values + b * CODE_VALUES, CODE_VALUES, least[b], 1 / tables.step,
                             tables.bytes + b * CODE_VALUES);
    return tables;
}

bool row_allowed(const LanceSearchOptions *options, uint64_t address) {
    if (options->allows && !options->allows(options->context, address)) return false;
    if (!options->allowed) return true;
    size_t low = 0, high = options->allowed_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (options->allowed[middle] < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < options->allowed_count && options->allowed[low] == address;
}

static bool row_counts(const RowFilter *filter, uint64_t address) {
    const VectorColumn *vectors = filter->view->vectors;
    const VectorFragment *fragment = vector_column_fragment(vectors, address >> 32);
    if (!fragment || filter->view->owner[fragment - vectors->fragments] != filter->segment)
        return false;
    uint64_t offset = address & UINT32_MAX;
    return offset < fragment->rows && !set_has(fragment->deleted, offset) &&
           row_allowed(filter->options, address);
}

/* `base`: the first part of the distance, and what the tables leave out of the third. */
static size_t partition_scan(const IvfScan *scan, const Tables *tables,
                             const IvfPartition *partition, float base) {
    const IvfSegment *segment = scan->segment;
    size_t bytes = ivf_code_bytes(&segment->model), found = 0;
    float scale = tables->step * (segment->model.metric == LANCE_DOT ? 1 : 2);
    uint16_t sums[SCAN_ROWS];
    float distances[SCAN_ROWS + BELOW_ROOM];
    uint32_t numbers[SCAN_ROWS + BELOW_ROOM];
    for (size_t row = 0; row < partition->rows; row += SCAN_ROWS) {
        size_t count = MIN((size_t)SCAN_ROWS, partition->rows - row);
        pq_kernels()->sums(partition->codes + row, partition->rows, count, bytes, tables->bytes,
                           sums);
        size_t near = pq_kernels()->below(segment->constants + partition->first + row, sums, count,
                                          base, scale, scan->nearest->limit, distances, numbers);
        for (size_t i = 0; i < near; i++) {
            size_t at = row + numbers[i];
            if (!scan->filter.none && !row_counts(&scan->filter, partition->addresses[at]))
                continue;
            nearest_add(scan->nearest, distances[i],
                        scan->base + (uint32_t)(partition->first + at));
            found++;
        }
    }
    return found;
}

/* All partitions, the nearest `nprobes` of them first and in order. */
static uint64_t *partitions_rank(const IvfScan *scan, float *dots, Arena *arena) {
    const Panel *panel = &scan->segment->centroids;
    uint64_t *keys = arena_array(arena, uint64_t, panel->points);
    pq_kernels()->dots(scan->query, panel, dots);
    for (size_t p = 0; p < panel->points; p++)
        keys[p] = near_key(panel->half[p] - dots[p], (uint32_t)p);
    keys_select(keys, panel->points, scan->nprobes);
    keys_sort(keys, scan->nprobes);
    return keys;
}

void ivf_scan(const IvfScan *scan, Arena *arena) {
    const IvfSegment *segment = scan->segment;
    const IvfModel *model = &segment->model;
    IvfScan bounded = *scan;
    size_t found = 0;
    if (segment->rows == 0) return;
    bounded.nprobes = MIN(scan->nprobes, model->partitions);
    bool dot = model->metric == LANCE_DOT;
    float *dots = arena_array(arena, float, segment->centroids.groups *PANEL_COLUMNS);
    float length = pq_kernels()->dot(scan->query, scan->query, model->dimension);
    Tables tables = tables_make(segment, scan->query, arena);
    uint64_t *ranked = partitions_rank(&bounded, dots, arena);
    for (size_t i = 0; i < model->partitions; i++) {
        if (i == bounded.nprobes) {
            if (found >= scan->least) return;
            keys_sort(ranked + i, model->partitions - i);
        } else if (i > bounded.nprobes && found >= scan->least) {
            return;
        }
        uint32_t p = (uint32_t)ranked[i];
        float base = dot ? 1 - tables.least
                         : length + 2 * (segment->centroids.half[p] - dots[p]) - 2 * tables.least;
        found += partition_scan(&bounded, &tables, &segment->partitions[p], base);
    }
}

const IvfPartition *ivf_partition_of(const IvfSegment *segment, size_t row) {
    size_t low = 0, high = segment->model.partitions - 1;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (segment->partitions[middle].first <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return &segment->partitions[low];
}

float ivf_code_distance(const IvfSegment *segment, const float *query, size_t row) {
    const IvfModel *model = &segment->model;
    const IvfPartition *partition = ivf_partition_of(segment, row);
    size_t width = ivf_width(model), words = ivf_words(model), at = row - partition->first;
    const float *centroid =
        model->centroids + (size_t)(partition - segment->partitions) * model->dimension;
    bool dot = model->metric == LANCE_DOT;
    double distance = dot ? 1 : 0;
    for (size_t m = 0; m < model->sub_vectors; m++) {
        uint8_t byte = partition->codes[m * model->bits / 8 * partition->rows + at];
        unsigned word = model->bits == 8 ? byte : byte >> (m % 2 * 4) & 15;
        const float *values = model->words + (m * words + word) * width;
        for (size_t i = 0; i < width; i++) {
            double q = query[m * width + i], c = centroid[m * width + i], w = values[i];
            distance += dot ? -q * w : (q - c - w) * (q - c - w);
        }
    }
    return (float)distance;
}
