/* Any bytes as a row of MySQL's binary protocol: every decoder, on columns of every type of the
 * table. What is taken keeps to its bounds, and its text can be read back. */
#include "../ingest/fed_rows.h"

#include "ingest/mysql.h"

#include <assert.h>

#define ROWS 4

/* A column a rule and kind, then again with other parameters; the first byte picks where to begin,
 * so that each decoder sees the first bytes. */
static size_t make_columns(MyColumn *columns, size_t first, size_t count_max) {
    size_t count = 0;
    for (size_t i = 0; i < my_rule_count * 2 && count < count_max; i++) {
        const MyRule *rule = &my_rules[(first + i / 2) % my_rule_count];
        TypeKind kind = i % 2 ? rule->plain_kind : rule->exact_kind;
        columns[count++] = (MyColumn){
            .name = STR("c"),
            .shape = rule->shape,
            .width = rule->width,
            .is_unsigned = first & 1,
            .decimals = (int)(first % 8),
            .is_checked = kind == TYPE_BOOLEAN && first & 2,
            .type = {.kind = kind, .precision = 1 + (int)(first % 38), .scale = (int)(first % 5)}
        };
    }
    return count;
}

static void check_pieces(Str text) {
    __int128 value;
    if (my_decimal(text, 38, 10, &value)) {
        __int128 bound = 1;
        for (int i = 0; i < 38; i++) bound *= 10;
        assert(value < bound && value > -bound);
    }
    if (my_uuid(text, &value)) assert(text.len == 36);
}

static void decode_row(MyColumn *columns, size_t count, Bytes packet) {
    OWNED(arena_close) Arena arena = {0};
    SourceColumn *described = arena_array(&arena, SourceColumn, count);
    for (size_t i = 0; i < count; i++) described[i].type = columns[i].type;
    Source source = {.columns = described, .column_count = count};
    OWNED(fed_close) RowFeed *feed = fed_open(&source, true);
    RowBatch *batch = feed_take(feed);
    MyRow row = {.count = count, .last_column = 0};
    row.cells = arena_array(&arena, MyCell, count);
    row.decode = arena_array(&arena, MyDecode *, count);
    for (size_t i = 0; i < count; i++) {
        row.cells[i].column = &columns[i];
        row.cells[i].vector = batch_vector(batch, i);
        row.cells[i].values = vector_values(row.cells[i].vector);
        row.decode[i] = my_decoder(columns[i].shape, columns[i].type.kind);
    }
    size_t rows = 0;
    Err err = {0};
    while (rows < ROWS && my_row_decode(&row, packet, rows, &err)) rows++;
    assert(rows == ROWS || err.kind == LH_CORRUPT || err.kind == LH_INVALID);
    feed_give(feed, batch, rows);
    for (size_t i = 0; i < count; i++) text_close(&row.cells[i].text);
    text_close(&row.last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    MyColumn columns[8];
    OWNED(arena_close) Arena arena = {0};
    Str cells[8];
    Err err = {0};
    if (size < 2) return 0;
    size_t count = make_columns(columns, data[0], 1 + data[1] % COUNT(columns));
    Bytes packet = {data + 2, size - 2};
    check_pieces(str_of(packet));
    decode_row(columns, count, packet);
    if (my_row_texts(columns, count, packet, &arena, cells, &err))
        for (size_t i = 0; i < count; i++) assert(cells[i].len <= 3 * size + 64);
    MyDsn dsn;
    err = (Err){0};
    if (mydsn_read(str_of(packet), &arena, &dsn, &err)) {
        assert(dsn.host.len && dsn.port > 0 && dsn.port < 65536);
        assert(dsn.host.data[dsn.host.len] == 0 && dsn.password.data[dsn.password.len] == 0);
    }
    return 0;
}
