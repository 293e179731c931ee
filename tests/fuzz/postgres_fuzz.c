/* Whatever a server may send for rows: any bytes at all, and any bytes as a value of each type
 * behind a header and a length that are right. Nothing is read beyond what came, nothing is written
 * beyond the batch, and a list is not longer than its bytes can be. */
#include "ingest/postgres.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A batch of few rows, in place of DuckDB's (query/feed.c). */
#define ROWS 4

struct BatchVector {
    uint8_t *values; /* 16 bytes a row */
    size_t rows;
    bool is_list;
    struct BatchVector *child;
};

void *vector_values(BatchVector *vector) {
    return vector->values;
}

void vector_set_valid(BatchVector *vector, size_t row) {
    assert(row < vector->rows);
}

void vector_bytes(BatchVector *vector, size_t row, Str value) {
    static volatile unsigned seen;
    assert(row < vector->rows);
    for (size_t i = 0; i < value.len; i++) seen += (unsigned char)value.data[i];
}

BatchVector *vector_list(BatchVector *vector, size_t row, size_t len, size_t *at) {
    assert(row < vector->rows && vector->is_list && len < (1 << 20));
    *at = vector->child->rows;
    vector->child->rows += len;
    vector->child->values = realloc(vector->child->values, vector->child->rows * 16 + 1);
    assert(vector->child->values);
    return vector->child;
}

#define DECIMAL(p, s)                                                                              \
    {                                                                                              \
        .decode = pg_numeric, .type = { TYPE_DECIMAL, p, s }                                       \
    }
#define LIST(of)                                                                                   \
    { .decode = pg_list, .element = &elements[of] }
#define VALUE(decoder)                                                                             \
    { .decode = decoder }

static const PgColumn elements[] = {VALUE(pg_int4), VALUE(pg_text), DECIMAL(38, 5)};
static const PgColumn columns[] = {
    VALUE(pg_bool),  VALUE(pg_int2),  VALUE(pg_int4),   VALUE(pg_int8),
    VALUE(pg_uint4), VALUE(pg_uint8), VALUE(pg_float4), VALUE(pg_float8),
    VALUE(pg_money), VALUE(pg_date),  VALUE(pg_time),   VALUE(pg_timestamp),
    VALUE(pg_uuid),  VALUE(pg_bytea), VALUE(pg_text),   VALUE(pg_bpchar),
    VALUE(pg_char),  VALUE(pg_jsonb), VALUE(pg_inet),   DECIMAL(4, 2),
    DECIMAL(9, 0),   DECIMAL(18, 18), DECIMAL(38, 10),  DECIMAL(38, 38),
    LIST(0),         LIST(1),         LIST(2)};
enum { COLUMNS = COUNT(columns) };

static void read_all(const PgColumn *from, size_t count, Bytes message) {
    BatchVector vectors[COLUMNS] = {0}, children[COLUMNS] = {0};
    PgSlot slots[COLUMNS];
    int64_t losses[COLUMNS][LOSS_COUNTED] = {0};
    for (size_t i = 0; i < count; i++) {
        children[i].values = malloc(1);
        vectors[i] =
            (BatchVector){malloc(ROWS * 16), ROWS, from[i].decode == pg_list, &children[i]};
        slots[i] = (PgSlot){&vectors[i], vectors[i].values};
    }
    PgReader reader = {
        .columns = from, .count = count, .has_last = count % 2, .slots = slots, .losses = losses};
    Err err = {0};
    bool ok = true;
    do {
        size_t rows = SIZE_MAX;
        ok = pg_read(&reader, &message, 0, ROWS, &rows, &err);
        assert(ok ? rows <= ROWS : err.message[0] != 0);
    } while (ok && message.size > 0);
    for (size_t i = 0; i < count; i++) {
        free(vectors[i].values);
        free(children[i].values);
    }
    text_close(&reader.last);
}

static void add_size(Text *out, uint32_t size) {
    for (int shift = 24; shift >= 0; shift -= 8) text_add_byte(out, (char)(size >> shift));
}

/* One row of one column, and the cursor's text after it. */
static void read_value(const PgColumn *column, Bytes value) {
    OWNED(text_close) Text message = {0};
    text_add(&message, (Str){"PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0", 19});
    text_add(&message, (Str){"\0\2", 2});
    add_size(&message, (uint32_t)value.size);
    text_add(&message, str_of(value));
    add_size(&message, UINT32_MAX);
    text_add(&message, (Str){"\377\377", 2});
    uint8_t *copy = malloc(message.len); /* exactly as large, so that a step beyond is seen */
    assert(copy);
    memcpy(copy, message.data, message.len);
    read_all(column, 1, (Bytes){copy, message.len});
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    if (data[0] < COLUMNS)
        read_value(&columns[data[0]], (Bytes){data + 1, size - 1});
    else
        read_all(columns, 1 + data[0] % COLUMNS, (Bytes){data + 1, size - 1});
    return 0;
}
