/* Rows as partition and code: see ivf.h. A thread takes a few hundred rows at a time, from the file
 * to their codes, while they are in its cache. */
#include "lance/ivf.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_ROWS 384 /* a multiple of CHUNK_ROWS: a megabyte of 768 floats */

/* Rows [from, from + count) of a fragment; `first` is where the first of them goes. */
typedef struct Piece {
    const VectorFragment *fragment;
    uint64_t from;
    size_t count, first;
} Piece;

typedef struct Encoding {
    const VectorColumn *vectors;
    const IvfModel *model;
    const LanceWatch *watch;
    Panel centroids, *words; /* one a sub-vector */
    Piece *pieces;
    size_t piece_count;
    IvfCodes *out;
    uint8_t *sound;       /* which of the rows are indexed */
    pthread_mutex_t lock; /* of the two below, and of the watch */
    size_t done;
    Err err;
    atomic_bool failed;
} Encoding;

void ivf_codes_close(IvfCodes *codes) {
    free(codes->addresses);
    free(codes->partitions);
    free(codes->codes);
    *codes = (IvfCodes){0};
}

static void *room(size_t size) {
    void *memory = malloc(size + 64);
    if (!memory) abort();
    return memory;
}

static void code_put(const IvfModel *model, size_t sub_vector, uint32_t word, uint8_t *code) {
    if (model->bits == 8)
        code[sub_vector] = (uint8_t)word;
    else
        code[sub_vector / 2] |= (uint8_t)(word << (sub_vector % 2 * 4));
}

/* Residuals are made in place. */
static void chunk_encode(Encoding *e, float *rows, size_t count, uint32_t *partitions,
                         uint8_t *codes) {
    const IvfModel *model = e->model;
    size_t n = model->dimension, width = ivf_width(model), bytes = ivf_code_bytes(model);
    float scores[CHUNK_ROWS];
    uint32_t words[CHUNK_ROWS];
    pq_kernels()->nearest(rows, n, count, &e->centroids, partitions, scores);
    for (size_t i = 0; i < count && model->metric != LANCE_DOT; i++) {
        const float *centroid = model->centroids + partitions[i] * n;
        for (size_t k = 0; k < n; k++) rows[i * n + k] -= centroid[k];
    }
    memset(codes, 0, count * bytes);
    for (size_t m = 0; m < model->sub_vectors; m++) {
        pq_kernels()->nearest(rows + m * width, n, count, &e->words[m], words, scores);
        for (size_t i = 0; i < count; i++) code_put(model, m, words[i], codes + i * bytes);
    }
}

/* A copy with what cannot be compared as zeros. */
static bool piece_load(Encoding *e, const Piece *piece, Arena *arena, float *rows, Err *err) {
    LanceColumn column;
    size_t n = e->model->dimension;
    bool cosine = e->model->metric == LANCE_COSINE;
    if (!vector_column_read(piece->fragment, piece->from, piece->count, arena, &column, err))
        return false;
    const float *values = column.values;
    for (size_t i = 0; i < piece->count; i++) {
        const float *from = values + i * n;
        float length = pq_kernels()->dot(from, from, n), *to = rows + i * n;
        bool sound = !set_has(piece->fragment->deleted, piece->from + i) &&
                     !vector_is_null(&column, i, n) && vector_is_sound(from, n, e->model->metric);
        float scale = cosine ? 1 / __builtin_sqrtf(length) : 1;
        e->sound[piece->first + i] = sound;
        for (size_t k = 0; k < n; k++) to[k] = sound ? from[k] * scale : 0;
    }
    return true;
}

static bool piece_encode(Encoding *e, const Piece *piece, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    size_t n = e->model->dimension, bytes = ivf_code_bytes(e->model);
    float *rows = arena_array(&arena, float, piece->count *n);
    if (!piece_load(e, piece, &arena, rows, err)) return false;
    for (size_t i = 0; i < piece->count; i += CHUNK_ROWS) {
        size_t at = piece->first + i;
        chunk_encode(e, rows + i * n, MIN((size_t)CHUNK_ROWS, piece->count - i),
                     e->out->partitions + at, e->out->codes + at * bytes);
    }
    for (size_t i = 0; i < piece->count; i++)
        e->out->addresses[piece->first + i] = piece->fragment->id << 32 | (piece->from + i);
    return true;
}

static bool encoding_watch(Encoding *e, Err *err) {
    pthread_mutex_lock(&e->lock);
    bool cancelled = watch_cancelled(e->watch, err);
    watch_progress(e->watch, (double)e->done++ / (double)e->piece_count);
    pthread_mutex_unlock(&e->lock);
    return !cancelled;
}

static void pieces_encode(void *context, size_t from, size_t to) {
    Encoding *e = context;
    Err err = {0};
    for (size_t i = from; i < to && !e->failed; i++)
        if ((!encoding_watch(e, &err) || !piece_encode(e, &e->pieces[i], &err)) &&
            !atomic_exchange(&e->failed, true))
            e->err = err;
}

static void pieces_plan(Encoding *e, const size_t *fragments, size_t count, Arena *arena) {
    size_t pieces = 0;
    for (size_t f = 0; f < count; f++)
        pieces += (size_t)(e->vectors->fragments[fragments[f]].rows / PIECE_ROWS + 1);
    e->pieces = arena_array(arena, Piece, pieces);
    for (size_t f = 0; f < count; f++) {
        const VectorFragment *fragment = &e->vectors->fragments[fragments[f]];
        for (uint64_t at = 0; at < fragment->rows; at += PIECE_ROWS) {
            size_t rows = (size_t)MIN((uint64_t)PIECE_ROWS, fragment->rows - at);
            e->pieces[e->piece_count++] = (Piece){fragment, at, rows, e->out->rows};
            e->out->rows += rows;
        }
    }
}

/* Rows that are not indexed go out. */
static void codes_close_up(Encoding *e) {
    IvfCodes *codes = e->out;
    size_t bytes = ivf_code_bytes(e->model), kept = 0;
    for (size_t i = 0; i < codes->rows; i++) {
        if (!e->sound[i]) continue;
        codes->addresses[kept] = codes->addresses[i];
        codes->partitions[kept] = codes->partitions[i];
        if (kept < i) memcpy(codes->codes + kept * bytes, codes->codes + i * bytes, bytes);
        kept++;
    }
    codes->rows = kept;
}

bool ivf_encode(const VectorColumn *vectors, const size_t *fragments, size_t count,
                const IvfModel *model, int threads, const LanceWatch *watch, IvfCodes *out,
                Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(ivf_codes_close) IvfCodes codes = {0};
    Encoding e = {.vectors = vectors,
                  .model = model,
                  .watch = watch,
                  .out = &codes,
                  .lock = PTHREAD_MUTEX_INITIALIZER};
    size_t width = ivf_width(model);
    panel_pack(model->centroids, model->dimension, model->partitions, model->dimension,
               PANEL_DISTANCE, &arena, &e.centroids);
    e.words = arena_array(&arena, Panel, model->sub_vectors);
    for (size_t m = 0; m < model->sub_vectors; m++)
        panel_pack(model->words + m * ivf_words(model) * width, width, ivf_words(model), width,
                   PANEL_DISTANCE, &arena, &e.words[m]);
    pieces_plan(&e, fragments, count, &arena);
    codes.addresses = room(codes.rows * sizeof *codes.addresses);
    codes.partitions = room(codes.rows * sizeof *codes.partitions);
    codes.codes = room(codes.rows * ivf_code_bytes(model));
    e.sound = arena_alloc(&arena, codes.rows + 1);
    parallel_for(threads, e.piece_count, 1, pieces_encode, &e);
    if (e.failed) return *err = e.err, false;
    codes_close_up(&e);
    *out = codes;
    codes = (IvfCodes){0};
    return true;
}
