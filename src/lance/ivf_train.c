/* Centroids and code words, from a sample of the rows: see ivf.h.
 *
 * SAMPLE_PER_POINT rows a centroid are plenty for means of some hundred dimensions: with 64, 128
 * and 256 recall differed by less than a thousandth (bench/lance.mjs). Code words are trained one
 * sub-vector a thread, on residuals of the first WORD_ROWS rows of the same sample. */
#include "lance/ivf.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_PER_POINT 64
#define SAMPLE_LEAST 16384
#define WORD_ROWS_PER_POINT 64
#define SHARE_CENTROIDS 0.5 /* of the training's time, about */
#define SEED 0x1f5bd1e995u

typedef struct Sample {
    const IvfTraining *training;
    const IvfModel *model;
    uint32_t *positions; /* among all rows of the table, in random order */
    float *rows;
    uint8_t *sound;
    size_t count;
    atomic_bool failed;
    Err err; /* of whoever failed first */
} Sample;

const char *const lance_metric_names[] = {"cosine", "l2", "dot"};

static const VectorFragment *fragment_at(const VectorColumn *vectors, uint64_t position) {
    size_t low = 0, high = vectors->fragment_count - 1;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (vectors->fragments[middle].base <= position)
            low = middle;
        else
            high = middle - 1;
    }
    return &vectors->fragments[low];
}

/* As many of the rows that are left, each equally likely, in random order. */
static void positions_draw(Sample *sample, size_t most, Arena *arena) {
    const VectorColumn *vectors = sample->training->vectors;
    uint32_t *all = arena_array(arena, uint32_t, vectors->rows);
    uint64_t count = 0, state = SEED;
    for (size_t f = 0; f < vectors->fragment_count; f++) {
        const VectorFragment *fragment = &vectors->fragments[f];
        for (uint64_t i = 0; i < fragment->rows; i++)
            if (!set_has(fragment->deleted, i)) all[count++] = (uint32_t)(fragment->base + i);
    }
    sample->count = (size_t)MIN(count, (uint64_t)most);
    for (size_t i = 0; i < sample->count; i++) {
        uint64_t other = i + random_next(&state) % (count - i);
        uint32_t drawn = all[other];
        all[other] = all[i];
        all[i] = drawn;
    }
    sample->positions = all;
}

static void unit_length(float *vector, size_t dimension) {
    float length = pq_kernels()->dot(vector, vector, dimension);
    float scale = 1 / __builtin_sqrtf(length);
    for (size_t i = 0; i < dimension; i++) vector[i] *= scale;
}

static bool sample_row(Sample *sample, size_t i, Arena *arena, Err *err) {
    const VectorColumn *vectors = sample->training->vectors;
    const VectorFragment *fragment = fragment_at(vectors, sample->positions[i]);
    const float *from;
    float *to = sample->rows + i * vectors->dimension;
    if (!vector_column_row(vectors, fragment, sample->positions[i] - fragment->base, arena, &from,
                           err))
        return false;
    sample->sound[i] = from && vector_is_sound(from, vectors->dimension, sample->model->metric);
    if (!sample->sound[i]) return true;
    memcpy(to, from, vectors->dimension * sizeof *to);
    if (sample->model->metric == LANCE_COSINE) unit_length(to, vectors->dimension);
    return true;
}

static void sample_read(void *context, size_t from, size_t to) {
    Sample *sample = context;
    OWNED(arena_close) Arena arena = {0};
    Err err = {0};
    for (size_t i = from; i < to && !sample->failed; i++)
        if (!sample_row(sample, i, &arena, &err) && !atomic_exchange(&sample->failed, true))
            sample->err = err;
}

static bool sample_take(Sample *sample, size_t most, Arena *arena, Err *err) {
    size_t n = sample->training->vectors->dimension, sound = 0;
    positions_draw(sample, most, arena);
    sample->rows = arena_array(arena, float, sample->count *n);
    sample->sound = arena_alloc(arena, sample->count + 1);
    parallel_for(sample->training->threads, sample->count, 256, sample_read, sample);
    if (sample->failed) return *err = sample->err, false;
    for (size_t i = 0; i < sample->count; i++) {
        if (!sample->sound[i]) continue;
        if (sound < i) memcpy(sample->rows + sound * n, sample->rows + i * n, n * sizeof(float));
        sound++;
    }
    sample->count = sound;
    return sound > 0 || err_code(err, LH_IMPOSSIBLE, "lance_nothing_to_index",
                                 "there is no vector to index in column '%.*s'",
                                 SHOW(sample->training->vectors->field->name));
}

/* Residuals. */

typedef struct Residuals {
    Sample *sample;
    Panel panel;
} Residuals;

static void residuals_make(void *context, size_t from, size_t to) {
    Residuals *r = context;
    size_t n = r->sample->model->dimension;
    for (size_t chunk = from; chunk < to; chunk++) {
        size_t row = chunk * CHUNK_ROWS, count = MIN((size_t)CHUNK_ROWS, r->sample->count - row);
        uint32_t nearest[CHUNK_ROWS];
        float scores[CHUNK_ROWS], *rows = r->sample->rows + row * n;
        pq_kernels()->nearest(rows, n, count, &r->panel, nearest, scores);
        for (size_t i = 0; i < count; i++) {
            const float *centroid = r->sample->model->centroids + nearest[i] * n;
            for (size_t k = 0; k < n; k++) rows[i * n + k] -= centroid[k];
        }
    }
}

static void sample_to_residuals(Sample *sample, Arena *arena) {
    Residuals residuals = {.sample = sample};
    const IvfModel *model = sample->model;
    if (model->metric == LANCE_DOT) return; /* codes are of the vectors themselves */
    panel_pack(model->centroids, model->dimension, model->partitions, model->dimension,
               PANEL_DISTANCE, arena, &residuals.panel);
    parallel_for(sample->training->threads, (sample->count + CHUNK_ROWS - 1) / CHUNK_ROWS, 4,
                 residuals_make, &residuals);
}

/* Code words. */

typedef struct Words {
    Sample *sample;
    float *out;
    size_t done; /* under `lock`, and so is the watch */
    pthread_mutex_t lock;
} Words;

static bool words_watch(Words *words, Err *err) {
    const LanceWatch *watch = words->sample->training->watch;
    pthread_mutex_lock(&words->lock);
    bool cancelled = watch_cancelled(watch, err);
    double share = (double)words->done++ / (double)words->sample->model->sub_vectors;
    watch_progress(watch, SHARE_CENTROIDS + (1 - SHARE_CENTROIDS) * share);
    pthread_mutex_unlock(&words->lock);
    return !cancelled;
}

/* The sub-vector's floats beside each other, so that they stay in cache over all steps. */
static bool words_of(Words *words, size_t sub_vector, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Sample *sample = words->sample;
    const IvfModel *model = sample->model;
    size_t width = ivf_width(model), count = ivf_words(model);
    float *rows = arena_array(&arena, float, sample->count *width);
    for (size_t i = 0; i < sample->count; i++)
        memcpy(rows + i * width, sample->rows + i * model->dimension + sub_vector * width,
               width * sizeof *rows);
    KmeansOptions options = {.rows = sample->count,
                             .stride = width,
                             .dimensions = width,
                             .points = count,
                             .iterations_max = sample->training->iterations_max,
                             .threads = 1};
    return words_watch(words, err) &&
           kmeans_train(rows, &options, words->out + sub_vector * count * width, err);
}

static void words_train(void *context, size_t from, size_t to) {
    Words *words = context;
    Err err = {0};
    for (size_t m = from; m < to && !words->sample->failed; m++)
        if (!words_of(words, m, &err) && !atomic_exchange(&words->sample->failed, true))
            words->sample->err = err;
}

static bool centroids_train(Sample *sample, float *out, Err *err) {
    const IvfModel *model = sample->model;
    KmeansOptions options = {.rows = sample->count,
                             .stride = model->dimension,
                             .dimensions = model->dimension,
                             .points = model->partitions,
                             .iterations_max = sample->training->iterations_max,
                             .threads = sample->training->threads,
                             .watch = sample->training->watch};
    return kmeans_train(sample->rows, &options, out, err);
}

bool ivf_train(const IvfTraining *training, Arena *arena, IvfModel *model, Err *err) {
    OWNED(arena_close) Arena scratch = {0};
    Sample sample = {.training = training, .model = model};
    Words words = {.sample = &sample, .lock = PTHREAD_MUTEX_INITIALIZER};
    size_t n = model->dimension, most = MAX(model->partitions * SAMPLE_PER_POINT, SAMPLE_LEAST);
    if (training->vectors->rows > UINT32_MAX)
        return err_set(err, LH_TOO_BIG, "an index is made of at most %u rows, not %llu", UINT32_MAX,
                       (unsigned long long)training->vectors->rows);
    if (!sample_take(&sample, most, &scratch, err)) return false;
    model->centroids = arena_array(arena, float, model->partitions *n);
    model->words = words.out = arena_array(arena, float, ivf_words(model) * n);
    if (!centroids_train(&sample, model->centroids, err)) return false;
    sample.count = MIN(sample.count, MAX(ivf_words(model) * WORD_ROWS_PER_POINT, (size_t)4096));
    sample_to_residuals(&sample, &scratch);
    parallel_for(training->threads, model->sub_vectors, 1, words_train, &words);
    return sample.failed ? (*err = sample.err, false) : true;
}
