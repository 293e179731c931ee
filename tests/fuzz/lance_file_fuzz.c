/* A data file of a Lance table: any bytes are opened or refused, and any column of it is read or
 * refused, by its own type and by others, through every decoder. */
#include "lance/data_file.h"

#include <stdlib.h>

#define ROWS_MAX 5000

static const char *const types[] = {"string",
                                    "int64",
                                    "int16",
                                    "bool",
                                    "fixed_size_list:float:4",
                                    "fixed_size_binary:16",
                                    "fixed_size_list:float:128"};

static volatile uint64_t touched;

/* Every byte that is handed out is there. */
static void touch(const LanceType *type, const LanceColumn *column, size_t rows) {
    uint64_t sum = 0;
    const uint8_t *values = column->values;
    if (type->kind == LANCE_TEXT || type->kind == LANCE_BINARY) {
        for (size_t i = 0; i < rows; i++) {
            Str text = lance_text(column, i);
            for (size_t k = 0; k < text.len; k++) sum += (uint8_t)text.data[k];
        }
    } else if (type->kind != LANCE_NULL) {
        size_t size = (rows * (size_t)type->bits * type->dimension + 7) / 8;
        for (size_t i = 0; i < size; i++) sum += values[i];
    }
    for (size_t i = 0; i < rows; i++) sum += lance_is_null(column, i);
    for (size_t i = 0; column->items && i < rows * type->dimension; i++)
        sum += lance_bit(column->items, i);
    touched = sum;
}

static void read_column(const LanceFile *file, size_t column, const LanceType *type) {
    OWNED(arena_close) Arena arena = {0};
    Err err = {0};
    LanceColumn out;
    uint64_t rows = MIN(lance_file_rows(file), ROWS_MAX);
    if (lance_file_read(file, column, type, 0, (size_t)rows, &arena, &out, &err))
        touch(type, &out, (size_t)rows);
    if (rows > 2 && lance_file_read(file, column, type, rows / 2, 1, &arena, &out, &err))
        touch(type, &out, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    OWNED(lance_file_close) LanceFile *file = NULL;
    OWNED(text_close) Text text = {0};
    OWNED(arena_close) Arena arena = {0};
    Err err = {0};
    Bytes buffer;
    if (!lance_file_open_bytes((Bytes){data, size}, &file, &err)) return 0;
    for (size_t column = 0; column < MIN(lance_file_columns(file), 8); column++) {
        const LanceField *field = lance_file_field(file, column);
        if (field && field->type.kind != LANCE_OTHER) read_column(file, column, &field->type);
        LanceType other = lance_type(str_from(types[(size + column) % COUNT(types)]));
        read_column(file, column, &other);
    }
    (void)lance_file_describe(file, &text, &err);
    for (uint32_t i = 0; i < 3; i++) (void)lance_file_buffer(file, i, &arena, &buffer, &err);
    return 0;
}
