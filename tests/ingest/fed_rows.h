/* A feed that keeps what a source gives as text, or only counts it: for comparing values with what
 * another client of the same server prints, and for measuring a source without its sink. It stands
 * in for query/feed.c, whose functions it defines: a program has the one or the other. */
#pragma once

#include "ingest/source.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct BatchVector {
    Type type;
    bool valid[FEED_BATCH_ROWS];
    __int128 values[FEED_BATCH_ROWS]; /* of whatever C type */
    Str bytes[FEED_BATCH_ROWS];
    Arena *arena; /* of the batch, for bytes */
};
struct RowBatch {
    BatchVector *vectors;
    size_t count;
    Arena arena; /* of the bytes */
    RowBatch *next;
};
struct RowFeed {
    const Source *source;
    bool keep;   /* the rows, as text */
    bool refuse; /* as a feed whose writing failed */
    void (*each)(void *context, const RowBatch *batch, size_t rows); /* under the lock; or NULL */
    void *context;
    pthread_mutex_t lock;
    Arena arena;
    Str **rows; /* kept; a NULL's data is NULL */
    size_t row_count, row_cap;
    int64_t batches, given;
    RowBatch *idle;
};

static inline RowFeed *fed_open(const Source *source, bool keep) {
    RowFeed *feed = calloc(1, sizeof *feed);
    if (!feed) abort();
    feed->source = source;
    feed->keep = keep;
    pthread_mutex_init(&feed->lock, NULL);
    return feed;
}

static inline void fed_close(RowFeed **feed) {
    if (!*feed) return;
    while ((*feed)->idle) {
        RowBatch *batch = (*feed)->idle;
        (*feed)->idle = batch->next;
        arena_close(&batch->arena);
        free(batch->vectors);
        free(batch);
    }
    free((*feed)->rows);
    arena_close(&(*feed)->arena);
    pthread_mutex_destroy(&(*feed)->lock);
    free(*feed);
    *feed = NULL;
}

static inline RowBatch *fed_batch_new(const Source *source) {
    RowBatch *batch = calloc(1, sizeof *batch);
    if (!batch) abort();
    batch->count = source->column_count;
    batch->vectors = calloc(batch->count, sizeof *batch->vectors);
    if (!batch->vectors) abort();
    for (size_t i = 0; i < batch->count; i++) {
        batch->vectors[i].type = source->columns[i].type;
        batch->vectors[i].arena = &batch->arena;
    }
    return batch;
}

RowBatch *feed_take(RowFeed *feed) {
    pthread_mutex_lock(&feed->lock);
    RowBatch *batch = feed->idle;
    bool refuse = feed->refuse;
    if (batch && !refuse) feed->idle = batch->next;
    pthread_mutex_unlock(&feed->lock);
    if (refuse) return NULL;
    if (!batch) return fed_batch_new(feed->source);
    for (size_t i = 0; i < batch->count; i++)
        memset(batch->vectors[i].valid, 0, sizeof batch->vectors[i].valid);
    return batch;
}

size_t batch_capacity(const RowBatch *batch) {
    (void)batch;
    return FEED_BATCH_ROWS;
}
BatchVector *batch_vector(RowBatch *batch, size_t column) {
    return &batch->vectors[column];
}
void *vector_values(BatchVector *vector) {
    return vector->values;
}
void vector_set_valid(BatchVector *vector, size_t row) {
    vector->valid[row] = true;
}
void vector_bytes(BatchVector *vector, size_t row, Str value) {
    vector->bytes[row] = arena_copy(vector->arena, value);
    vector->valid[row] = true;
}

static inline Str fed_decimal(__int128 value, int scale, Arena *arena) {
    char digits[64];
    size_t at = sizeof digits;
    unsigned __int128 rest = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    for (int i = 0; rest || i <= scale; i++) {
        if (i == scale && scale) digits[--at] = '.';
        digits[--at] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    }
    if (value < 0) digits[--at] = '-';
    return arena_copy(arena, (Str){digits + at, sizeof digits - at});
}

static inline __int128 fed_integer(const BatchVector *vector, size_t row) {
    const Type *type = &vector->type;
    const void *values = vector->values;
    int precision = type->kind == TYPE_DECIMAL ? type->precision : 18;
    if (type->kind == TYPE_BOOLEAN) return ((const uint8_t *)values)[row];
    if (type->kind == TYPE_INT || type->kind == TYPE_DATE) return ((const int32_t *)values)[row];
    if (precision <= 4) return ((const int16_t *)values)[row];
    if (precision <= 9) return ((const int32_t *)values)[row];
    if (precision <= 18 && type->kind != TYPE_UUID) return ((const int64_t *)values)[row];
    return vector->values[row];
}

/* Source: H. Hinnant, civil_from_days. */
static inline Str fed_moment(int64_t days, int64_t us, bool has_date, bool has_time, Arena *arena) {
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int day = (int)(doy - (153 * mp + 2) / 5 + 1), month = (int)(mp < 10 ? mp + 3 : mp - 9);
    int year = (int)(yoe + era * 400 + (month <= 2));
    Str date = has_date ? arena_print(arena, "%04d-%02d-%02d", year, month, day) : (Str){"", 0};
    if (!has_time) return date;
    int64_t s = us / 1000000;
    return arena_print(arena, "%.*s%s%02d:%02d:%02d.%06d", SHOW(date), has_date ? " " : "",
                       (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60), (int)(us % 1000000));
}

static inline Str fed_uuid(unsigned __int128 value, Arena *arena) {
    value ^= (unsigned __int128)1 << 127;
    uint64_t high = (uint64_t)(value >> 64), low = (uint64_t)value;
    return arena_print(arena, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32),
                       (unsigned)(high >> 16) & 0xffff, (unsigned)high & 0xffff,
                       (unsigned)(low >> 48), (unsigned long long)low & 0xffffffffffff);
}

static inline Str fed_hex(Str bytes, Arena *arena) {
    char *out = arena_alloc(arena, bytes.len * 2 + 1);
    for (size_t i = 0; i < bytes.len; i++)
        snprintf(out + 2 * i, 3, "%02X", (unsigned char)bytes.data[i]);
    return (Str){out, bytes.len * 2};
}

/* A value as text: times with six digits, floats with as many as they have, bytes in hexadecimal.
 */
static inline Str fed_text(const BatchVector *vector, size_t row, Arena *arena) {
    int64_t us, day = 86400000000LL;
    if (!vector->valid[row]) return (Str){0};
    switch (vector->type.kind) {
    case TYPE_FLOAT:
        return arena_print(arena, "%.9g",
                           (double)((const float *)(const void *)vector->values)[row]);
    case TYPE_DOUBLE:
        return arena_print(arena, "%.17g", ((const double *)(const void *)vector->values)[row]);
    case TYPE_DECIMAL:
        return fed_decimal(fed_integer(vector, row), vector->type.scale, arena);
    case TYPE_DATE:
        return fed_moment((int64_t)fed_integer(vector, row), 0, true, false, arena);
    case TYPE_TIME:
        return fed_moment(0, (int64_t)fed_integer(vector, row), false, true, arena);
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        us = (int64_t)fed_integer(vector, row);
        return fed_moment((us - ((us % day + day) % day)) / day, (us % day + day) % day, true, true,
                          arena);
    case TYPE_UUID:
        return fed_uuid((unsigned __int128)vector->values[row], arena);
    case TYPE_STRING:
        return arena_copy(arena, vector->bytes[row]);
    case TYPE_BINARY:
        return fed_hex(vector->bytes[row], arena);
    default:
        return fed_decimal(fed_integer(vector, row), 0, arena);
    }
}

static inline void fed_keep(RowFeed *feed, const RowBatch *batch, size_t rows) {
    for (size_t i = 0; i < rows; i++) {
        if (feed->row_count == feed->row_cap) {
            feed->row_cap = MAX(feed->row_cap * 2, 1024);
            feed->rows = realloc(feed->rows, feed->row_cap * sizeof *feed->rows);
            if (!feed->rows) abort();
        }
        Str *cells = arena_array(&feed->arena, Str, batch->count);
        for (size_t c = 0; c < batch->count; c++)
            cells[c] = fed_text(&batch->vectors[c], i, &feed->arena);
        feed->rows[feed->row_count++] = cells;
    }
}

void feed_give(RowFeed *feed, RowBatch *batch, size_t rows) {
    pthread_mutex_lock(&feed->lock);
    if (feed->keep) fed_keep(feed, batch, rows);
    if (feed->each) feed->each(feed->context, batch, rows);
    feed->batches += rows > 0;
    feed->given += (int64_t)rows;
    arena_close(&batch->arena);
    batch->next = feed->idle;
    feed->idle = batch;
    pthread_mutex_unlock(&feed->lock);
}
